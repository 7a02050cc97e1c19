"""Diversity bonuses, checked against definitions, brute force and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pkubench.agents.families.psro.distances import divergences, hull_distance
from pkubench.agents.families.psro.diversities import Bonus
from pkubench.agents.families.psro.diversities.bd_rd import (
    BDRD,
    JensenShannon,
    PayoffDistance,
    behaviour_weight,
)
from pkubench.agents.families.psro.diversities.dpp import Cardinality
from pkubench.agents.families.psro.diversities.hull import HullDistance
from pkubench.agents.families.psro.diversities.members import MemberDistance
from pkubench.agents.families.psro.mixture_points import PointSpace, bonus_share, mixture_settings
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSRO_PRESETS
from pkubench.agents.families.psro.spaces import PlanSpace, Situation
from pkubench.envs.games import ZeroSumGame, make_matrix_game
from pkubench.envs.games.mixture_model import CENTRES
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError, UnknownName
from tests.games.configs import adjusted

KUHN, LEDUC = game_tree("kuhn_poker"), game_tree("leduc_poker")
RPS = make_matrix_game("matrix:rock_paper_scissors")
SKILL = make_matrix_game("matrix:game_of_skill(30)")
GAMES: dict[str, ZeroSumGame] = {"kuhn": KUHN, "leduc": LEDUC, "skill": SKILL}
SMOOTHING = 1e-3


def population(game: ZeroSumGame, player: int, size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, player])
    return np.stack([game.random_plan(player, rng) for _ in range(size)])


def payoffs_of(game: ZeroSumGame, player: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What four opponents make each sequence worth, and what three old policies win there."""
    worth = np.stack([game.gains(player, y) for y in population(game, 1 - player, 4, seed)])
    return worth, population(game, player, 3, seed) @ worth.T


def made(name: str, game: ZeroSumGame, player: int) -> Bonus:
    members = population(game, player, 4)
    opponent = game.uniform_plan(1 - player)
    if name == "members":
        return MemberDistance(game, player, members, opponent, 0.7, SMOOTHING)
    if name == "hull":
        return HullDistance(game, player, members, opponent, 0.7, SMOOTHING)
    worth, old = payoffs_of(game, player)
    if name == "behaviour":
        return JensenShannon(game, player, members[0], opponent, 0.7)
    if name == "cardinality":
        return Cardinality(worth, old, symmetric=False)
    if name == "symmetric cardinality":
        old = members @ (SKILL.payoff @ members.T)
        return Cardinality(members @ SKILL.payoff.T, old, symmetric=True)
    return PayoffDistance(worth, old)


def test_distances_are_those_of_the_smoothed_policies() -> None:
    nearer = []
    for game in GAMES.values():
        for player in (0, 1):
            members, plans = population(game, player, 4), population(game, player, 3, seed=1)
            opponent = game.uniform_plan(1 - player)
            mass = game.terminal_weights(player, opponent)
            smooth = game.smooth(player, members, SMOOTHING)
            args = (game, player, members, opponent, 0.7, SMOOTHING)
            near, hull = MemberDistance(*args).values(plans), HullDistance(*args).values(plans)
            for plan, found, in_hull in zip(plans, near, hull, strict=True):
                new = game.smooth(player, plan, SMOOTHING)
                assert found == pytest.approx(0.7 * divergences(new, smooth, mass).min())
                assert in_hull == pytest.approx(
                    0.7 * hull_distance(new, smooth, mass).distance, abs=1e-7
                )
                assert in_hull <= found + 1e-12  # equal where a member is the nearest of the hull
                nearer.append(found - in_hull)
    assert max(nearer) > 1e-3


def test_the_distance_of_rock_from_paper_is_worked_by_hand() -> None:
    # Smoothed by 1: rock (2, 1, 1)/4, paper (1, 2, 1)/4, so 1/2 log 2 - 1/4 log 2. The other way
    # round is the same here, but not against (1, 0, 0) smoothed by nothing else: half and half is
    # (3, 3, 2)/8, at 1/2 log (4/3) + 1/4 log (2/3).
    bonus = MemberDistance(RPS, 0, np.eye(3)[1:2], np.full(3, 1 / 3), 1.0, 1.0)
    assert bonus.values(np.eye(3)[:1])[0] == pytest.approx(np.log(2) / 4)
    half = np.array([[0.5, 0.5, 0.0]])
    bonus = MemberDistance(RPS, 0, half, np.full(3, 1 / 3), 1.0, 1.0)
    wanted = np.log(4 / 3) / 2 + np.log(2 / 3) / 4
    assert bonus.values(np.eye(3)[:1])[0] == pytest.approx(wanted)
    reverse = 3 / 8 * np.log(3 / 4) + 3 / 8 * np.log(3 / 2)
    assert abs(wanted - reverse) > 1e-3


@pytest.mark.parametrize("name", ["members", "hull", "behaviour", "payoffs", "cardinality"])
@pytest.mark.parametrize("game", [KUHN, SKILL], ids=["kuhn", "skill"])
@pytest.mark.parametrize("player", [0, 1])
def test_slopes_are_the_gradient_by_finite_differences(
    name: str, game: ZeroSumGame, player: int
) -> None:
    _held_to_differences(made(name, game, player), game, player)


def test_slopes_of_a_symmetric_cardinality_are_its_gradient() -> None:
    _held_to_differences(made("symmetric cardinality", SKILL, 0), SKILL, 0)


def _held_to_differences(bonus: Bonus, game: ZeroSumGame, player: int) -> None:
    """Along straight lines of plans; smoothed lines of matrix strategies are straight too."""
    smoothed = isinstance(bonus, MemberDistance)
    if smoothed:  # so little that a tree's lines are straight as well
        opponent = game.uniform_plan(1 - player)
        kind = type(bonus)
        bonus = kind(game, player, population(game, player, 4), opponent, 0.7, 1e-12)
    rng = np.random.default_rng(5)
    plan = game.random_plan(player, rng)
    for _ in range(5):
        line = game.random_plan(player, rng) - plan
        size = 1e-6
        ahead, behind = bonus.values(np.stack([plan + size * line, plan - size * line]))
        wanted = (ahead - behind) / (2.0 * size)
        assert bonus.slopes(plan) @ line == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_payoff_distance_is_the_formula_of_the_paper() -> None:
    worth, old = payoffs_of(LEDUC, 0)
    plans = population(LEDUC, 0, 5, seed=3)
    table = old.T
    for plan, found in zip(plans, PayoffDistance(worth, old).values(plans), strict=True):
        b = worth @ plan
        best = np.linalg.lstsq(table, b, rcond=None)[0]
        least = np.linalg.svd(table)[1].min()
        wanted = least**2 / 3 * (1 - best.sum()) ** 2 + ((b - table @ best) ** 2).sum()
        assert found == pytest.approx(wanted, rel=1e-9)
    # Affine combinations of old payoffs are at no distance.
    inside = np.array([0.5, 0.7, -0.2]) @ population(LEDUC, 0, 3)
    assert PayoffDistance(worth, old).values(inside[None])[0] == pytest.approx(0.0, abs=1e-12)


def test_payoffs_of_more_policies_than_the_game_has_rank_keep_their_distance() -> None:
    worth, old = payoffs_of(LEDUC, 0)
    many = np.vstack([old, [0.5, 0.5, 0.0] @ old, [0.2, -1.0, 1.8] @ old])  # still of rank 3
    plans = population(LEDUC, 0, 4, seed=3)
    for plan, found in zip(plans, PayoffDistance(worth, many).values(plans), strict=True):
        b = worth @ plan
        inside = old.T @ np.linalg.lstsq(old.T, b, rcond=None)[0]
        assert found == pytest.approx(((b - inside) ** 2).sum(), rel=1e-6)


def test_the_official_inverse_is_the_same_until_policies_outgrow_the_rank_and_noise_then() -> None:
    # Released code inverts the singular values that rounding leaves, in single precision.
    space = PointSpace(mixture_settings("bd-rd-psro"))
    points = np.random.default_rng(0).normal(0.0, 2.0, (30, 2))
    inside = 0.3 * points[4] + 0.7 * points[5]

    def distances(size: int) -> list[float]:
        old = space.payoffs(points[:size], points[:size])
        worth = space._worth(points[:size])
        plan = space._plans(inside[None])
        return [
            float(PayoffDistance(worth, old, inverse).values(plan)[0])
            for inverse in ("ranked", "official")
        ]

    ranked, official = distances(4)
    assert official == pytest.approx(ranked, rel=1e-3)
    ranked, official = distances(30)  # payoffs are of rank 8
    assert ranked < 1e-9
    assert official > 1e-3


def test_with_the_official_inverse_the_mixture_model_ends_where_the_authors_did() -> None:
    # Stored by the authors: 0.0397 (standard error 0.0139, 5 seeds).
    config = mixture_settings("bd-rd-psro-official")
    learner = PopulationLearner(PointSpace(config), config, 1)
    for _ in range(config.iterations):
        learner.advance()
    assert learner.measure(last=True)["exploitability"] < 0.0397 + 2 * 0.0139


def test_cardinality_is_the_trace_with_the_candidate_in_the_table() -> None:
    worth, old = payoffs_of(KUHN, 1)
    plans = population(KUHN, 1, 5, seed=3)
    found = Cardinality(worth, old, symmetric=False).values(plans)
    members = population(SKILL, 0, 6)
    old_square = members @ SKILL.payoff @ members.T
    rows = population(SKILL, 0, 5, seed=3)
    square = Cardinality(members @ SKILL.payoff.T, old_square, symmetric=True).values(rows)

    def trace(table: np.ndarray) -> float:
        size = len(table)
        return float(np.trace(np.eye(size) - np.linalg.inv(table @ table.T + np.eye(size))))

    for k in range(5):
        assert found[k] == pytest.approx(trace(np.vstack([old, worth @ plans[k]])), rel=1e-9)
        everyone = np.vstack([members, rows[k]])
        assert square[k] == pytest.approx(trace(everyone @ SKILL.payoff @ everyone.T), rel=1e-9)


def test_jensen_shannon_is_the_gap_of_entropies_of_the_official_code() -> None:
    played = population(SKILL, 0, 1)[0]
    bonus = JensenShannon(SKILL, 0, played, SKILL.uniform_plan(1), 1.0)

    def entropy(mass: np.ndarray) -> float:
        mass = mass / mass.sum()
        return -float((mass * np.log(mass, where=mass > 0, out=np.zeros_like(mass))).sum())

    pure = np.eye(30)
    wanted = [2 * entropy(row + played) - entropy(row) - entropy(played) for row in pure]
    np.testing.assert_allclose(bonus.values(pure), wanted, atol=1e-12)
    # Linear over pure plans, so differences of slopes are differences of values.
    values, slopes = bonus.values(pure), bonus.pure_slopes(pure[0])
    np.testing.assert_allclose(values - values[0], slopes - slopes[0], atol=1e-12)


@pytest.mark.parametrize(
    ("iteration", "weight"), [(0, 500.0), (75, 500.0), (76, 100.0), (150, 100.0), (151, 50.0)]
)
def test_behavioural_diversity_weighs_500_then_100_then_50(iteration: int, weight: float) -> None:
    # The three stages of the official code, of 75 iterations each, of which the last is open.
    assert behaviour_weight(iteration) == weight


@pytest.mark.parametrize(("iteration", "weight"), [(75, 500.0), (76, 100.0), (151, 50.0)])
def test_a_response_is_given_the_weight_of_its_iteration(iteration: int, weight: float) -> None:
    # Rock against a mixture that is all paper: log 2 for each of the two actions.
    rock, paper, _ = np.eye(3)
    one = np.ones(1)
    seen = Situation(0, rock, paper[None], one, paper[None], one, np.zeros((1, 1)), iteration)
    rng = np.random.default_rng(2)  # draws 0.26 first: behavioural diversity
    bonus, of_payoff = BDRD().bonus(RPS, seen, paper, rng)
    assert bonus.values(rock[None]) == pytest.approx(weight * 2.0 * np.log(2.0))
    assert of_payoff == 1.0


def test_distances_are_solved_only_of_actions_that_may_be_the_best() -> None:
    rng = np.random.default_rng(0)
    misled = spared = 0
    for _ in range(40):
        # Pure members: mixtures of them come much nearer than any one does to spread-out plans.
        members = np.eye(30)[rng.choice(30, 12, replace=False)]
        bonus = HullDistance(SKILL, 0, members, SKILL.uniform_plan(1), 0.3, SMOOTHING)
        plans = rng.dirichlet(np.full(30, 0.1), size=30)
        base = 0.1 * rng.normal(size=30)
        values = base + bonus.values(plans)
        wanted = int(values.argmax())
        bounds = base + 0.3 * bonus._distances(plans).min(axis=1)
        misled += wanted != int(bounds.argmax())
        solved, solve = [], bonus._nearest

        def counted(plan: np.ndarray, solved: list = solved, solve: Any = solve) -> Any:
            solved.append(plan)
            return solve(plan)

        bonus._nearest = counted  # type: ignore[method-assign]
        assert bonus.argmax(plans, base) == wanted
        # A distance from a member bounds that from the hull: only above the best is there a doubt.
        doubtful = {*np.flatnonzero(bounds > values.max()).tolist(), wanted}
        found = [int((plans == plan).all(axis=1).argmax()) for plan in solved]
        assert sorted(found) == sorted(doubtful)
        spared += 30 - len(solved)
    assert misled > 3  # the nearest member alone would often have chosen another
    assert spared > 40 * 10


def situation(game: ZeroSumGame, side: int, row: np.ndarray) -> Situation:
    own, opponents = population(game, side, 4), population(game, 1 - side, 4, seed=2)
    payoffs = game.payoffs(own, opponents) if side == 0 else -game.payoffs(opponents, own).T
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    return Situation(side, row, own, weights, opponents, weights, payoffs, 0)


@pytest.mark.parametrize("side", [0, 1])
def test_the_gain_of_a_response_is_over_the_payoff_of_the_own_mixture(side: int) -> None:
    space = PlanSpace(KUHN, PSRO_PRESETS["psro"])
    seen = situation(KUHN, side, KUHN.uniform_plan(side))
    own, opponent = (
        KUHN.mix(seen.own, seen.own_weights),
        KUHN.mix(seen.opponents, seen.weights),
    )
    pair = (own, opponent) if side == 0 else (opponent, own)
    value = KUHN.expected_value(*pair) * (1 if side == 0 else -1)
    response = space.respond(seen, np.random.default_rng(0))
    assert response.payoff == pytest.approx(KUHN.best_response(side, opponent)[0])
    assert response.gain == pytest.approx(response.payoff - value)


@pytest.mark.parametrize(
    ("side", "diversity"),
    [
        (0, "members"),
        (1, "hull"),
        (0, "dpp"),
        (1, "bd-rd"),
        *(
            pytest.param(side, name, marks=pytest.mark.slow)
            for side, name in ((1, "members"), (0, "hull"), (1, "dpp"), (0, "bd-rd"))
        ),
    ],
)
def test_diverse_responses_are_worth_more_than_plain_ones(diversity: str, side: int) -> None:
    for game in (KUHN, LEDUC):
        config = adjusted(
            PSRO_PRESETS["psd-psro"],
            diversity=diversity,  # type: ignore[arg-type]
            diversity_chance=1.0,
            diversity_weight=1.0,
            ties="lowest",
        )
        space = PlanSpace(game, config)
        seen = situation(game, side, game.uniform_plan(side))
        opponent = game.mix(seen.opponents, seen.weights)
        plain = game.best_response(side, opponent)[1]
        for seed in range(4):
            response = space.respond(seen, np.random.default_rng(seed))
            rng = np.random.default_rng(seed)
            rng.random()
            bonus, payoff = config.diversity.bonus(space.game, seen, opponent, rng)
            worth = payoff * game.gains(side, opponent) / game.max_utility

            def objective(plan: np.ndarray, bonus: Bonus = bonus, w: np.ndarray = worth) -> float:
                return float(w @ plan + bonus.values(plan[None])[0])

            assert set(np.unique(response.row)) == {0.0, 1.0}
            assert objective(response.row) >= objective(plain) - 1e-12
            assert response.gain == np.inf
            rng = np.random.default_rng(9)
            others = [game.random_plan(side, rng, pure=True) for _ in range(300)]
            beaten = np.mean([objective(response.row) >= objective(o) - 1e-12 for o in others])
            assert beaten > 0.9


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES.keys())
@pytest.mark.parametrize("player", [0, 1])
def test_mirror_ascent_never_descends_and_converges_to_the_best_response(
    game: ZeroSumGame, player: int
) -> None:
    worth = game.gains(player, population(game, 1 - player, 1)[0]) / game.max_utility
    plan, last = game.uniform_plan(player), -np.inf
    for _ in range(300):
        plan = game.mirror_step(player, plan, worth, 20.0)
        game.check_plan(plan, player)
        assert worth @ plan >= last - 1e-12
        last = float(worth @ plan)
    assert last == pytest.approx(game.best_plan(player, worth)[0], abs=6e-3)


def test_a_step_of_mirror_ascent_is_multiplicative_weights() -> None:
    plan = RPS.mirror_step(0, np.full(3, 1 / 3), [np.log(2), 0.0, np.log(3)], 1.0)
    np.testing.assert_allclose(plan, [2 / 6, 1 / 6, 3 / 6])


@pytest.mark.parametrize("diversity", ["members", "hull"])
def test_mirror_ascent_with_a_bonus_leaves_the_hull(diversity: str) -> None:
    config = adjusted(
        PSRO_PRESETS["psd-psro"],
        oracle="mirror",
        diversity=diversity,  # type: ignore[arg-type]
        diversity_chance=1.0,
        diversity_weight=5.0,
        mirror_rate=0.3,
    )
    space = PlanSpace(KUHN, config)
    seen = situation(KUHN, 0, KUHN.uniform_plan(0))
    mass = KUHN.terminal_weights(0, KUHN.mix(seen.opponents, seen.weights))
    moved = space.respond(seen, np.random.default_rng(0)).row
    before = hull_distance(seen.row, seen.own, mass).distance
    assert hull_distance(moved, seen.own, mass).distance > before + 0.3


def test_points_of_the_mixture_model_see_the_payoffs_of_the_game() -> None:
    config = mixture_settings("dpp-psro")
    space = PointSpace(config)
    points, opponents = np.random.default_rng(0).normal(size=(2, 5, 2))
    np.testing.assert_allclose(
        space._plans(points) @ space._worth(opponents).T, space.payoffs(points, opponents)
    )


def situation_of(space: PointSpace, own: np.ndarray) -> Situation:
    weights = np.full(len(own), 1.0 / len(own))
    return Situation(0, own[0], own, weights, own, weights, space.payoffs(own, own), 40)


@pytest.mark.parametrize("size", [1, 4])
def test_cardinality_of_points_is_of_the_whole_table_with_rows_of_length_one(size: int) -> None:
    space = PointSpace(mixture_settings("dpp-psro"))
    own = 2.0 * np.random.default_rng(size).normal(size=(size, 2))
    point = np.array([0.3, -1.7])
    every = [*own, point]
    table = []
    for mine in every:
        row = [float(space.model.payoffs(mine[None], its[None])[0, 0]) for its in every]
        length = sum(value * value for value in row) ** 0.5
        table.append([value / length for value in row])
    gram = [
        [sum(a * b for a, b in zip(one, other, strict=True)) for other in table] for one in table
    ]
    wanted = sum(1.0 - 1.0 / (1.0 + value) for value in np.linalg.eigvalsh(gram))
    bonus = space._bonus(situation_of(space, own), 0.4)
    assert bonus(point[None])[0] == pytest.approx(0.4 * wanted, rel=1e-9)


def test_weights_of_bonuses_of_points_are_those_of_official_code() -> None:
    # The point stands on the second bell, the only policy on the first.
    own, point = CENTRES[:1], CENTRES[1]
    gaps = [
        [sum((a - b) ** 2 for a, b in zip(p, c, strict=True)) for c in CENTRES]
        for p in (own[0], point)
    ]
    bells = [[np.exp(-0.5 * 0.54 * gap) for gap in row] for row in gaps]
    old, new = ([value / sum(row) for value in row] for row in bells)
    space = PointSpace(mixture_settings("bd-rd-psro"))
    (found,) = space._bonus(situation_of(space, own), 0.5)(point[None])
    mean = [(a + b) / 2 for a, b in zip(old, new, strict=True)]
    entropy = [-sum(p * np.log(p) for p in row) for row in (mean, old, new)]
    (won,) = space.payoffs(point[None], own)[0]
    # One policy with payoff 0 against itself: all of the payoff lies outside the gamescape.
    wanted = (1 - 0.5 / 2) * (150.0 * (2 * entropy[0] - entropy[1] - entropy[2]) + won**2)
    assert found == pytest.approx(wanted, rel=1e-9)

    space = PointSpace(mixture_settings("psd-psro"))
    (found,) = space._bonus(situation_of(space, own), 0.5)(point[None])
    raised = [[value + 1e-3 for value in row] for row in bells]
    old, new = ([value / sum(row) for value in row] for row in raised)
    distance = sum(p * np.log(p / q) for p, q in zip(new, old, strict=True))
    assert found == pytest.approx(0.5 * 0.3 * distance, rel=1e-9)


def test_the_share_of_a_bonus_of_points_rises_over_the_iterations() -> None:
    # w_t = 1 - 0.7 / (1 + exp(-(t - 25) / 4)): half of 0.7 at t = 25, nearly all of it at the end.
    found = [bonus_share(t) for t in (0, 25, 29, 50)]
    odds = [np.exp(-25 / 4), 1.0, np.e, np.exp(25 / 4)]
    assert found == pytest.approx([0.7 * odd / (1.0 + odd) for odd in odds], rel=1e-9)
    assert found[0] < 0.002 and found[-1] > 0.69

    # and that share is used: early on a diverse response is nearly the plain one
    def moved(name: str, iteration: int) -> np.ndarray:
        space = PointSpace(mixture_settings(name))
        own = 0.1 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
        seen = situation_of(space, own)._replace(row=np.array([1.5, 1.0]), iteration=iteration)
        return space.respond(seen, np.random.default_rng(0)).row

    early, late = (np.abs(moved("psd-psro", t) - moved("psro", t)).max() for t in (0, 50))
    assert early < 0.1 * late


@pytest.mark.parametrize("name", ["psro", "psd-psro", "dpp-psro", "bd-rd-psro"])
def test_a_point_ascends_the_gradient_of_payoff_and_bonus(name: str) -> None:
    config = mixture_settings(name)
    space = PointSpace(config)
    rng = np.random.default_rng(1)
    own = rng.normal(size=(3, 2))
    weights = np.array([0.5, 0.3, 0.2])
    seen = Situation(
        0, np.array([1.5, 1.0]), own, weights, own, weights, space.payoffs(own, own), 40
    )
    share = 0.7 / (1.0 + np.exp(-15 / 4))
    bonus = space._bonus(seen, share)

    def objective(point: np.ndarray) -> float:
        payoff = float(space.payoffs(point[None], own)[0] @ weights)
        return (1.0 - share) * payoff + float(bonus(point[None])[0])

    response = space.respond(seen, rng)
    assert objective(response.row) > objective(seen.row)
    # Each of five Adam steps of 0.1 moves a coordinate by at most a little more than 0.1.
    assert np.abs(response.row - seen.row).max() < 0.6


def test_settings_of_the_mixture_model_are_those_of_known_presets() -> None:
    assert mixture_settings("psd-psro").learners == 4
    assert mixture_settings("psro-rn-paper").learners == 1
    with pytest.raises(UnknownName, match="psd-psro"):
        mixture_settings("psd-pro")
    with pytest.raises(ConfigError, match="choose psd-psro"):
        mixture_settings("psd-psro-hull")
