"""What another package declares is known to every verb: environments, suites, scorings, agents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkubench import make_task, plugins, register_family, register_preset, register_suite
from pkubench.agents import registry, suitability
from pkubench.agents.registry import AgentFamily, AgentPrefix, Preset
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.registry import suites
from pkubench.tasks.suite import Suite
from pkubench.training.request import request

ROOT = Path(__file__).resolve().parents[1]
LINES = "results/rightward/Line-v0/run/episodes.jsonl"

ENVIRONMENT = '''
"""A walker on a line, paid for each step to the right."""
import numpy as np
from gymnasium import spaces
from pkubench import register_environment
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits


class Line(BatchEnv):
    """A walker on a line, paid for each step to the right.

    | part        | type           | meaning                            |
    |-------------|----------------|------------------------------------|
    | observation | Box(1) float32 | how far it may be pushed           |
    | action      | Discrete(2)    | left, right                        |
    | reward      | float          | 1 to the right, 0 to the left      |
    | ends        |                | truncated at 4 steps               |

    Versions: v0 first release.
    """

    default_horizon = 4

    def __init__(self, num_envs=1, max_episode_steps=-1):
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (1,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self.wind = np.zeros(num_envs)

    def _reset(self, ids, seeds):
        self.wind[ids] = seeds % 8 / 8

    def _step(self, actions, active):
        done = np.zeros(self.num_envs, np.bool_)
        return actions[SOLE_AGENT][:, None].astype(np.float64), done, {}

    def _observe(self):
        return {SOLE_AGENT: self.wind[:, None].astype(np.float32)}

    def render(self, index=0):
        picture = np.full((40, 40, 3), 200, np.uint8)
        picture[10:30, 10:30] = 0
        return picture


register_environment(
    EnvSpec(
        id="mine/Line-v0",
        entry_point="mine.environments:Line",
        horizon=4,
        traits=Traits(action="discrete"),
        engines=("numpy",),
    )
)
'''
SUITE = '''
"""One task, scored by the worst of two groups of episodes."""
from dataclasses import dataclass, replace
from pkubench import register_suite
from pkubench.tasks.scoring import Aggregate, Episodes
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task


@dataclass(frozen=True)
class WorstGroup(Episodes):
    """Episodes in two groups that take turns; the score is the lower of their means."""

    name = "worst-group"
    summary = "the worse of two groups of episodes"

    def plan(self, task, seed, count):
        planned = super().plan(task, seed, count)
        return [replace(e, group="ab"[e.number % 2]) for e in planned]

    def run(self, entrant, task, episodes, tools):
        groups = {episode.number: episode.group for episode in episodes}
        for record in super().run(entrant, task, episodes, tools):
            yield replace(record, metrics={"group": float("ab".index(groups[record.episode]))})

    def summarise(self, runs, task):
        found = dict(super().summarise(runs, task))
        means = []
        for group in (0.0, 1.0):
            own = [r.return_ for run in runs for r in run if r.metrics.get("group") == group]
            means.append(None if not own or None in own else sum(own) / len(own))
        worst = None if None in means else min(means)
        found["return"] = Aggregate(worst, None, None, found["return"].n)
        return found

    def check(self, record, task):
        if record.metrics.get("group") not in (0.0, 1.0):
            return "it is of no group"
        return super().check(record, task)


TASK = Task(
    id="mine/Line-v0",
    suite="mine",
    title="walk to the right",
    metrics=(Metric(name="return", higher_is_better=True, unit="steps", describe="to the right"),),
    protocol=Protocol(episodes=20, horizon=4, budget={"environment_steps": 1000}, quick_episodes=4),
    scoring=WorstGroup(),
    notes="Not a benchmark.",
)


def register():
    register_suite(Suite(name="mine", title="Lines", tasks=(TASK,)))
'''
AGENTS = '''
"""A family whose saved agents are one number, and an agent that needs no weights."""
import numpy as np
from pkubench import register_family
from pkubench.agents.registry import AgentFamily, AgentPrefix, Preset, register_prefix
from pkubench.agents.resolve.sources import AgentRun, AgentSource


class Constant:
    def __init__(self, action):
        self.action = action

    def begin(self, seeds):
        return None

    def act(self, observation, state, active):
        return np.full(len(active), self.action, np.int64), state


def make(name, task):
    return Constant(1)


def load(saved, task, acting):
    action = int(saved.tensors["action"][0])
    return Constant(1 - action if acting["mode"] == "contrary" else action)


def resolve(rest, task, trust):
    return AgentSource(f"walk:{rest}", "walk", (AgentRun("run", Constant, (int(rest),)),))


register_family(
    AgentFamily(
        name="walkers",
        summary="walk one way",
        kind="walker",
        make="mine.agents:make",
        load="mine.agents:load",
        acting={"mode": ("plain", "contrary")},
    ),
    [Preset(name="rightward", family="walkers", summary="to the right", suites=("mine",))],
)
register_prefix(
    AgentPrefix(
        prefix="walk",
        summary="walks one way",
        resolve="mine.agents:resolve",
        runtimes=("pytest",),
    )
)
'''
PROGRAM = """
import contextlib, io, json, sys
import numpy as np
from pkubench.cli.main import main

said = []
for words in json.loads(sys.argv[1]):
    if words[0] == "save":
        from pkubench.agents.saved.files import save_agent
        from pathlib import Path
        save_agent(Path(words[1]), {"kind": "walker"}, {"action": np.ones(1, np.int64)})
        continue
    if words[0] == "spoil":
        from pathlib import Path
        lines = Path(words[1])
        lines.write_text(lines.read_text().replace('"group": 1.0', '"group": 2.0'))
        continue
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that looks as if the package ``mine`` was installed there."""
    package, facts = tmp_path / "site" / "mine", tmp_path / "site" / "mine-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").touch()
    (package / "environments.py").write_text(ENVIRONMENT)
    (package / "suite.py").write_text(SUITE)
    (package / "agents.py").write_text(AGENTS)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        textwrap.dedent(
            """
            [pkubench.environments]
            mine = mine.environments
            [pkubench.suites]
            mine = mine.suite:register
            [pkubench.agents]
            mine = mine.agents
            """
        )
    )
    return tmp_path / "site"


def pkubench(site: Path, *commands: tuple[str, ...]) -> list[list[Any]]:
    """Run commands one after another in a fresh process; return code, stdout, stderr of each."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: list[list[Any]] = json.loads(done.stdout)
    return said


def test_every_verb_knows_what_an_installed_package_declares(installed: Path) -> None:
    listed, shown, agent, checked, scored, saved, spelt, misspelt, verified, broken = pkubench(
        installed,
        ("list", "--suite", "mine", "--json"),
        ("show", "Line-v0"),
        ("show", "rightward", "--json"),
        ("check", "mine/Line-v0", "--json"),
        ("evaluate", "rightward", "Line-v0", "--json", "--out", "results", "--quiet"),
        ("save", "runs/saved"),
        ("evaluate", "runs/saved", "mine/Line-v0", "--json", "--quick", "--quiet"),
        ("evaluate", "walk:0", "Line-v0", "--json", "--quick", "--quiet"),
        ("show", "Lin-v0"),
        ("verify", "results", "--rerun", "16", "--quiet"),
        ("spoil", LINES),
        ("verify", "results", "--quiet"),
    )
    assert listed[0] == 0, listed[2]
    names = json.loads(listed[1])
    assert names["suites"] == ["mine"] and [t["id"] for t in names["tasks"]] == ["mine/Line-v0"]
    assert names["tasks"][0]["kind"] == "worst-group"
    assert {"random", "rightward"} <= {a["name"] for a in names["agents"]}
    assert shown[0] == 0, shown[2]
    assert "the worse of two groups of episodes" in shown[1] and "A walker on a line" in shown[1]
    assert "pkubench train ppo mine/Line-v0" in shown[2]  # whose authors do not know the suite
    assert json.loads(agent[1])["family"] == "walkers"
    assert json.loads(checked[1])["ok"], checked[1]
    assert scored[0] == 0, scored[2]
    report = json.loads(scored[1])
    assert (report["score"], report["metrics"]["return"]["n"]) == (4.0, 20)
    assert json.loads(saved[1])["score"] == 4.0, saved[2]
    walked = json.loads(spelt[1])
    assert walked["score"] == 0.0 and walked["versions"]["pytest"] == pytest.__version__
    assert verified[0] == 0, verified[1] + verified[2]
    assert misspelt[0] == 2 and "did you mean 'mine/Line-v0'" in misspelt[2]
    assert broken[0] == 1 and "it is of no group" in broken[1] + broken[2]
    lines = (installed.parent / LINES).read_text().splitlines()
    assert [json.loads(line)["metrics"]["group"] for line in lines] == [0.0, 2.0] * 10


PRESET = '''
"""A credit model, and a preset of a family of pkubench that uses it."""
from dataclasses import dataclass
from pkubench import register_preset
from pkubench.agents.components import register
from pkubench.agents.registry import Preset
from pkubench.agents.rl.credit.base import CreditFormula


@register("scaled")
@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled(CreditFormula):
    by: float = 2.0
    """Factor."""

    def __call__(self, rollout):
        return self.by * rollout.rewards


register_preset(
    Preset(
        name="my-happo",
        family="on-policy",
        base="happo",
        settings={"credit": "scaled", "by": 3.0, "num_envs": 4},
        tuned={"Climbing": {"rollout_steps": 8}},
        suites=("diagnostics",),
        summary="HAPPO with scaled rewards",
    )
)
'''


def test_a_preset_joins_a_family_of_ours_from_a_module(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed / "my_preset.py").write_text(PRESET)
    monkeypatch.setenv("PKUBENCH_PLUGINS", "my_preset")
    train = ("train", "my-happo", "Climbing-v0", "--steps", "64", "--out", "runs/a", "--quiet")
    listed, shown, changed, trained, scored, again, refused = pkubench(
        installed,
        ("list", "--json"),
        ("show", "my-happo", "Climbing-v0", "--json"),
        ("train", "my-happo", "Climbing-v0", "--set", "credit.own=1", "--quiet"),
        train,
        ("evaluate", "runs/a", "--quick", "--json", "--quiet"),
        ("reproduce", "runs/a", "--run", "--quiet"),
        ("train", "my-happo", "SimpleSpread-v0", "--quiet"),
    )
    agents = {agent["name"]: agent for agent in json.loads(listed[1])["agents"]}
    assert agents["my-happo"]["suites"] == ["diagnostics"]
    settings = json.loads(shown[1])["settings"]
    assert (settings["credit"], settings["credit.by"]) == ("scaled", 3.0)
    assert (settings["num_envs"], settings["rollout_steps"], settings["scheme"]) == (
        *(4, 8),
        "sequential",
    )
    assert changed[0] == 2 and "credit=scaled has no setting 'credit.own'" in changed[2]
    assert trained[0] == 0, trained[2]
    config = json.loads((installed.parent / "runs/a/config.json").read_text())
    assert config["agent"] == "my-happo" and config["settings"]["credit.by"] == 3.0
    assert scored[0] == 0, scored[2]
    assert again[0] == 0, again[1] + again[2]
    assert refused[0] == 2 and "it trains on diagnostics tasks" in refused[2]


def test_a_package_that_cannot_be_loaded_is_named(installed: Path) -> None:
    (installed / "mine" / "suite.py").write_text("import nothing_of_this_name")
    (said,) = pkubench(installed, ("list",))
    assert said[0] == 2 and "Traceback" not in said[2]
    assert "the installed package 'mine' has the entry point 'mine.suite:register'" in said[2]
    assert "No module named 'nothing_of_this_name'" in said[2]


@pytest.fixture
def clean() -> Iterator[None]:
    """Forget what a test registers."""
    tables: tuple[dict[str, Any], ...] = (
        registry._FAMILIES,
        registry._PRESETS,
        registry._PREFIXES,
    )
    registry.presets()
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
    registry._sorted_presets.cache_clear()


FAMILY = AgentFamily(name="mine", summary="", kind="mine", learner="mine:make_learner")


@pytest.mark.usefixtures("clean")
def test_names_are_taken_once_and_registering_again_changes_nothing() -> None:
    preset = Preset(name="mine-agent", family="mine", summary="")
    for _ in range(2):
        register_family(FAMILY, [preset])
    assert registry.preset("mine-agent") is preset and registry.family_of(preset) is FAMILY
    for family, presets, words in (
        (AgentFamily(name="mine", summary="other"), [], "another agent family 'mine'"),
        (AgentFamily(name="theirs", summary="", kind="mine"), [], "'mine' saves agents of kind"),
        (FAMILY, [Preset(name="x", family="other", summary="")], "is of the family 'other'"),
        (FAMILY, [Preset(name="happo", family="mine", summary="")], "another agent 'happo'"),
    ):
        with pytest.raises(ConfigError, match=words):
            register_family(family, presets)
    with pytest.raises(ConfigError, match="another prefix 'onnx'"):
        registry.register_prefix(AgentPrefix(prefix="onnx", summary="", resolve="mine:resolve"))


def derived(name: str = "derived", base: str = "ppo-lag", **rest: Any) -> Preset:
    return Preset(name=name, family="on-policy", base=base, summary="", **rest)


@pytest.mark.usefixtures("clean")
def test_a_preset_starts_from_another_with_its_numbers_and_its_needs() -> None:
    first = derived(settings={"gamma": 0.5, "update.epochs": 3}, tuned={"Hopper": {"gamma": 0.6}})
    second = derived("twice", "derived", settings={"lam": 0.5}, suites=("constrained",))
    for preset in (first, first, second):
        register_preset(preset)
    hopper, speed = make_task("HopperVelocity-v0"), make_task("SpeedLimit-v0")
    base = registry.preset("ppo-lag").config(hopper)
    assert second.config(hopper) == replace(
        base, gamma=0.6, lam=0.5, update=replace(base.update, epochs=3)
    )
    assert (first.config(speed).gamma, second.config(None).gamma) == (0.5, 0.5)
    assert second.config(speed).constraint.cost_limit == speed.cost_limit == 5.0
    # whom its base cannot train on, it cannot; a base is open to more suites than it
    spread = make_task("SimpleSpread-v0")
    assert suitability.why_not(first, spread) == registry.preset("ppo-lag").fits(spread) != ""
    assert not suitability.can_train(second, speed) and suitability.can_train(second, hopper)
    for wrong, error, words in (
        (derived("x", "happy"), UnknownName, "did you mean 'happo'"),
        (derived("x", "psro"), ConfigError, "'psro', which is of the family 'population'"),
        (derived("happo"), ConfigError, "another agent 'happo'"),
        (replace(first, name="x", family="on-polcy"), UnknownName, "did you mean 'on-policy'"),
    ):
        with pytest.raises(error, match=words):
            register_preset(wrong)
    with pytest.raises(UnknownName, match="did you mean 'gamma'"):
        derived("x", settings={"gama": 1.0}).config(hopper)


@pytest.mark.usefixtures("clean")
def test_a_preset_of_another_package_closes_no_suite_to_the_agents_of_the_family() -> None:
    task = replace(make_task("SpeedLimit-v0"), suite="theirs")
    assert suitability.is_meant_for(registry.preset("ppo"), task)
    register_preset(derived(suites=("theirs",)))
    assert suitability.is_meant_for(registry.preset("ppo"), task)


@pytest.mark.parametrize("agent", ["ppo", "happo"])
def test_a_constraint_chosen_later_holds_the_limit_of_the_task(agent: str) -> None:
    task = make_task("RiskyCorridor-v0")
    settings = {"constraint": "lagrangian"}
    made = request(agent, task, settings, steps=None, seeds=[0])
    assert made.config.constraint.cost_limit == task.cost_limit == 5.0
    own = request(agent, task, {**settings, "cost_limit": "7"}, steps=None, seeds=[0])
    assert own.config.constraint.cost_limit == 7.0


def test_a_suite_must_hold_tasks_of_its_own_on_environments_that_there_are() -> None:
    task = suites()["marl"].tasks[0]
    with pytest.raises(ConfigError, match="another suite 'marl'"):
        register_suite(Suite(name="marl", title="", tasks=()))
    with pytest.raises(ConfigError, match="must be a word"):
        register_suite(Suite(name="My suite", title="", tasks=()))
    with pytest.raises(ConfigError, match="is of the suite 'marl', not 'mine'"):
        register_suite(Suite(name="mine", title="", tasks=(task,)))
    with pytest.raises(ConfigError, match="another suite has the task"):
        register_suite(Suite(name="mine", title="", tasks=(replace(task, suite="mine"),)))
    lost = replace(task, suite="mine", id="mine/Nowhere-v0")
    with pytest.raises(UnknownName, match="mine/Nowhere-v0"):
        register_suite(Suite(name="mine", title="", tasks=(lost,)))
    assert "mine" not in suites()


def test_what_an_entry_point_loads_may_ask_for_what_is_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Entry:
        group, name, value, dist = "pkubench.x", "x", "x:y", None
        calls = 0

        def load(self) -> Any:
            Entry.calls += 1
            plugins.load_entry_points("pkubench.x")  # as a lookup inside it does
            return None

    monkeypatch.setattr(plugins, "_installed", lambda: (Entry(),))
    plugins.load_entry_points("pkubench.x")
    plugins.load_entry_points("pkubench.x")
    assert Entry.calls == 1
    plugins._LOADED.discard("pkubench.x")
