"""Oracles and diversities from outside, and settings that belong to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import as_plain, matches, register, with_settings
from pkubench.agents.families.psro.diversities import Bonus, ByChance, Diversity
from pkubench.agents.families.psro.oracles import Aim, PlanOracle, ResponseOracle
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.envs.games import make_matrix_game
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError
from tests.games.configs import psro

KUHN = game_tree("kuhn_poker")
RPS = make_matrix_game("matrix:rock_paper_scissors")


class Likes(Bonus):
    """So much for every unit of one sequence."""

    def __init__(self, sequence: int, size: int, weight: float) -> None:
        self._slopes = weight * np.eye(size)[sequence]

    def values(self, plans: Floats) -> Floats:
        return np.asarray(plans @ self._slopes)

    def slopes(self, plan: Floats) -> Floats:
        return self._slopes


@pytest.fixture
def whim() -> Iterator[str]:
    """A diversity that is one class and its bonus: it likes the last sequence."""

    @register("whim")
    @dataclass(frozen=True, kw_only=True)
    class Whim(ByChance):
        fondness: float = 100.0

        def bonus(
            self, game: Any, situation: Any, opponent: Floats, rng: np.random.Generator
        ) -> tuple[Bonus, float]:
            return Likes(-1, len(situation.row), self.fondness), 1.0

    yield "whim"
    del Diversity.registered["whim"]


@pytest.fixture
def stubborn() -> Iterator[str]:
    """An oracle that answers with the first pure plan."""

    @register("stubborn")
    @dataclass(frozen=True, kw_only=True)
    class Stubborn(PlanOracle):
        def plan(
            self, game: Any, situation: Any, aim: Aim, rng: np.random.Generator
        ) -> tuple[Floats, float]:
            return np.eye(len(situation.row))[0], 1.0

    yield "stubborn"
    del ResponseOracle.registered["stubborn"]


def test_a_diversity_from_outside_is_chosen_set_and_used(whim: str) -> None:
    config = psro(diversity=whim, diversity_chance=1.0, fondness=50.0)
    assert as_plain(config)["diversity.fondness"] == 50.0
    learner = PopulationLearner(RPS, config, 0)
    for _ in range(2):
        learner.advance()
    # scissors, whatever is answered; but for the first policy, which is drawn
    assert (learner.plans()[0][1:] == [0.0, 0.0, 1.0]).all()
    plain = PopulationLearner(KUHN, psro(), 0)
    fond = PopulationLearner(KUHN, psro(diversity=whim, diversity_chance=1.0), 0)
    for learner in (plain, fond):
        for _ in range(4):
            learner.advance()
    taken = [learner.plans()[0][1:, -1].mean() for learner in (fond, plain)]
    assert taken[0] == 1.0 > taken[1]


def test_an_oracle_from_outside_updates_policies(stubborn: str) -> None:
    learner = PopulationLearner(RPS, psro(oracle=stubborn, step=0.5), 0)
    before = learner._sides[0].rows[-1].copy()
    learner.advance()
    np.testing.assert_allclose(learner._sides[0].rows[1], 0.5 * before + [0.5, 0.0, 0.0])


def test_settings_belong_to_the_oracle_or_diversity_that_reads_them() -> None:
    config = with_settings(PSROConfig(), {"oracle": "mirror", "mirror_steps": "5", "step": "0.5"})
    assert (config.oracle.name, config.oracle.step_size) == ("mirror", 0.5)
    exact = with_settings(config, {"oracle": "exact", "ties": "lowest"})
    assert exact.oracle.step_size == 0.5  # which both have
    psd = with_settings(exact, {"diversity": "hull", "diversity.smoothing": "0.01"})
    for name, value, words in (
        ("mirror_steps", "3", "of oracle=mirror, and this is oracle=exact"),
        ("hidden", "[16]", "of oracle=dqn or oracle=softmax"),
        ("payoff_inverse", "official", "of diversity=bd-rd, and this is diversity=hull"),
    ):
        with pytest.raises(ConfigError, match=words):
            with_settings(psd, {name: value})


@pytest.mark.parametrize("name", PSRO_PRESETS)
def test_settings_saved_with_flat_names_are_read(name: str) -> None:
    """As runs of an earlier release have them: all settings of all components, side by side."""
    config = PSRO_PRESETS[name]
    flat = {key.rpartition(".")[2]: value for key, value in as_plain(config).items()}
    flat |= {"mirror_steps": 100, "mirror_rate": 1.0}
    if config.diversity.name == "none":
        flat |= {"diversity_chance": 0.0, "diversity_weight": 0.01, "smoothing": 0.001}
    assert matches(config, flat)
    assert not matches(config, {**flat, "learners": 7})
    assert not matches(config, {**flat, "oracle": "mirror"})
    assert not matches(config, {**flat, "unheard_of": 1})
