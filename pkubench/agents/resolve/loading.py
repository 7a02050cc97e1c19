"""From the spelling of an agent, the same in every verb, to something the harness can score.

| spelling | meaning |
|---|---|
| `random` | uniform over the legal actions |
| `happo`, `happo@2` | shipped weights for the task: all training seeds, or one |
| `runs/my-run` | a run folder: `config.json` and weights, or `seed*/` folders of them |
| `population.npz`, `population.json` | policies and a meta-strategy for a game, as one file |
| `package.module:factory` | your own code, called with the task's id or with nothing |
| `scripted:NAME` | an untrained policy that comes with the suite |
| `onnx:policy.onnx`, `onnx:FOLDER` | an ONNX policy, or a folder with one for each agent id |
| `sb3:model.zip` | a Stable-Baselines3 model; holds pickles, so it must be trusted |
| `openai-api:MODEL@URL`, `hf:FOLDER` | a language model, on a server or in a folder |
| `human:NAME` | a person at the keyboard |
| `AGENT+mode=sampled` | a saved agent with a setting of acting (``--act mode=sampled``) |

Named agents and prefixes are those of ``pkubench.agents.registry``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pkubench.agents import registry
from pkubench.agents.contract import Entrant
from pkubench.agents.registry import family_of, import_function, prefixes, presets
from pkubench.agents.resolve.acting import acting_as, split_acting
from pkubench.agents.resolve.hints import meant
from pkubench.agents.resolve.populations import load_population_file, population_source
from pkubench.agents.resolve.saved import run_folder, saved_folders, saved_run
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.agents.resolve.user_code import load_code
from pkubench.agents.saved.population_content import POPULATION_SUFFIXES
from pkubench.agents.saved.runs import training_folders
from pkubench.agents.suitability import can_train, is_meant_for
from pkubench.errors import AgentError, ConfigError, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_MODULE_SPELLING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")


def resolve_agent(spelling: str, task: Task | None = None, *, trust: bool = False) -> AgentSource:
    """Find an agent by its spelling. Reads and hashes files; loads no weights.

    Adaptations that make an agent fit the task are reported by an ``AgentNotice`` (a warning).

    Args:
        spelling: See the table above.
        task: The task to act in; required for all but run folders.
        trust: Allow formats that run code in a file (``sb3:``).

    Raises:
        UnknownName: no such agent; the message names the nearest one.
        AgentError: it does not exist for this task.
        RefusedError: it would run code from a file, and ``trust`` is not set.
    """
    if not spelling.strip():
        raise AgentError("the agent's name is empty; `pkubench list` shows what there is")
    agent, acting = split_acting(spelling)
    if acting:
        return acting_as(resolve_agent(agent, task, trust=trust), acting)
    prefix, colon, rest = spelling.partition(":")
    if colon and prefix in prefixes():
        if not rest:
            raise AgentError(f"agent {spelling!r} names nothing after the colon")
        found = prefixes()[prefix]
        source: AgentSource = import_function(found.resolve)(rest, task, trust)
        return dataclasses.replace(source, runtimes=found.runtimes)
    name, _, seed = spelling.partition("@")
    if name in presets() and not colon:
        return _named(name, seed, task)
    folder = Path(spelling)
    if hint := meant(folder):
        raise AgentError(hint)
    if folder.is_dir():
        return run_folder(folder, task)
    if folder.suffix in POPULATION_SUFFIXES:
        return population_source(folder, task)
    if _MODULE_SPELLING.fullmatch(spelling):
        return _code(spelling, task)
    if colon:
        raise UnknownName("kind of agent", f"{prefix}:", [f"{p}:" for p in prefixes()])
    if "/" in spelling or os.sep in spelling:
        raise AgentError(f"there is no run folder {spelling!r}")
    known = "`pkubench list` shows all; a run folder, package.module:factory or one of "
    raise UnknownName("agent", spelling, presets(), known + _all_prefixes())


def spelled(agent: str | os.PathLike[str]) -> str:
    """Return the spelling of an agent given by it or as a path, which is never a preset's name.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(agent, str):
        return agent
    if not isinstance(agent, os.PathLike):
        raise ConfigError(f"an agent is named by text or a path, got {agent!r:.80}")
    path = os.fspath(agent)
    return path if os.path.dirname(path) else os.path.join(os.curdir, path)


def load_agent(spelling: str, task: Task | None = None, *, trust: bool = False) -> Entrant:
    """Load an agent by its spelling; of an agent with several runs, the first.

    Raises:
        AgentError: it cannot be loaded, or does not fit the task.
        UnknownName: no such agent.
        RefusedError: it would run code from a file, and ``trust`` is not set.
    """
    return resolve_agent(spelling, task, trust=trust).runs[0].load()


def load_unbuilt(source: AgentSource, game: str) -> Entrant:
    """Return an agent's first run, for plays of a game without building its tree.

    Raises:
        AgentError: it cannot be loaded.
    """
    run = source.runs[0]
    if run.function is not load_population_file:
        return run.load()
    from pkubench.agents.saved.population_file import read_unbuilt_population

    return read_unbuilt_population(run.arguments[0], game)


def is_installed_code(spelling: str) -> bool:
    """Return whether an agent is only code of an installed package, so that its name is safe.

    Its name can neither make a file be read nor choose a module to import: ``random`` and
    ``scripted:NAME`` are such agents.
    """
    prefix, colon, rest = spelling.partition(":")
    if colon:
        found = prefixes().get(prefix)
        is_safe = _SAFE_NAME.fullmatch(rest) is not None
        return found is not None and found.bundle == "named" and is_safe
    return spelling in presets() and family_of(presets()[spelling]).make is not None


def make_named(name: str, task: Task) -> Entrant:
    """Return a named agent that needs no weights."""
    make = family_of(presets()[name]).make
    assert make is not None
    entrant: Entrant = import_function(make)(name, task)
    return entrant


def _named(name: str, seed: str, task: Task | None) -> AgentSource:
    if task is None:
        raise AgentError(f"agent {name!r} depends on the task; name one")
    agent = presets()[name]
    if family_of(agent).make is not None:
        if seed:
            raise AgentError(f"{name} is not trained, so it has no seeds: leave out what follows @")
        return AgentSource(name, "builtin", (AgentRun("run", make_named, (name, task)),))
    short = task.id.rpartition("/")[2]
    parent = registry.WEIGHTS / name
    if not (parent / short).is_dir():
        there = sorted(path.name for path in parent.glob("*") if path.is_dir())
        have = f"; there are weights for {', '.join(there)}" if there else ""
        if not is_meant_for(agent, task):
            have = (
                f": {name} is for tasks of {' and '.join(agent.suites)}, and this is one of "
                f"{task.suite}; `pkubench list --suite {task.suite}` shows agents for it"
            )
        if can_train(agent, task):
            have += f"; `pkubench train {name} {short}` makes some"
        if training_folders(Path(name)):
            have += f"; the run folder of this name is spelled ./{name}"
        raise AgentError(f"no weights of {name!r} are shipped for {short}{have}")
    runs = saved_folders(parent / short)
    if seed:
        chosen = {path.name: path for path in runs}
        wanted = seed if seed.startswith("seed") else f"seed{seed}"
        if wanted not in chosen:
            raise UnknownName(f"seed of {name} on {short}", seed, chosen)
        runs = [chosen[wanted]]
    label = f"{name}@{seed}" if seed else name
    return AgentSource(label, "pretrained", tuple(saved_run(path, task) for path in runs))


def _code(spelling: str, task: Task | None) -> AgentSource:
    module = spelling.partition(":")[0]
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # an installed command does not search here
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise AgentError(f"agent {spelling!r}: {error}") from error
    if spec is None:
        raise AgentError(
            f"agent {spelling!r}: there is no module {module!r} here, and no such prefix; "
            f"prefixes are {_all_prefixes()}"
        )
    origin = Path(spec.origin) if spec.origin else None
    hashes = {origin.name: file_hash(origin)} if origin is not None and origin.is_file() else {}
    arguments = (spelling, None if task is None else task.id)
    run = AgentRun("run", load_code, arguments, hashes, reusable=False)
    return AgentSource(spelling, "code", (run,))


def _all_prefixes() -> str:
    return " ".join(f"{prefix}:" for prefix in prefixes())
