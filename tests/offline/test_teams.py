"""The convention for data of several agents, and what its validator finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.data import minari_files, teams
from pkubench.data.episodes import Episodes, EpisodesBuilder
from pkubench.errors import DataError

AGENTS = ("agent_2", "agent_10")
"""In this order: a Dict space sorts them the other way round."""


def team() -> Episodes:
    builder = EpisodesBuilder(agents=AGENTS, name="pkubench/Team/two-v0")
    seen = np.arange(12.0).reshape(3, 2, 2)
    builder.add(seen, [[0, 1], [2, 3]], [[1.0, 2.0], [4.0, 8.0]], True)
    return builder.build()


def episode() -> dict[str, Any]:
    """An episode as the convention has it."""
    of = team()
    parts = {
        "observations": np.concatenate([of.observations, of.final_observations]),
        "actions": of.actions,
        "rewards": of.rewards,
        "terminations": np.array([False, True]),
        "truncations": np.array([False, False]),
    }
    return parts | teams.parts_of(parts, AGENTS)


def test_the_convention_by_hand():
    found = episode()
    assert found["observations"]["agent_10"].tolist() == [[2, 3], [6, 7], [10, 11]]
    assert found["actions"]["agent_2"].tolist() == [0, 2]
    assert found["rewards"].tolist() == [3, 12]
    assert found["infos"]["rewards"].tolist() == [[0, 0], [1, 2], [4, 8]]


def test_it_is_the_same_after_writing_and_reading(monkeypatch, tmp_path: Path):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv(minari_files.ROOT_VARIABLE, str(tmp_path))
    seen, action = spaces.Box(-99, 99, (2,), np.float32), spaces.Discrete(5)
    minari_files.write(team(), seen, action, card={})
    found = minari_files.read("pkubench/Team/two-v0")
    assert found.agents == AGENTS and found.sha256 == team().sha256
    (read,) = minari.load_dataset("pkubench/Team/two-v0").iterate_episodes()
    assert read.rewards.tolist() == [3, 12] and set(read.observations) == set(AGENTS)


def _without(name: str, agent: str):
    def change(of: dict[str, Any]) -> None:
        of[name] = {a: v for a, v in of[name].items() if a != agent}

    return change


def _cut(of: dict[str, Any]) -> None:
    of["observations"]["agent_2"] = of["observations"]["agent_2"][:-1]


def _other_shape(of: dict[str, Any]) -> None:
    of["observations"]["agent_10"] = np.zeros((3, 4))


def _as_minari_takes_it(of: dict[str, Any]) -> None:
    of["rewards"] = of["infos"]["rewards"][1:]


def _no_own(of: dict[str, Any]) -> None:
    of["infos"] = None


def _from_step_0(of: dict[str, Any]) -> None:
    of["infos"]["rewards"][0] = 1.0


def _other_sum(of: dict[str, Any]) -> None:
    of["rewards"] = of["rewards"] / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: None, ""),
        (_without("actions", "agent_2"), r"e1: actions are of \['agent_10'\], wanted one of each"),
        (_cut, "e1: agent_2 has 2 observations, wanted 3 for 2 steps"),
        (_other_shape, r"e1: observations of agent_2 and agent_10 have shapes \(2,\) and \(4,\)"),
        (_as_minari_takes_it, r"e1: rewards have shape \(2, 2\); the team's are \(T,\)"),
        (_no_own, r'e1: infos\["rewards"\] has shape \(0,\), wanted \(3, 2\)'),
        (_from_step_0, r'e1: row 0 of infos\["rewards"\] is before any step'),
        (_other_sum, "e1: the agents' rewards do not add up to the team's"),
    ],
)
def test_what_the_validator_finds(change, message: str):
    of = episode()
    change(of)
    if not message:
        teams.check(of, AGENTS, "e1")
        return
    with pytest.raises(DataError, match=message):
        teams.check(of, AGENTS, "e1")
