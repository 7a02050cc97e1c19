"""The pictures of ``architecture.md``, drawn from the code: which file leads to which, and by what.

A path is a list of places (module, symbol, a sentence). What leads from one to the next is looked
up: an import, a name declared as text (``module:function``), the registry of agent families, or a
component that a preset chooses. Where nothing does, there is no picture, and
``tests/test_reading_paths.py`` fails.

``python -m docs.reading_paths`` writes the pictures into ``docs/assets/architecture``.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docs.pictures import Picture, text_width
from pkubench.agents.components import Component
from pkubench.agents.registry import AgentFamily, family_of, preset

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "assets" / "architecture"
MAX_FILES = 6

_DECLARED = re.compile(r"pkubench\.[\w.]+:\w+")


class BrokenPath(Exception):
    """A path names something that does not exist, or a step does not lead to the next."""


class Place(NamedTuple):
    """A definition in the code, and what a reader finds there."""

    module: str
    symbol: str
    says: str = ""

    @property
    def file(self) -> str:
        """The module's path below the repository."""
        return source_file(self.module).relative_to(ROOT).as_posix()


class ReadingPath(NamedTuple):
    """Places in the order of reading."""

    name: str
    title: str
    places: tuple[Place, ...]
    agent: str = ""
    """The preset that is followed where code takes what a preset chooses."""


class Addition(NamedTuple):
    """Something that can be added: an example of it, its contract, and who uses the contract."""

    what: str
    example: Place
    contract: Place
    user: Place
    found: str
    """How it is found, and what else is to be written."""


HAPPO = ReadingPath(
    name="happo",
    title="HAPPO from the command to the update",
    agent="happo",
    places=(
        Place(
            "pkubench.cli.train",
            "train",
            "The command: agent, task and settings are checked into a Request, before anything is "
            "built or written.",
        ),
        Place(
            "pkubench.training.session",
            "Session",
            "The loop of every learner: iterate, validate, log, checkpoint; resume, Ctrl-C. A "
            "learner is what agents/learner.py asks for.",
        ),
        Place(
            "pkubench.agents.families.on_policy",
            "FAMILY",
            "The declaration: who configures, trains and loads these agents, and which presets "
            "there are. Imports no torch.",
        ),
        Place(
            "pkubench.agents.rl.on_policy.training",
            "OnPolicyTraining",
            "One iteration: collect a rollout with the present policies, then update once.",
        ),
        Place(
            "pkubench.agents.rl.on_policy.learner",
            "OnPolicyLearner",
            "The update: credit, advantages, critics; then one agent after another in a random "
            "order, each weighted by the ratios of those before.",
        ),
        Place(
            "pkubench.agents.rl.update_rules.ppo_clip",
            "PPOClip",
            "The formula: the loss that is minimized, as the paper writes it, and its settings.",
        ),
    ),
)

EVALUATE = ReadingPath(
    name="evaluate",
    title="An observation on its way through evaluate",
    places=(
        Place(
            "pkubench.cli.evaluate",
            "evaluate",
            "The command: which agents on which tasks; each agent's spelling becomes a source of "
            "runs.",
        ),
        Place(
            "pkubench.evaluation.run.harness",
            "evaluate",
            "The set of episodes is fixed and cut into blocks of 16; records are written in order, "
            "and the report is computed from them.",
        ),
        Place(
            "pkubench.evaluation.run.execution",
            "run_job",
            "In a worker process: the agent is loaded, the environments are made, and the task's "
            "scoring runs the block.",
        ),
        Place(
            "pkubench.evaluation.run.episodes",
            "run_block",
            "reset, then act and step until every episode has ended. Here observations come from "
            "the environment, and one record per episode goes back.",
        ),
        Place(
            "pkubench.evaluation.run.seats",
            "Seat",
            "Each member of a team is given a copy of its own observation and nothing else, with "
            "the mask of legal actions where there is one.",
        ),
        Place(
            "pkubench.agents.contract",
            "Agent",
            "act(observation, state, active) returns actions and the new state. Anything with "
            "begin and act can be scored.",
        ),
    ),
)

PATHS = (HAPPO, EVALUATE)

_RL, _NN, _FAMILIES = "pkubench.agents.rl", "pkubench.agents.nn", "pkubench.agents.families"

ADDITIONS = (
    Addition(
        "update rule",
        Place(f"{_RL}.update_rules.a2c", "A2C"),
        Place(f"{_RL}.update_rules.base", "GradientRule"),
        Place(f"{_RL}.objective", "Objective"),
        "One module with loss(terms) and @register; off-policy rules: rl/off_policy/rules.",
    ),
    Addition(
        "constraint",
        Place(f"{_RL}.constraints.ipo", "IPO"),
        Place(f"{_RL}.constraints.base", "Constraint"),
        Place(f"{_RL}.objective", "Objective"),
        "One module: settings, what adapts to measured costs, and a penalty if there is one.",
    ),
    Addition(
        "credit model",
        Place(f"{_RL}.credit.own_reward", "OwnReward"),
        Place(f"{_RL}.credit.base", "Credit"),
        Place(f"{_RL}.on_policy.config", "OnPolicyConfig"),
        "One module: from a rollout to each agent's reward; learned ones have a state.",
    ),
    Addition(
        "encoder",
        Place(f"{_NN}.encoders.cnn", "CNNEncoder"),
        Place(f"{_NN}.encoders.base", "Encoder"),
        Place(f"{_NN}.modules", "EncodedSpec"),
        "One module: settings, the shapes that it takes, and build, which imports torch.",
    ),
    Addition(
        "environment",
        Place("pkubench.envs.diagnostics.sign_game", "SignGame"),
        Place("pkubench.envs.core.batch", "BatchEnv"),
        Place("pkubench.envs.core.registry", "make_batch"),
        "One file, and one EnvSpec in ENVS of the package's __init__.",
    ),
    Addition(
        "task, suite",
        Place("pkubench.tasks.suites.diagnostics", "SUITE"),
        Place("pkubench.tasks.suite", "Suite"),
        Place("pkubench.tasks.registry", "register_suite"),
        "One module under tasks/suites that declares SUITE.",
    ),
    Addition(
        "way to score",
        Place("pkubench.tasks.exact", "Exact"),
        Place("pkubench.tasks.scoring", "Scoring"),
        Place("pkubench.tasks.task", "Task"),
        "An object with the methods of Scoring, named by the tasks that are scored so.",
    ),
    Addition(
        "preset",
        Place(f"{_FAMILIES}.on_policy", "PRESETS"),
        Place("pkubench.agents.registry", "Preset"),
        Place("pkubench.agents.resolve.loading", "resolve_agent"),
        "One Preset in its family's PRESETS, and its settings.",
    ),
    Addition(
        "agent family",
        Place(f"{_FAMILIES}.on_policy", "FAMILY"),
        Place("pkubench.agents.registry", "AgentFamily"),
        Place("pkubench.training.request", "Request"),
        "One package under agents/families that declares FAMILY and PRESETS.",
    ),
    Addition(
        "tracker",
        Place("pkubench.training.trackers", "TrackerKind"),
        Place("pkubench.training.trackers", "Tracker"),
        Place("pkubench.training.run", "SeedRun"),
        "A class with log and close, and its TrackerKind in TRACKERS.",
    ),
    Addition(
        "column",
        Place("pkubench.leaderboard.board.columns", "COLUMNS"),
        Place("pkubench.leaderboard.board.columns", "Column"),
        Place("pkubench.leaderboard.site.pages", "TaskPage"),
        "One entry in COLUMNS: terminal and site both read it.",
    ),
)

# What leads from one place to another


def source_file(module: str) -> Path:
    """Return the file of a module."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise BrokenPath(f"there is no module {module}")
    return Path(found.origin)


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(source_file(module).read_text(encoding="utf-8"))


def definition(place: Place) -> ast.stmt:
    """Return the statement that defines a place's symbol.

    Raises:
        BrokenPath: there is none.
    """
    for node in _tree(place.module).body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        inner = (node for target in targets for node in ast.walk(target))
        names = {node.id for node in inner if isinstance(node, ast.Name)}
        if getattr(node, "name", None) == place.symbol or place.symbol in names:
            return node
    raise BrokenPath(f"{place.module} does not define {place.symbol}")


def link(here: Place, there: Place, agent: str = "") -> str:
    """Return by what a place leads to another, in words for an arrow.

    Raises:
        BrokenPath: by nothing, or one of them does not exist.
    """
    definition(here), definition(there)
    for way in (_used, _imported, _named, _registered, _chosen):
        if words := way(here, there, agent):
            return words
    raise BrokenPath(
        f"{here.module} ({here.symbol}) does not refer to {there.module} ({there.symbol})"
    )


def _imports(module: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every ``from module import name``."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.module, alias.name


def _used(here: Place, there: Place, agent: str) -> str:
    """In one module: the definition uses the other's name."""
    if here.module != there.module:
        return ""
    names = {n.id for n in ast.walk(definition(here)) if isinstance(n, ast.Name)}
    return f"uses {there.symbol}" if there.symbol in names else ""


def _imported(here: Place, there: Place, agent: str) -> str:
    names = [name for module, name in _imports(here.module) if module == there.module]
    if not names:
        return ""
    leading = [name for name in names if _used(Place(there.module, name), there, agent)]
    return f"imports {there.symbol if there.symbol in names else (leading or names)[0]}"


def _named(here: Place, there: Place, agent: str) -> str:
    """A declaration names a function as text, and it is there, or returns what is there."""
    declared = getattr(importlib.import_module(here.module), here.symbol)
    if not dataclasses.is_dataclass(declared) or isinstance(declared, type):
        return ""
    for field in dataclasses.fields(declared):
        value = getattr(declared, field.name)
        if not isinstance(value, str) or not _DECLARED.fullmatch(value):
            continue
        module, _, name = value.partition(":")
        function = Place(module, name)
        if module == there.module or (
            (there.module, there.symbol) in _imports(module)
            and there.symbol in ast.unparse(definition(function))
        ):
            return f'{field.name} = "{value}"'
    return ""


def _registered(here: Place, there: Place, agent: str) -> str:
    """Code imports what the family of an agent names, and the family is declared there."""
    declared: Any = getattr(importlib.import_module(there.module), there.symbol)
    if not agent or not isinstance(declared, AgentFamily) or family_of(preset(agent)) != declared:
        return ""
    for node in ast.walk(definition(here)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "import_function":
            continue
        for inner in ast.walk(node):
            is_field = isinstance(inner, ast.Attribute) and hasattr(declared, inner.attr)
            if is_field and ast.unparse(inner.value).endswith("family"):
                return f"the registry: family.{inner.attr} of {agent}"
    return ""


def _chosen(here: Place, there: Place, agent: str) -> str:
    """Code takes a component from the config, and the agent's preset has chosen this one."""
    cls: Any = getattr(importlib.import_module(there.module), there.symbol)
    if not agent or not isinstance(cls, type) or not issubclass(cls, Component):
        return ""
    read = {n.attr for n in ast.walk(definition(here)) if isinstance(n, ast.Attribute)}
    if cls.slot in read and type(getattr(preset(agent).config(), cls.slot)) is cls:
        return f"config.{cls.slot}, which is {cls.name} in {agent}"
    return ""


# Drawing

_WIDTH, _MARGIN = 760, 20


def draw_path(path: ReadingPath) -> str:
    """Draw a path from top to bottom, one box per file."""
    links = [link(*pair, path.agent) for pair in zip(path.places, path.places[1:], strict=False)]
    files = ", then ".join(place.file for place in path.places)
    picture = Picture(path.name, _WIDTH, f"{path.title}: {files}")
    y = 8.0
    for number, place in enumerate(path.places, start=1):
        lines = textwrap.wrap(place.says, 88)
        height = 50 + 18 * len(lines)
        picture.box(_MARGIN, y, _WIDTH - 2 * _MARGIN, height)
        picture.text(_MARGIN + 16, y + 25, str(number), size=15, bold=True)
        picture.text(_MARGIN + 42, y + 25, place.file, size=13.5, bold=True, code=True)
        after = _MARGIN + 56 + text_width(place.file, 13.5, code=True)
        picture.text(after, y + 25, place.symbol, size=12.5, code=True, faint=True)
        for k, line in enumerate(lines):
            picture.text(_MARGIN + 42, y + 48 + 18 * k, line, size=13.5)
        y += height
        if number <= len(links):
            picture.arrow((_MARGIN + 60, y), (_MARGIN + 60, y + 34))
            picture.text(_MARGIN + 76, y + 22, links[number - 1], size=12, code=True, faint=True)
            y += 34
    return picture.svg(y + 8)


def draw_additions(additions: tuple[Addition, ...] = ADDITIONS) -> str:
    """Draw what can be added, a row each: an example, its contract, who uses the contract."""
    columns, width, gap = (112, 340, 568), 190, 38
    picture = Picture("additions", _WIDTH, "Where each addition goes: example, contract, user")
    for x, words in zip(columns, ("an example", "the contract", "used by"), strict=True):
        picture.text(x, 18, words, size=12.5, faint=True)
    y = 28.0
    for addition in additions:
        places = (addition.example, addition.contract, addition.user)
        link(addition.example, addition.contract), link(addition.user, addition.contract)
        picture.text(2, y + 27, addition.what, size=13, bold=True)
        for x, place in zip(columns, places, strict=True):
            folder, _, file = place.file.removeprefix("pkubench/").rpartition("/")
            picture.box(x, y, width, 44)
            picture.text(x + 8, y + 17, f"{folder}/", size=10.5, code=True, faint=True)
            picture.text(x + 8, y + 34, f"{file}  {place.symbol}", size=10.5, code=True)
        picture.arrow((columns[0] + width, y + 22), (columns[0] + width + gap, y + 22))
        picture.arrow((columns[2], y + 22), (columns[1] + width, y + 22))
        picture.text(columns[0], y + 59, addition.found, size=11.5)
        y += 76
    return picture.svg(y)


def pictures() -> dict[str, str]:
    """Return every picture of the page, file name -> SVG."""
    from docs.house import draw_house

    drawn = {path.name: draw_path(path) for path in PATHS}
    drawn |= {"additions": draw_additions(), "house": draw_house()}
    return {f"{name}.svg": svg for name, svg in drawn.items()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures().items():
        (FOLDER / name).write_text(svg, encoding="utf-8")
