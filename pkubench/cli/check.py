"""``pkubench check``: test whether an environment follows the contract."""

from __future__ import annotations

import functools
import importlib
from typing import Annotated, Any

import typer
from rich.text import Text

from pkubench.cli.names import command, look_here, short
from pkubench.cli.options import (
    Json,
    Quiet,
    complete_tasks,
    verb_app,
)
from pkubench.cli.output import Column, Output
from pkubench.cli.progress import Meter
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.checks import CHECKS, Subject, run_checks
from pkubench.envs.core.registry import environments, family_of, make_batch, resolve
from pkubench.errors import ConfigError

app = verb_app()

_STYLES = {"pass": "green", "fail": "red", "skip": "dim"}


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TASK|MODULE:CLASS",
            help="A registered environment, or the class of a new one.",
            autocompletion=complete_tasks,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test whether an environment follows the contract. Exit code 1 if it breaks a rule."""
    subject = _subject(name)
    with Output(json=json, quiet=quiet) as output:
        outcomes = []
        with Meter(f"checking {subject.name}", quiet=quiet, unit="checks") as meter:
            for outcome in run_checks(subject):
                outcomes.append(outcome)
                meter.update(len(outcomes), len(CHECKS))
        failed = sum(outcome.status == "fail" for outcome in outcomes)
        if json:
            checks = [outcome._asdict() for outcome in outcomes]
            output.document({"environment": subject.name, "ok": not failed, "checks": checks})
        else:
            columns = (
                Column("check", style="bold"),
                Column(""),
                Column("rule", wraps=True),
            )
            rows = []
            for outcome in outcomes:
                text = Text(outcome.rule.replace("``", ""))
                if outcome.detail:
                    text.append(f"\n{outcome.detail}", style=_STYLES[outcome.status])
                status = Text(outcome.status, style=_STYLES[outcome.status])
                rows.append((outcome.check, status, text))
            output.show(output.table(subject.name, columns, rows), "")
            if not failed and subject.name in environments():
                output.next(command("evaluate", "random", short(subject.name)))
    if failed:
        raise typer.Exit(1)


def _subject(name: str) -> Subject:
    if ":" not in name or family_of(name) is not None:
        spec = resolve(name)
        make_batch(spec.id).close()  # a missing extra is one line, not twelve failures
        return Subject(spec.id, functools.partial(make_batch, spec.id))
    module_name, _, class_name = name.partition(":")
    look_here()  # the class is often in this folder
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise ConfigError(
                f"there is no module {module_name!r}; run this in the folder that holds it"
            ) from error
        raise
    found: Any = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, BatchEnv)):
        raise ConfigError(
            f"{name} is not a BatchEnv class; an environment is a subclass of "
            "pkubench.envs.core.batch.BatchEnv"
        )
    return Subject(name, found)
