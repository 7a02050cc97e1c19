"""The ``pkubench`` command: its verbs, and how errors are reported.

A verb's module is imported when the verb is called, so ``pkubench --help`` imports no more than
typer, rich and Gymnasium. Exit codes: 0 done, 1 a measured failure (an episode failed, a check went
red), 2 misuse, 70 a defect of the program, 130 and 143 stopped by a signal.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from pkubench import __version__
from pkubench.cli.extras import EXTRAS, extra_of_module
from pkubench.cli.interrupt import Interrupted, command_line
from pkubench.cli.output import print_anything
from pkubench.errors import ConfigError, MissingExtra, PkubenchError, PkubenchWarning
from pkubench.plugins import culprit

BROKEN_PIPE, DEFECT = 141, 70


class Verb(NamedTuple):
    """One verb: the module of this package that holds its ``app``, and its line in the help."""

    panel: str
    summary: str


VERBS: dict[str, Verb] = {
    "list": Verb("Look around", "Suites, tasks and agents."),
    "show": Verb("Look around", "Everything about one task, agent or run."),
    "doctor": Verb("Look around", "Check the installation, and say how to fix it."),
    "check": Verb("Build", "Test whether an environment follows the contract."),
    "train": Verb("Build", "Train an agent on a task; resumable."),
    "watch": Verb("Build", "Film an agent: mp4 or gif."),
    "export": Verb("Build", "Turn an agent into an ONNX policy."),
    "evaluate": Verb("Measure", "Score agents on tasks, one record per episode."),
    "compare": Verb("Measure", "Which agent is better, and how sure is that?"),
    "rate": Verb("Measure", "Ratings from tables of results: Nash averaging, alpha-rank, Elo."),
    "claims": Verb("Measure", "What papers claim, and what the runs say of it."),
    "credit": Verb("Measure", "How well a training assigned credit to steps and agents."),
    "values": Verb("Measure", "Which values answers follow, and which ones choices reveal."),
    "plot": Verb("Measure", "Curves, bars and profiles from runs or results."),
    "reproduce": Verb("Measure", "The command behind an agent, a score or a run."),
    "verify": Verb("Measure", "Check that results or a bundle are what they say."),
    "bundle": Verb("Share", "Pack records and weights into one file to submit."),
    "submit": Verb("Share", "Check a bundle, and put it on a board or send it to one."),
    "leaderboard": Verb("Share", "Show a board, write it as a web site, or serve it."),
}


class ReaderGone(Exception):
    """The program that reads our stdout (head, less) closed it."""


class LazyGroup(TyperGroup):
    """A group of commands that are listed from ``VERBS`` and imported only when called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command of a verb in place of its entry in the help."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name not in VERBS:
            return name, listed, rest
        module = importlib.import_module(f"pkubench.cli.{name}")
        command = typer.main.get_command(module.app)
        command.name = name
        _refuse_empty(command, rest)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; handle Ctrl-C and a closed pipe here, before typer does."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None
        except BrokenPipeError:
            raise ReaderGone from None


def _refuse_empty(command: Any, words: Sequence[str]) -> None:
    """Refuse an empty word, such as an unset variable of a shell: as a path it would mean here.

    Raises:
        ConfigError: one is empty.
    """
    verbs = [command, *getattr(command, "commands", {}).values()]
    options = {
        flag
        for verb in verbs
        for option in verb.params
        if not getattr(option, "is_flag", True)  # an argument has no flags at all
        for flag in option.opts
    }
    for before, word in zip(["", *words], words, strict=False):
        if not word:
            what = before if before in options else f"an argument of `pkubench {command.name}`"
            raise ConfigError(f"{what} is empty")
        if word.endswith("=") and word[:-1] in options:
            raise ConfigError(f"{word[:-1]} is empty")


def build_app() -> typer.Typer:
    """Return the application; no verb is imported yet."""
    app = typer.Typer(
        cls=LazyGroup,
        name="pkubench",
        help="Standardized tasks for teams, constrained robots and games; agents that learn them; "
        "scores that anyone can check.",
        epilog="Start with: pkubench list",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, verb in VERBS.items():
        app.command(name, help=verb.summary, rich_help_panel=verb.panel)(_listed)
    return app


def _listed() -> None:
    """List a verb in the help while it is not imported."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pkubench {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (PKUBENCH_DEBUG=1).")
    ] = False,
) -> None:
    """Declare the options that come before the verb."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; messages are on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("PKUBENCH_DEBUG", "") not in ("", "0")
    if "--debug" in arguments:
        arguments.remove("--debug")
        debug = True
    # torch and worker processes read this when they start; many small networks on many BLAS
    # threads were up to 100 times slower than on one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print_anything(sys.stdout, sys.stderr)
    with command_line(arguments), _warnings_as_notes():
        try:
            command = typer.main.get_command(build_app())
            code = command.main(
                arguments or ["--help"], prog_name="pkubench", standalone_mode=False
            )
            sys.stdout.flush()
        except (ReaderGone, BrokenPipeError):
            # Python would complain again while flushing at exit, so what is left goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except Exception as error:
            if debug:
                traceback.print_exc()
            message, code = _report(error)
            if message:
                print(message, file=sys.stderr, flush=True)
            if "--json" in arguments:
                print(
                    json.dumps({"error": message.removeprefix("error: "), "exit_code": code}),
                    flush=True,
                )
            return code
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print our own warnings as a line on stderr, each once, without the place in the code."""
    usual, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, PkubenchWarning):
            usual(message, category, *place, **more)
        elif str(message) not in said:
            said.add(str(message))
            print(f"note: {message}", file=sys.stderr, flush=True)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


def _report(error: Exception) -> tuple[str, int]:
    """Return one line that says what went wrong, and the exit code."""
    message, code = _error_message(error)
    return " ".join(message.split()), code


def _error_message(error: Exception) -> tuple[str, int]:
    if isinstance(error, ModuleNotFoundError):
        extra = extra_of_module(error.name or "")
        if extra is not None:
            error = MissingExtra(extra, f"this command ({EXTRAS[extra].purpose})")
    if isinstance(error, Interrupted):
        return str(error), error.exit_code
    if isinstance(error, PkubenchError):
        return f"error: {error}", error.exit_code
    if isinstance(error, typer.Abort):
        return "stopped", Interrupted.exit_code
    if hasattr(error, "format_message"):  # a usage error of typer's, or of older click's
        context = getattr(error, "ctx", None)
        where = f" (see `{context.command_path} --help`)" if context is not None else ""
        message = error.format_message().rstrip(".")
        # without arguments, help was printed, and that is all there is to say
        return f"error: {message}{where}" if message else "", int(getattr(error, "exit_code", 2))
    if _is_out_of_memory(error):
        return (
            f"error: not enough memory ({error}); reduce what needs it: batch_size, buffer_size, "
            "num_envs, rollout_steps or hidden of a training (--set), --workers of an evaluation",
            2,
        )
    if isinstance(error, UnicodeEncodeError):  # in a file's name, since streams print anything
        return (
            f"error: {error.object!r} cannot be written in {error.encoding}; use names of ASCII "
            "letters, or a UTF-8 locale such as LC_ALL=C.UTF-8",
            2,
        )
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"error: {named}{error.strerror or error}", 2
    if module := culprit(error):
        return (
            f"error: the plug-in {module} failed: {type(error).__name__}: {error}; it is not part "
            "of pkubench: report it to its authors (the same command with --debug shows where)",
            2,
        )
    return (
        f"error: unexpected {type(error).__name__}: {error}. "
        "This is a defect; the same command with --debug shows where",
        DEFECT,
    )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch has an exception class for GPUs, but only a message for the processor
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or is_torchs


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())
