"""From the spelling of an agent, the same in every verb, to something the harness can score.

| spelling | meaning |
|---|---|
| `random` | uniform over the legal actions |
| `happo`, `happo@2` | shipped weights for the task: all training seeds, or one |
| `runs/my-run` | a run folder: `config.json` and weights, or `seed*/` folders of them |
| `population.npz`, `population.json` | policies and a meta-strategy for a game, as one file |
| `package.module:factory` | your own code, called with the task's id or with nothing |
| `scripted:NAME` | a policy of the suite that needs no training |
| `onnx:policy.onnx`, `onnx:FOLDER` | an ONNX policy, or a folder with one for each agent id |
| `sb3:model.zip` | a Stable-Baselines3 model; holds pickles, so it must be trusted |
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkubench.agents.catalogue import AGENTS, PRETRAINED, import_function, is_learnt
from pkubench.agents.contract import Entrant, Population
from pkubench.agents.resolve.hints import meant
from pkubench.agents.resolve.user_code import load_code
from pkubench.agents.saved.files import CONFIG, WEIGHTS, SavedAgent, Tensors, load_saved
from pkubench.agents.saved.runs import read_training, training_folders, trainings
from pkubench.errors import (
    AgentError,
    AgentNotice,
    MissingExtra,
    PkubenchError,
    RefusedError,
    StorageError,
    UnknownName,
    WeightsError,
    counted,
)
from pkubench.tasks.task import Task

LOADERS: dict[str, str] = {
    "on-policy": "pkubench.agents.families.on_policy.loading:load",
    "off-policy": "pkubench.agents.families.off_policy.loading:load",
    "population": "pkubench.agents.resolve.loading:load_game_population",
}
"""``config["kind"]`` of a saved agent -> ``module:function(saved, task)`` that rebuilds it."""

POPULATION_SUFFIXES = (".npz", ".json")
"""What population files are called; see ``population_file``."""

_MODULE_SPELLING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class AgentRun:
    """One trained run of an agent; picklable, so that other processes can load it."""

    label: str
    """Folder name of the run's records, e.g. ``seed1``."""
    function: Callable[..., Entrant] = field(repr=False)
    """Module-level function that loads the entrant."""
    arguments: tuple[Any, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File name -> SHA-256 of what is loaded."""
    reusable: bool = True
    """Whether one loaded entrant may serve many blocks of episodes (see the harness)."""

    def load(self) -> Entrant:
        """Return the entrant.

        Raises:
            AgentError: it cannot be loaded, or does not fit the task.
        """
        return self.function(*self.arguments)


@dataclass(frozen=True)
class AgentSource:
    """An agent by name, with all its runs: training seeds, the sample of every interval."""

    name: str
    label: str
    """``builtin``, ``pretrained``, ``saved``, ``population``, ``code``, ``scripted``, ``onnx`` or
    ``sb3``."""
    runs: tuple[AgentRun, ...]


def resolve_agent(spelling: str, task: Task | None = None, *, trust: bool = False) -> AgentSource:
    """Find an agent by its spelling. Reads and hashes files; loads no weights.

    What is done to make an agent fit is said by an ``AgentNotice`` (a warning).

    Args:
        spelling: See the table above.
        task: What it is to act in; needed by all but run folders.
        trust: Allow what runs code that comes with a file (``sb3:``).

    Raises:
        UnknownName: no such agent; the message names the nearest one.
        AgentError: it does not exist for this task.
        RefusedError: it would run code from a file, and ``trust`` is not set.
    """
    if not spelling.strip():
        raise AgentError("the agent's name is empty; `pkubench list` shows what there is")
    prefix, colon, rest = spelling.partition(":")
    if colon and prefix in _PREFIXES:
        if not rest:
            raise AgentError(f"agent {spelling!r} names nothing after the colon")
        return _PREFIXES[prefix](rest, task, trust)
    name, _, seed = spelling.partition("@")
    if name in AGENTS and not colon:
        return _named(name, seed, task)
    folder = Path(spelling)
    if hint := meant(folder):
        raise AgentError(hint)
    if folder.is_dir():
        return _folder(folder, task)
    if folder.suffix in POPULATION_SUFFIXES:
        return _population(folder, task)
    if _MODULE_SPELLING.fullmatch(spelling):
        return _code(spelling, task)
    if colon:
        raise UnknownName("kind of agent", f"{prefix}:", [f"{p}:" for p in _PREFIXES])
    if "/" in spelling or os.sep in spelling:
        raise AgentError(f"there is no run folder {spelling!r}")
    known = "`pkubench list` shows all; a run folder, package.module:factory or one of "
    raise UnknownName("agent", spelling, AGENTS, known + " ".join(f"{p}:" for p in _PREFIXES))


def load_agent(spelling: str, task: Task | None = None, *, trust: bool = False) -> Entrant:
    """Load an agent by its spelling; of an agent with several runs, the first.

    Raises:
        AgentError: it cannot be loaded, or does not fit the task.
        UnknownName: no such agent.
        RefusedError: it would run code from a file, and ``trust`` is not set.
    """
    return resolve_agent(spelling, task, trust=trust).runs[0].load()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


# What has a name in the catalogue


def _named(name: str, seed: str, task: Task | None) -> AgentSource:
    if task is None:
        raise AgentError(f"agent {name!r} depends on the task; name one")
    if name == "random":
        if seed:
            raise AgentError("random is not trained, so it has no seeds: leave out what follows @")
        return AgentSource(name, "builtin", (AgentRun("run", load_random, (task,)),))
    short = task.id.rpartition("/")[2]
    parent = PRETRAINED / name
    if not (parent / short).is_dir():
        there = sorted(path.name for path in parent.glob("*") if path.is_dir())
        have = f"; there are weights for {', '.join(there)}" if there else ""
        own = AGENTS[name].suites
        if task.suite not in own and any(task.suite in spec.suites for spec in AGENTS.values()):
            have = (
                f": {name} is for tasks of {' and '.join(own)}, and this is one of {task.suite}; "
                f"`pkubench list --suite {task.suite}` shows agents for it"
            )
        if is_learnt(AGENTS[name], task):
            have += f"; `pkubench train {name} {short}` makes some"
        raise AgentError(f"no weights of {name!r} are shipped for {short}{have}")
    runs = _saved(parent / short)
    if seed:
        chosen = {path.name: path for path in runs}
        wanted = seed if seed.startswith("seed") else f"seed{seed}"
        if wanted not in chosen:
            raise UnknownName(f"seed of {name} on {short}", seed, chosen)
        runs = [chosen[wanted]]
    label = f"{name}@{seed}" if seed else name
    return AgentSource(label, "pretrained", tuple(_saved_run(path, task) for path in runs))


def load_random(task: Task) -> Entrant:
    """Return the random entrant of a task's world (for a game, one policy for both seats)."""
    from pkubench.agents.families.scripted.random import RandomAgent, random_entrant
    from pkubench.envs.core.registry import make_batch

    if task.kind == "population":
        # Equal probabilities need no table, so the tree is not built for them.
        from gymnasium.spaces import Discrete

        from pkubench.envs.games.trees import registered_actions

        return RandomAgent(Discrete(registered_actions(task.id)))
    world = make_batch(task.id, 1, **task.env_kwargs)
    try:
        return random_entrant(world)
    finally:
        world.close()


# Saved agents


def _folder(folder: Path, task: Task | None = None) -> AgentSource:
    paths = _saved(folder)
    if not paths:
        for run in trainings(folder):
            raise WeightsError(run.unfinished)
        raise WeightsError(
            f"{folder} is not a saved agent: it has neither {CONFIG} nor seed*/{CONFIG}"
        )
    _check_alike(folder, paths)
    runs = tuple(_saved_run(path, task) for path in paths)
    return AgentSource(folder.resolve().name, "saved", runs)


def _saved(folder: Path) -> list[Path]:
    return [path for path in training_folders(folder) if (path / CONFIG).is_file()]


def _check_alike(folder: Path, paths: list[Path]) -> None:
    """Refuse seeds that are no sample of one agent; what is damaged is named when it is loaded."""
    if len(paths) < 2:
        return
    try:
        facts = {path: run.facts for path in paths if (run := read_training(path)) is not None}
    except StorageError:
        return
    for name in ("agent", "task", "total_steps", "settings"):
        for path in paths[1:]:
            if facts[path].get(name) != facts[paths[0]].get(name):
                raise WeightsError(
                    f"{folder} holds runs of unlike agents ({paths[0].name} and {path.name} differ "
                    f"in {name.replace('total_', '')}), of which a mean says nothing; name one of "
                    f"them, such as {path}"
                )


def _saved_run(folder: Path, task: Task | None) -> AgentRun:
    hashes = {
        name: file_hash(folder / name) for name in (CONFIG, WEIGHTS) if (folder / name).is_file()
    }
    label = folder.name if folder.name.startswith("seed") else "run"
    return AgentRun(label, load_folder, (folder.absolute(), task), hashes)


def load_folder(folder: Path, task: Task | None) -> Entrant:
    """Rebuild a saved agent.

    Raises:
        WeightsError: its files are damaged, or of a kind this release does not know.
        AgentError: it was trained for other spaces than the task's.
    """
    return _rebuilt(folder, load_saved(folder), task)


class _Noting(dict[str, Any]):
    """Tensors that note which of them are read."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        self.read[name] = super().__getitem__(name)
        return self.read[name]


def tensors_read(folder: Path, task: Task) -> Tensors:
    """Return those tensors of a saved agent that acting reads, by name.

    Raises:
        WeightsError, AgentError: as :func:`load_folder`.
    """
    saved = load_saved(folder)
    noting = _Noting(saved.tensors)
    _rebuilt(folder, saved._replace(tensors=noting), task)
    return noting.read


def _rebuilt(folder: Path, saved: SavedAgent, task: Task | None) -> Entrant:
    kind = str(saved.config["kind"])
    if kind not in LOADERS:
        raise WeightsError(
            f"{folder / CONFIG} is of kind {kind!r}; this release loads {', '.join(LOADERS)}"
        )
    try:
        loaded: Entrant = import_function(LOADERS[kind])(saved, task)
    except WeightsError as error:
        if str(folder) in str(error):
            raise
        raise WeightsError(f"{folder}: {error}") from error
    except MissingExtra:
        raise
    except PkubenchError as error:
        run = read_training(folder)
        own = None if run is None else run.facts.get("task")
        if task is None or own in (None, task.id):
            raise
        raise AgentError(f"{folder} was trained on {own!s:.80}: {error}") from error
    return loaded


def load_game_population(saved: SavedAgent, task: Task | None) -> Population:
    """Rebuild a population of game policies.

    Raises:
        WeightsError: the weights are damaged.
        AgentError: it plays another game than the task's.
    """
    from pkubench.agents.families.psro import load_population
    from pkubench.envs.games.spelling import is_same_game
    from pkubench.envs.games.trees import game_of, is_matrix, zero_sum_game

    if task is None:
        return load_population(saved)
    game, told = game_of(task.id), str(saved.config.get("game"))
    # Of a matrix the table itself is compared: a copy of a file is the same game.
    if is_matrix(game):
        is_its_own = saved.config.get("fingerprint") == zero_sum_game(game).fingerprint
        what = f"the payoffs of {task.id} are not those it was made for"
    else:
        is_its_own, what = is_same_game(told, task.id), f"{task.id} is another game"
    if not is_its_own:
        raise AgentError(
            f"the population plays {told[:200]}, and {what}; evaluate it on its own game, or "
            "train one for this"
        )
    # The task's spelling and not the config's: the tree that scores it is not built twice.
    return load_population(saved, zero_sum_game(game))


def _population(path: Path, task: Task | None) -> AgentSource:
    if not path.is_file():
        raise AgentError(f"there is no population file {str(path)!r}")
    if task is None:
        raise AgentError(f"agent {str(path)!r} depends on the task; name one")
    hashes = {path.name: file_hash(path)}
    run = AgentRun("run", load_population_file, (path.absolute(), task), hashes)
    return AgentSource(path.stem, "population", (run,))


def load_population_file(path: Path, task: Task) -> Population:
    """Return the population of a file.

    Raises:
        AgentError: the file is damaged, or does not fit the task's game.
    """
    from pkubench.agents.saved.population_file import read_population

    return read_population(path, task)


def load_unbuilt(source: AgentSource, game: str) -> Entrant:
    """Return an agent's first run, to be met in plays of a game whose tree is not built.

    Raises:
        AgentError: it cannot be loaded.
    """
    run = source.runs[0]
    if source.label != "population":
        return run.load()
    from pkubench.agents.saved.population_file import read_unbuilt_population

    return read_unbuilt_population(run.arguments[0], game)


def check_population_file(name: str, data: bytes) -> None:
    """Check that a file's bytes are a population of some game.

    Raises:
        WeightsError: they are damaged, too many, or something else.
    """
    from pkubench.agents.saved.population_content import check_population_bytes

    check_population_bytes(name, data)


# Code of the user


def _code(spelling: str, task: Task | None, trust: bool = False) -> AgentSource:
    module = spelling.partition(":")[0]
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # an installed command does not look here
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise AgentError(f"agent {spelling!r}: {error}") from error
    if spec is None:
        prefixes = " ".join(f"{prefix}:" for prefix in _PREFIXES)
        raise AgentError(
            f"agent {spelling!r}: there is no module {module!r} here, and no such prefix; "
            f"prefixes are {prefixes}"
        )
    origin = Path(spec.origin) if spec.origin else None
    hashes = {origin.name: file_hash(origin)} if origin is not None and origin.is_file() else {}
    arguments = (spelling, None if task is None else task.id)
    run = AgentRun("run", load_code, arguments, hashes, reusable=False)
    return AgentSource(spelling, "code", (run,))


# Prefixes


def _scripted(name: str, task: Task | None, trust: bool) -> AgentSource:
    known = import_function("pkubench.agents.families.scripted.policies:SCRIPTED")
    if name not in known:
        raise UnknownName("scripted agent", name, known)
    if task is None:
        raise AgentError(f"agent 'scripted:{name}' depends on the task; name one")
    run = AgentRun("run", load_scripted, (name, task.id))
    return AgentSource(f"scripted:{name}", "scripted", (run,))


def load_scripted(name: str, task_id: str) -> Entrant:
    """Return a scripted agent of the suite."""
    entrant: Entrant = import_function("pkubench.agents.families.scripted.policies:SCRIPTED")[name](
        task_id
    )
    return entrant


def _onnx(path: str, task: Task | None, trust: bool) -> AgentSource:
    where = Path(path)
    files = [where]
    if where.is_dir():
        files = sorted([*where.glob("*.onnx"), *where.glob("team.json")])
        names = [file.name for file in files]
        if "team.json" not in names:
            raise AgentError(
                f"the folder {path} has no team.json, which says whose policies its "
                f"{counted(len(names), 'ONNX file')} are; name one file, or make the folder with "
                "`pkubench export`"
            )
    if not all(file.is_file() for file in files):
        raise AgentError(f"there is no ONNX policy at {path}")
    if task is None:
        raise AgentError(f"agent 'onnx:{path}' depends on the task; name one")
    hashes = {file.name: file_hash(file) for file in files}
    run = AgentRun("run", load_onnx, (where.absolute(), task), hashes)
    return AgentSource(f"onnx:{where.stem}", "onnx", (run,))


def load_onnx(path: Path, task: Task) -> Entrant:
    """Return the entrant of an ONNX file or folder."""
    from pkubench.agents.adapters.onnx import load_policy

    return load_policy(path, task)


def _sb3(path: str, task: Task | None, trust: bool) -> AgentSource:
    where = Path(path)
    if not where.is_file():
        raise AgentError(f"there is no Stable-Baselines3 model at {path}")
    if not trust:
        raise RefusedError(
            f"{path} holds pickles, and reading them runs whatever code they hold; if the file is "
            "your own, add --trust (trust=True). `pkubench export --onnx` makes a file that is safe"
        )
    if task is None:
        raise AgentError(f"agent 'sb3:{path}' depends on the task; name one")
    from pkubench.agents.adapters.sb3 import fit

    fitted = fit(where, task)
    for notice in fitted.notices:
        warnings.warn(AgentNotice(notice), stacklevel=4)
    hashes = {file.name: file_hash(file) for file in (where, *fitted.files)}
    run = AgentRun("run", load_sb3, (where.absolute(), task), hashes)
    return AgentSource(f"sb3:{where.stem}", "sb3", (run,))


def load_sb3(path: Path, task: Task) -> Entrant:
    """Return the entrant of a Stable-Baselines3 zip. Runs code that the file holds."""
    from pkubench.agents.adapters.sb3 import load_policy

    return load_policy(path, task)


_PREFIXES: dict[str, Callable[[str, Task | None, bool], AgentSource]] = {
    "scripted": _scripted,
    "onnx": _onnx,
    "sb3": _sb3,
}
