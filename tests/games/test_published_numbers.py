"""Numbers of the published code, each held to what it does: a wrong one changes the outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from pkubench.agents.families.psro.diversities.bd_rd import BDRD, JensenShannon
from pkubench.agents.families.psro.diversities.hull import HullDistance
from pkubench.agents.families.psro.mixture_points import PointSpace, mixture_settings
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSRO_PRESETS
from pkubench.agents.families.psro.spaces import PlanSpace, Situation
from pkubench.envs.games import MatrixGame, make_matrix_game
from tests.games.configs import adjusted

SKILL = make_matrix_game("matrix:game_of_skill(30)")
DIVERSE = ("dpp-psro", "bd-rd-psro", "psd-psro", "psd-psro-hull")


def against_one(payoffs: list[float]) -> tuple[MatrixGame, Situation]:
    """A game against an opponent of one action; the population knows the first of ours."""
    game = MatrixGame(np.array(payoffs)[:, None])
    size = len(payoffs)
    return game, Situation(
        side=0,
        row=np.full(size, 1.0 / size),
        own=np.eye(size)[:1],
        own_weights=np.ones(1),
        opponents=np.ones((1, 1)),
        weights=np.ones(1),
        payoffs=np.array([[payoffs[0]]]),
        iteration=0,
    )


@pytest.mark.parametrize("name", ["psd-psro", "psd-psro-paper", "psd-psro-hull-paper"])
def test_a_new_action_is_worth_a_hundredth_of_its_distance_in_payoff(name: str) -> None:
    # A new action is at 0.998 log 1001 - 0.001 log 1001 = 6.89 nats from the known one, smoothed by
    # 0.001. With weight 0.01 that outweighs 0.06 of the largest payoff, and 0.08 not.
    distance = (1.001 - 0.001) / 1.003 * np.log(1.001 / 0.001)
    assert 0.06 < 0.01 * distance < 0.08
    config = adjusted(PSRO_PRESETS[name], diversity_chance=1.0)
    step = 0.6 if name.endswith("-paper") else 1.0
    for behind, chosen in ((0.06, 1), (0.08, 0)):
        game, seen = against_one([1.0, 1.0 - behind, 0.0])
        response = PlanSpace(game, config).respond(seen, np.random.default_rng(0))
        wanted = (1.0 - step) / 3.0 + step * np.eye(3)[chosen]
        np.testing.assert_allclose(response.row, wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["p-psro-paper", "psd-psro-paper", "dpp-psro-paper"])
def test_a_plain_response_is_half_a_step(name: str) -> None:
    config = adjusted(PSRO_PRESETS[name], diversity_chance=0.0)
    game, seen = against_one([1.0, 0.9, 0.0])
    row = PlanSpace(game, config).respond(seen, np.random.default_rng(0)).row
    np.testing.assert_allclose(row, [2 / 3, 1 / 6, 1 / 6], atol=1e-12)


@pytest.mark.parametrize("name", ["dpp-psro-paper", "bd-rd-psro-paper"])
def test_a_diverse_response_of_the_other_methods_is_half_a_step_too(name: str) -> None:
    config = adjusted(PSRO_PRESETS[name], diversity_chance=1.0)
    game, seen = against_one([1.0, 0.9, 0.0])
    row = PlanSpace(game, config).respond(seen, np.random.default_rng(0)).row
    assert sorted(row.round(12).tolist()) == pytest.approx([1 / 6, 1 / 6, 2 / 3])


@pytest.mark.parametrize("name", DIVERSE)
def test_as_many_responses_are_diverse_as_standard_normal_numbers_exceed_085(name: str) -> None:
    diversity = PSRO_PRESETS[name].diversity
    share = float(norm.sf(0.85))
    assert diversity.diversity_chance == pytest.approx(share, abs=5e-5)  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    draws = [diversity.is_sought(rng) for _ in range(20_000)]
    assert np.mean(draws) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))


def test_behavioural_diversity_weighs_500_to_iteration_75_and_100_to_150_and_then_50() -> None:
    game = make_matrix_game("matrix:rock_paper_scissors")
    seen = Situation(
        side=0,
        row=np.full(3, 1 / 3),
        own=np.eye(3)[:1],
        own_weights=np.ones(1),
        opponents=np.eye(3)[:1],
        weights=np.ones(1),
        payoffs=np.zeros((1, 1)),
        iteration=0,
    )
    seed = next(s for s in range(9) if np.random.default_rng(s).random() < 0.5)
    found = {}
    for iteration in (0, 75, 76, 150, 151, 199):
        bonus, payoff = BDRD().bonus(
            game, seen._replace(iteration=iteration), np.eye(3)[0], np.random.default_rng(seed)
        )
        assert isinstance(bonus, JensenShannon) and payoff == 1.0
        # Paper against rock: twice the Jensen-Shannon divergence of disjoint actions is 2 log 2.
        found[iteration] = bonus.values(np.eye(3)[1:2])[0] / (2.0 * np.log(2.0))
    wanted = {0: 500.0, 75: 500.0, 76: 100.0, 150: 100.0, 151: 50.0, 199: 50.0}
    assert found == pytest.approx(wanted)


def test_the_mixture_model_seeks_payoff_first_and_diversity_later() -> None:
    # The weight of diversity is 0.7 / (1 + exp(-(t - 25) / 4)): 0.0014 at first, 0.6985 at last.
    config = mixture_settings("psd-psro")
    space, plain = PointSpace(config), PointSpace(mixture_settings("p-psro"))
    rng = np.random.default_rng(0)
    own = rng.normal(size=(3, 2))
    seen = Situation(
        side=0,
        row=np.array([1.5, 1.0]),
        own=own,
        own_weights=np.full(3, 1 / 3),
        opponents=own,
        weights=np.full(3, 1 / 3),
        payoffs=space.payoffs(own, own),
        iteration=0,
    )
    apart = {}
    for iteration in (0, 49):
        now = seen._replace(iteration=iteration)
        moved = [each.respond(now, np.random.default_rng(0)).row for each in (space, plain)]
        apart[iteration] = float(np.abs(moved[0] - moved[1]).max())
    assert apart[0] < 0.01 < 0.05 < apart[49]


@pytest.mark.parametrize(("light", "targets"), [(0.008, 2), (0.013, 3)])
def test_rectified_learners_respond_for_policies_of_more_than_a_hundredth(
    light: float, targets: int
) -> None:
    # At the equilibrium of weighted rock-paper-scissors each hand's share is the payoff of another.
    rest = (1.0 - light) / 2.0
    game = make_matrix_game(f"matrix:rock_paper_scissors({light},{rest},{rest})")
    learner = PopulationLearner(game, PSRO_PRESETS["psro-rn"], 0)
    learner.restore(
        {
            **learner.state(),
            "table": game.payoff.copy(),
            "plans_0": np.eye(3),
            "performance_0": np.full(3, 0.1),
        }
    )
    assert learner.meta_strategy()[0].min() == pytest.approx(light)
    assert len(learner._good_targets(0)) == targets


@pytest.mark.parametrize(("payoff", "policies"), [(-0.93, 3), (-0.87, 2)])
def test_a_first_payoff_counts_against_a_tenth(payoff: float, policies: int) -> None:
    # A new policy that wins -0.93 of the largest payoff stands at 0.07, below 1.03 x 0.1, and is
    # finished at once; at 0.13 it continues.
    game = MatrixGame([[-1.0, -1.0], [payoff, payoff]])
    learner = PopulationLearner(game, adjusted(PSRO_PRESETS["psro-paper"], step=1.0 - 1e-9), 0)
    before = len(learner.state()["plans_0"])
    learner.advance()
    assert before == 2
    assert len(learner.state()["plans_0"]) == policies


@pytest.mark.parametrize("name", ["p-psro-paper", "psro-rn-paper", "psd-psro-paper"])
def test_a_policy_is_finished_at_the_same_time_whatever_the_unit_of_payoffs(name: str) -> None:
    # Performance counts from 1 below a draw in units of the largest payoff.
    courses = []
    for unit in (1.0, 1024.0):
        learner = PopulationLearner(MatrixGame(unit * SKILL.payoff), PSRO_PRESETS[name], 0)
        sizes = []
        for _ in range(15):
            learner.advance()
            sizes.append([len(learner.state()[f"plans_{side}"]) for side in (0, 1)])
        courses.append((sizes, learner.plans()[0]))
    assert courses[0][0] == courses[1][0]
    np.testing.assert_array_equal(courses[0][1], courses[1][1])


def test_the_search_for_the_farthest_plan_solves_those_whose_bound_is_higher_and_no_others() -> (
    None
):
    # A plan's distance from the nearest member bounds its distance from the hull.
    rng = np.random.default_rng(3)
    weight, surplus = 0.3, 0
    for _ in range(15):
        members = np.eye(30)[rng.choice(30, 8, replace=False)]
        bonus = HullDistance(SKILL, 0, members, SKILL.uniform_plan(1), weight, 1e-3)
        plans, base = rng.dirichlet(np.full(30, 0.3), size=20), 0.05 * rng.normal(size=20)
        true = base + bonus.values(plans)
        bounds = base + weight * bonus._distances(plans).min(axis=1)
        assert (bounds >= true - 1e-7).all()
        solved: list[int] = []
        solve = bonus._nearest

        def counted(
            plan: np.ndarray,
            solved: list[int] = solved,
            solve: Any = solve,
            plans: np.ndarray = plans,
        ) -> Any:
            solved.append(int(np.flatnonzero((plans == plan).all(axis=1))[0]))
            return solve(plan)

        bonus._nearest = counted  # type: ignore[method-assign]
        assert bonus.argmax(plans, base) == int(true.argmax())
        assert sorted(solved) == np.flatnonzero(bounds > true.max()).tolist()
        surplus += 20 - len(solved)
    assert surplus > 20
