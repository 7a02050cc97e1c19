"""Options of episodes: chosen at a reset, by name, one value for all copies or one for each."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.contract import Team
from pkubench.agents.rl.budget import EarlyTermination
from pkubench.envs.adapters.gymnasium import GymnasiumAdapter, VectorAdapter
from pkubench.envs.adapters.pettingzoo import ParallelAdapter
from pkubench.envs.core.batch import Array, BatchEnv, Option
from pkubench.envs.core.checks import check_options
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.core.trials import CheckFailed, Subject
from pkubench.errors import ConfigError, RecordError, UnknownName
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.records import parse_record
from pkubench.tasks.scoring import Episode
from tests.agents.toy_envs import task_of


class Counter(BatchEnv):
    """Counts down from ``start`` by ``rate[0]`` a step; the reward is what is left."""

    default_horizon = 4
    episode_options: ClassVar[Mapping[str, Option]] = {
        "start": Option(3, spaces.Discrete(10), "first number"),
        "rate": Option((0.5, 0.0), spaces.Box(0.0, 1.0, (2,), np.float64), "per step, unused"),
        "word": Option("plain", spaces.Text(12), "what is asked"),
    }

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = dict.fromkeys(
            self.agents, spaces.Box(-10.0, 99.0, (1,), np.float32)
        )
        self.action_spaces = dict.fromkeys(self.agents, spaces.Discrete(2))
        self.left = np.zeros(num_envs)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.left[ids] = self.options["start"][ids]
        self.left[ids] += [len(word) - 5 for word in self.options["word"][ids]]

    def _step(self, actions: Mapping[str, Array], active: Any) -> Any:
        self.left = self.left - self.options["rate"][:, 0]
        rewards = np.stack([self.left, 0 * self.left], 1)
        return rewards, np.zeros(self.num_envs, bool), {"cost": 0.0 * self.left}

    def _observe(self) -> dict[str, Array]:
        return {agent: self.left[:, None].astype(np.float32) for agent in self.agents}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


SEEDS = np.arange(3)


def first(observations: Any) -> list[float]:
    return [float(x) for x in np.ravel(observations["a"])]


def test_a_value_is_for_all_copies_or_one_for_each_and_holds_until_the_next_reset() -> None:
    env = Counter(3)
    assert first(env.reset(SEEDS)[0]) == [3, 3, 3]
    assert first(env.reset(SEEDS, options={"start": 5})[0]) == [5, 5, 5]
    assert first(env.reset(SEEDS, options={"start": [1, 2, 4]})[0]) == [1, 2, 4]
    some = np.array([0, 2])
    seen, _ = env.reset(SEEDS[:2], some, {"start": [7, 8], "rate": [1.0, 0.0]})
    assert first(seen) == [7, 2, 8]
    step = env.step({agent: np.zeros(3, np.int64) for agent in env.agents})
    assert step.rewards[:, 0].tolist() == [6.0, 1.5, 7.0]
    rates = [[0.25, 0], [0.5, 0], [1, 0]]
    env.reset(SEEDS, options={"rate": rates, "word": ["plain", "plainer", "p"]})
    step = pickle.loads(pickle.dumps(env)).step(
        {agent: np.zeros(3, np.int64) for agent in env.agents}
    )
    assert step.rewards[:, 0].tolist() == [2.75, 4.5, -2.0]
    assert first(env.reset(SEEDS[:1], np.array([1]))[0]) == [3, 3, -1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"strat": 1}, UnknownName, "no option of an episode 'strat'; did you mean 'start'"),
        ({"start": 10}, ConfigError, "start=10 is not one of"),
        ({"start": 1.0}, ConfigError, "is not one of"),
        ({"start": [1, 2]}, ConfigError, r"shape \(2,\).*an array of 3"),
        ({"rate": [1.0, np.nan]}, ConfigError, "is not one of"),
        ({"rate": "fast"}, ConfigError, "rate"),
        ({"word": 5}, ConfigError, "word=5"),
    ],
)
def test_other_names_and_values_are_refused_and_leave_the_episodes_as_they_are(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    env = Counter(3)
    env.reset(SEEDS, options={"start": 6})
    with pytest.raises(error, match=words):
        env.reset(SEEDS, options=options)
    assert env.options["start"].tolist() == [6, 6, 6] and env.left.tolist() == [6.0] * 3


def test_the_public_forms_take_them() -> None:
    single = GymnasiumAdapter(Counter(1))
    assert first(single.reset(seed=0, options={"start": 5})[0]) == [5]
    assert first(single.reset()[0]) == [3]
    teams = ParallelAdapter(Counter(1))
    assert first(teams.reset(seed=0, options={"start": 5})[0]) == [5]
    assert first(teams.reset(seed=0, options={"options": 1})[0]) == [3]  # PettingZoo's own test
    for adapter in (single, teams):
        with pytest.raises(UnknownName, match="did you mean 'start'"):
            adapter.reset(options={"stat": 5})

    vector = VectorAdapter(Counter(3), autoreset_mode="NextStep")
    assert first(vector.reset(seed=0, options={"start": 5})[0]) == [5, 5, 5]
    mask = np.array([False, True, True])
    chosen = {"start": [7, 8, 9], "reset_mask": mask}
    assert first(vector.reset(options=chosen)[0]) == [5, 8, 9]
    idle = {agent: np.zeros(3, np.int64) for agent in ("a", "b")}
    for _ in range(4):
        _, _, _, truncated, _ = vector.step(idle)
    assert truncated.all()
    assert first(vector.step(idle)[0]) == [3, 3, 3]  # what resets itself has the defaults
    with pytest.raises(UnknownName, match="this environment has no options"):
        gymnasium.make_vec("pkubench/SimpleSpread-v0", num_envs=2).reset(options={"start": 5})


def test_a_wrapper_passes_them_on() -> None:
    env = EarlyTermination(Counter(3), 1.0)
    assert first(env.reset(SEEDS, options={"start": [1, 2, 4]})[0]) == [1, 2, 4]
    assert first(env.reset(SEEDS[:1], np.array([1]), {"start": 9})[0]) == [1, 9, 4]
    assert first(env.reset(SEEDS[:1], np.array([0]))[0]) == [3, 9, 4]


class Forgetful(Counter):
    """Keeps the options of the reset before."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        before = getattr(self, "before", self.options["start"].copy())
        self.left[ids], self.before = before[ids], self.options["start"].copy()


class Shared(Counter):
    """Starts every copy like the first."""

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.left[ids] = self.options["start"][0]


class Lenient(Counter):
    """Passes over names that it does not know."""

    def reset(self, seeds: Any, ids: Any = None, options: Any = None) -> Any:
        known = {k: v for k, v in (options or {}).items() if k in self.episode_options}
        return super().reset(seeds, ids, known)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Counter, ""),
        (Forgetful, "without options after"),
        (Shared, "of its own"),
        (Lenient, "is not refused"),
    ],
)
def test_the_conformance_check_finds_options_that_leak_or_are_not_checked(
    env: type[BatchEnv], words: str
) -> None:
    subject = Subject("counter", env)
    if not words:
        check_options(subject)
        return
    with pytest.raises(CheckFailed, match=words):
        check_options(subject)


def test_a_planned_episode_is_played_with_its_options_and_its_record_has_them() -> None:
    class Idle:
        def begin(self, seeds: Any) -> None:
            return None

        def act(self, observation: Any, state: Any, active: Any) -> Any:
            return np.zeros(len(active), np.int64), state

    task = task_of(Counter)
    plan = [
        Episode(number=k, seed=k, agent_seed=k, options=of)
        for k, of in enumerate(({"start": 5, "rate": [1.0, 0.0]}, {}, {"start": 7}))
    ]
    records = sorted(
        run_block(Counter(3), Team({"a": Idle(), "b": Idle()}), task, plan), key=lambda r: r.episode
    )
    assert [record.return_ for record in records] == [4 + 3 + 2 + 1, 2.5 + 2 + 1.5 + 1, 23.0]
    lines = [record.line(task) for record in records]
    assert '"seed": 0, "options": {"start": 5, "rate": [1.0, 0.0]}, "return": 10.0' in lines[0]
    assert "options" not in lines[1]
    for record, line in zip(records, lines, strict=True):
        assert parse_record(line, "here") == record
    with pytest.raises(RecordError):
        parse_record(lines[0].replace('{"start": 5, "rate": [1.0, 0.0]}', "5"), "here")
    with pytest.raises(UnknownName, match="'stat'"):
        list(
            run_block(
                Counter(1),
                Team({"a": Idle(), "b": Idle()}),
                task,
                [replace(plan[0], options={"stat": 1})],
            )
        )
