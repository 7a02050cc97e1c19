"""``pkubench check``: a sound environment passes, and each broken rule of the contract is named."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import Command

ENV = dedent(
    '''
    import numpy as np
    from gymnasium import spaces
    from pkubench.envs.core.batch import BatchEnv
    from pkubench.envs.core.seeding import RandomStreams

    PLACES = np.zeros((64, 2))

    class Walk(BatchEnv):
        """A walker on a line is paid for going right and pushed by the wind."""

        default_horizon = 20

        def __init__(self, num_envs=1, max_episode_steps=-1):
            super().__init__(num_envs, max_episode_steps)
            self.observation_spaces = {"agent": spaces.Box(-np.inf, np.inf, (2,), np.float32)}
            self.action_spaces = {"agent": spaces.Discrete(3)}
            self.random = RandomStreams(num_envs)
            self.place = np.zeros((num_envs, 2))

        def _reset(self, ids, seeds):
            self.random.seed(ids, seeds)
            self.place[ids] = self.random.normal(ids, 2)

        def _step(self, actions, active):
            move = actions["agent"] - 1
            self.place[:, 0] += move + 0.1 * self.random.normal(self._all, 1)[:, 0]
            ended = self.place[:, 0] > 100
            return move[:, None].astype(np.float64), ended, {}

        def _observe(self):
            return {"agent": self.place.astype(np.float32)}

        def render(self, index=0):
            picture = np.zeros((8, 8, 3), np.uint8)
            picture[:, 4] = 255
            return picture
    '''
)


def write_env(old: str = "", new: str = "") -> None:
    assert old in ENV
    Path("walk.py").write_text(ENV.replace(old, new) if old else ENV)


@pytest.fixture(autouse=True)
def fresh_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "walk", raising=False)


def test_a_sound_environment_of_ones_own_passes(pkubench: Command) -> None:
    write_env()
    said = pkubench("check", "walk:Walk", "--json")
    assert said.code == 0, said.out
    status = {check["check"]: check["status"] for check in said.json["checks"]}
    assert status.pop("pettingzoo") == status.pop("options") == "skip"
    assert set(status.values()) == {"pass"}


def test_a_registered_environment_passes_and_the_table_says_so(pkubench: Command) -> None:
    said = pkubench("check", "SimpleReference-v0")
    assert said.code == 0, said.out
    assert "batch independence" in said.out
    assert "fail" not in said.out
    assert "pkubench evaluate random SimpleReference-v0" in said.err


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("self.random.normal(self._all, 1)[:, 0]", "np.random.normal()", "determinism"),
        ("self.random.normal(self._all, 1)[:, 0]", "self.place.mean()", "batch independence"),
        ("self.place[ids] =", "self.place[:] += 1; self.place[ids] =", "partial reset"),
        ("self.place.astype(np.float32)", "self.place", "spaces"),
        (
            "super().__init__(num_envs, max_episode_steps)",
            "super().__init__(num_envs, None)",
            "time limit",
        ),
        ("move[:, None].astype(np.float64)", "move[:, None]", "step"),
        ("ended, {}", 'ended, {"speed": move * 1.0}', "infos"),
        (
            "self.place = np.zeros((num_envs, 2))",
            "self.place = np.zeros((num_envs, 2)); self.look = lambda: None",
            "copies",
        ),
        (
            "self.place = np.zeros((num_envs, 2))",
            "self.place = PLACES[:num_envs]; PLACES[:num_envs] = 0\n\n"
            "    def __setstate__(self, state):\n"
            "        vars(self).update(state); self.place = PLACES[: self.num_envs]",
            "copies",  # the copy moves the original's walkers
        ),
        ("picture[:, 4] = 255", "pass", "rendering"),
        (
            "(2,), np.float32)}",
            "(2,), np.float64)}",
            "spaces",
        ),
        (
            "A walker on a line is paid for going right and pushed by the wind.",
            "Walk.",
            "docstring",
        ),
        (
            "self.place.astype(np.float32)}",
            "self.shown}",
            "spaces",  # the attribute is missing altogether: a failure with a name, no crash
        ),
    ],
)
def test_each_broken_rule_is_named(pkubench: Command, old: str, new: str, check: str) -> None:
    write_env(old, new)
    said = pkubench("check", "walk:Walk", "--json")
    assert said.code == 1
    assert check in {c["check"] for c in said.json["checks"] if c["status"] == "fail"}


def test_arrays_that_the_environment_keeps_writing_to_are_found(pkubench: Command) -> None:
    write_env(
        'return {"agent": self.place.astype(np.float32)}',
        'self.shown = getattr(self, "shown", np.zeros((self.num_envs, 2), np.float32)); '
        'self.shown[:] = self.place; return {"agent": self.shown}',
    )
    said = pkubench("check", "walk:Walk", "--json")
    failed = {c["check"] for c in said.json["checks"] if c["status"] == "fail"}
    assert "arrays are the callers" in failed


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("SimpleSpred", "did you mean 'pkubench/SimpleSpread-v0'"),
        ("nowhere:World", "there is no module 'nowhere'"),
        ("json:JSONDecoder", "is not a BatchEnv class"),
    ],
)
def test_a_name_that_leads_nowhere_is_misuse(pkubench: Command, name: str, part: str) -> None:
    said = pkubench("check", name)
    assert said.code == 2
    assert part in said.err
    assert len(said.err.splitlines()) == 1
