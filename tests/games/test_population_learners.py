"""The outer loop: iterations worked by hand, a plain double oracle, resuming, and known orders."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from pkubench.agents.families.psro.distances import divergences, hull_distance
from pkubench.agents.families.psro.fictitious_play import FictitiousPlay, XFPConfig
from pkubench.agents.families.psro.meta_solvers import fictitious_play
from pkubench.agents.families.psro.mixture_points import PointSpace, mixture_settings
from pkubench.agents.families.psro.oracles.learned import LearnedOracle
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.agents.families.psro.settings import PSRO_PRESETS, PSROConfig
from pkubench.agents.families.psro.spaces import PlanSpace, Situation
from pkubench.envs.games import ZeroSumGame, make_matrix_game
from pkubench.envs.games.linear_programs import matrix_game
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.envs.games.trees import game_tree, registered_game
from pkubench.errors import ConfigError, UnknownName
from tests.games.configs import adjusted, psro

RPS = make_matrix_game("matrix:rock_paper_scissors")
SKILL = make_matrix_game("matrix:game_of_skill(25)")
GAUSSIAN = make_matrix_game("matrix:gaussian(12,9)")
KUHN, LEDUC = game_tree("kuhn_poker"), game_tree("leduc_poker")
ROCK, PAPER, SCISSORS = np.eye(3)

EXACT = sorted(n for n, c in PSRO_PRESETS.items() if not isinstance(c.oracle, LearnedOracle))


def started(game: ZeroSumGame, config: PSROConfig, rows: list[np.ndarray]) -> PopulationLearner:
    """A learner of one population of given policies; the last one has had no response yet."""
    learner = PopulationLearner(game, config, 0)
    seen = np.stack(rows[:-1])
    learner.restore(
        {
            **learner.state(),
            "table": game.payoffs(seen, seen),
            "plans_0": np.stack(rows),
            "performance_0": np.full(len(rows), 0.1),
            "flags_0": np.array([1, 0]),
        }
    )
    return learner


@pytest.mark.parametrize("unit", [1.0, 2.0**-60, 2.0**60])
def test_double_oracle_on_rock_paper_scissors_goes_as_on_paper(unit: float) -> None:
    # Rock is answered by paper; the equilibrium of the two is paper, answered by scissors; the
    # three hold the equilibrium. The best mixture of rock and paper, 1/3 to 2/3, loses 1/3.
    game = SymmetricMatrixGame(unit * RPS.payoff)
    learner = started(game, PSROConfig(), [ROCK, SCISSORS])
    seen = []
    for _ in range(3):
        figures = learner.measure(last=True)
        seen.append((figures["nash_conv"], figures["population_exploitability"]))
        if not learner.finished:
            learner.advance()
    wanted = unit * np.array([(2.0, 2.0), (2.0, 2.0 / 3.0), (0.0, 0.0)])
    np.testing.assert_allclose(seen, wanted, atol=1e-9 * unit)
    assert learner.finished and learner.iteration == 2
    np.testing.assert_array_equal(learner.plans()[0], [ROCK, PAPER, SCISSORS])
    np.testing.assert_allclose(learner.meta_strategy()[0], np.full(3, 1.0 / 3.0))
    # Two responses; a table of 1, then 2 and 3 new entries.
    assert (learner.responses, learner.entries) == (2, 1 + 2 + 3)


def test_a_half_step_moves_half_way_and_a_plateau_of_three_percent_ends_it() -> None:
    # Against rock the policy wins 1/2, 3/4, 7/8, 15/16, 31/32: counted from -1 that is 1.5, 1.75,
    # 1.875, 1.9375, 1.96875, growing by 16.7, 7.1, 3.3 and 1.6 %: the fifth ends it.
    learner = started(RPS, PSRO_PRESETS["psro-paper"], [ROCK, np.full(3, 1.0 / 3.0)])
    for turn in range(1, 6):
        learner.advance()
        rows = learner.plans()[0]
        share = 0.5**turn
        np.testing.assert_allclose(rows[1], share / 3.0 + (1.0 - share) * PAPER)
        assert len(rows) == 2
        assert len(learner.state()["plans_0"]) == 2 + (turn == 5)
    learner.advance()
    assert len(learner.plans()[0]) == 3


@pytest.mark.parametrize(("loss", "is_finished"), [(0.88, True), (0.8, False)])
def test_a_first_response_that_loses_nearly_everything_ends_the_policy(
    loss: float, is_finished: bool
) -> None:
    # A payoff counts from -1, and a new policy's first one is compared with 0.1 x 1.03: the row
    # player ends with about 0.07 after the first response, or continues with 0.12.
    game = MatrixGame([[-loss, -1.0], [-1.0, -loss]])
    learner = PopulationLearner(game, PSRO_PRESETS["psro-paper"], 0)
    learner.advance()
    assert len(learner.state()["plans_0"]) == 2 + is_finished
    assert len(learner.state()["plans_1"]) == 2


@pytest.mark.parametrize("name", ["p-psro-paper", "psd-psro-paper", "bd-rd-psro-paper"])
def test_published_responses_move_half_way_and_those_by_distance_further(name: str) -> None:
    config = adjusted(PSRO_PRESETS[name], learners=1)
    if name != "p-psro-paper":
        config = adjusted(config, diversity_chance=1.0)
    learner = started(RPS, config, [ROCK, np.full(3, 1.0 / 3.0)])
    learner.advance()
    # The old policy's third of every action is scaled by 1 - step.
    left = learner.plans()[0][1].min()
    assert left == pytest.approx((0.4 if name == "psd-psro-paper" else 0.5) / 3.0)


def test_diversity_has_the_chance_and_the_weight_of_official_code() -> None:
    # A response is diverse where a standard normal number exceeds 0.85.
    chance = 0.5 * math.erfc(0.85 / math.sqrt(2.0))
    for name in ("dpp-psro-paper", "bd-rd-psro-paper", "psd-psro-paper"):
        assert PSRO_PRESETS[name].diversity.diversity_chance == pytest.approx(chance, abs=5e-5)
    assert PSRO_PRESETS["psd-psro-paper"].diversity.diversity_weight == 0.01  # type: ignore[attr-defined]


def test_a_step_on_a_tree_mixes_whole_policies() -> None:
    # A half step makes the mean of both policies' payoffs against everybody, which averaging
    # action probabilities state by state does not.
    learner = PopulationLearner(LEDUC, PSRO_PRESETS["psro-paper"], 0)
    before = [learner.state()[f"plans_{player}"][-1] for player in (0, 1)]
    opponents = learner.plans()
    learner.advance()
    after = [learner.state()[f"plans_{player}"][1] for player in (0, 1)]
    for player in (0, 1):
        best, plan = LEDUC.best_response(player, opponents[1 - player][0])
        worth = LEDUC.gains(player, opponents[1 - player][0])
        assert after[player] @ worth == pytest.approx((before[player] @ worth + best) / 2)
        np.testing.assert_allclose(after[player], (before[player] + plan) / 2)


def test_a_policy_that_lost_everything_continues_from_there() -> None:
    # Rock loses 1 against paper, so it stands at 0; half way to scissors it wins 0, at 1.
    learner = started(RPS, PSRO_PRESETS["psro-paper"], [PAPER, ROCK])
    learner.restore({**learner.state(), "performance_0": np.array([0.1, 0.0])})
    learner.advance()
    np.testing.assert_allclose(learner.state()["performance_0"], [0.1, 1.0])
    assert len(learner.state()["plans_0"]) == 2


def test_in_a_pipeline_the_upper_policy_responds_to_the_lower_one_too() -> None:
    # The lower policy answers rock with paper, and is finished; so the upper one is the lower one
    # now, and answers the equilibrium of rock and paper, which is paper, with scissors.
    learner = PopulationLearner(RPS, adjusted(PSRO_PRESETS["p-psro"], ties="lowest"), 0)
    start = np.stack([ROCK, np.full(3, 1.0 / 3.0), ROCK])
    learner.restore(
        {
            **learner.state(),
            "table": RPS.payoffs(start[:2], start[:2]),
            "plans_0": start,
            "performance_0": np.full(3, 0.1),
            "flags_0": np.array([1, 0]),
        }
    )
    learner.advance()
    np.testing.assert_array_equal(learner.plans()[0][1], PAPER)
    learner.advance()
    np.testing.assert_array_equal(learner.plans()[0][:3], [ROCK, PAPER, SCISSORS])


@pytest.mark.parametrize("unit", [1.0, 2.0**-60])
def test_rectified_policies_respond_to_those_they_do_not_lose_to(unit: float) -> None:
    game = SymmetricMatrixGame(unit * RPS.payoff)
    learner = PopulationLearner(game, PSRO_PRESETS["psro-rn"], 0)
    rows = np.stack([ROCK, PAPER, SCISSORS])
    learner.restore(
        {
            **learner.state(),
            "table": game.payoff.copy(),
            "plans_0": rows,
            "performance_0": np.full(3, 0.1),
        }
    )
    weights = [target.weights for target in learner._good_targets(0)]
    # Rock answers itself and scissors, and so on round the circle.
    np.testing.assert_allclose(weights, [[0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]])


def test_self_play_cycles_and_learns_nothing() -> None:
    learner = started(RPS, PSRO_PRESETS["self-play"], [ROCK, ROCK])
    learner.advance()
    learner.advance()
    np.testing.assert_array_equal(learner.plans()[0], [ROCK, PAPER, SCISSORS])
    # Scissors are answered by rock, which it has: nothing more is learned.
    learner.advance()
    np.testing.assert_array_equal(learner.plans()[0], [ROCK, PAPER, SCISSORS])


def plain_double_oracle(
    game: ZeroSumGame, x: np.ndarray, y: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Double oracle from its definition, everything recomputed at each iteration."""
    xs, ys = [x], [y]
    for _ in range(iterations):
        payoff = np.array([[game.expected_value(a, b) for b in ys] for a in xs])
        mixed = matrix_game(payoff)
        mixed_x, mixed_y = game.mix(xs, mixed.x), game.mix(ys, mixed.y)
        value = game.expected_value(mixed_x, mixed_y)
        best_x, best_y = game.best_response(0, mixed_y), game.best_response(1, mixed_x)
        xs += [best_x[1]] if best_x[0] > value + 1e-9 else []
        ys += [best_y[1]] if best_y[0] > 1e-9 - value else []
    return np.stack(xs), np.stack(ys)


@pytest.mark.parametrize("game", [KUHN, GAUSSIAN], ids=["kuhn", "gaussian"])
@pytest.mark.parametrize("seed", range(3))
def test_psro_with_exact_responses_is_double_oracle(game: ZeroSumGame, seed: int) -> None:
    learner = PopulationLearner(game, psro(ties="lowest"), seed)
    start = [plans[0] for plans in learner.plans()]
    for _ in range(5):
        learner.advance()
    for mine, plain in zip(learner.plans(), plain_double_oracle(game, *start, 5), strict=True):
        np.testing.assert_array_equal(mine, plain)


@pytest.mark.parametrize("seed", range(3))
def test_rectified_learners_train_with_any_meta_solver(seed: int) -> None:
    # With uniform weights some policies win less than the value against everybody.
    game = make_matrix_game(f"matrix:gaussian(60,60,{seed})")
    config = adjusted(PSRO_PRESETS["psro-rn"], meta_solver="uniform")
    learner = PopulationLearner(game, config, 0)
    for _ in range(25):
        learner.advance()
    assert np.isfinite(learner.measure(True)["nash_conv"])


def test_a_rectified_policy_that_loses_to_all_responds_to_the_whole_mixture() -> None:
    config = adjusted(PSRO_PRESETS["psro-rn"], meta_solver="uniform")
    learner = PopulationLearner(GAUSSIAN, config, 0)
    state = learner.state()
    # The second row loses to both columns, by the value 3/2 of uniform play.
    table = np.array([[3.0, 3.0], [0.0, 0.0]])
    rows = {p: np.eye(GAUSSIAN.shape[p])[:2].astype(np.int8) for p in (0, 1)}
    plans = {f"plans_{p}": rows[p] for p in (0, 1)}
    flags = {f"flags_{p}": np.array([0, 0]) for p in (0, 1)}
    both = {f"performance_{p}": np.full(2, 0.1) for p in (0, 1)}
    learner.restore({**state, "table": table, **plans, **flags, **both})
    first, second = learner._good_targets(0)
    np.testing.assert_array_equal(first.weights, [0.5, 0.5])
    np.testing.assert_array_equal(second.weights, [0.5, 0.5])


def test_a_rectified_learner_with_many_light_policies_continues_from_the_heaviest() -> None:
    config = adjusted(PSRO_PRESETS["psro-rn"], meta_solver="uniform")
    learner = PopulationLearner(SKILL, config, 0)
    rows = np.tile(np.eye(25), (5, 1))[:120]
    table = SKILL.payoffs(rows, rows)
    learner.restore(
        {
            **learner.state(),
            "table": table,
            "plans_0": rows,
            "performance_0": np.full(120, 0.1),
            "flags_0": np.array([0, 0]),
        }
    )
    # All have 1/120, less than 0.01, so the first is as heavy as any.
    (target,) = learner._good_targets(0)
    np.testing.assert_allclose(target.weights, (table[0] >= -1e-12) / (table[0] >= -1e-12).sum())
    learner.advance()
    # Of 50 each has 0.02, so that each responds.
    fewer = {"table": table[:50, :50], "plans_0": rows[:50], "performance_0": np.full(50, 0.1)}
    learner.restore({**learner.state(), **fewer, "flags_0": np.array([0, 0])})
    assert len(learner._good_targets(0)) == 50


@pytest.mark.parametrize("game", [SKILL, KUHN], ids=["matrix", "tree"])
def test_populations_score_alike_whichever_meta_solver_trained(game: ZeroSumGame) -> None:
    one = PopulationLearner(game, adjusted(PSRO_PRESETS["psro"], ties="lowest"), 0)
    for _ in range(4):
        one.advance()
    for solver in ("nash", "uniform", "projected-replicator"):
        other = PopulationLearner(game, adjusted(one.config, meta_solver=solver), 0)
        other.restore(one.state())  # exact solvers differ in the last bits
        for mine, theirs in zip(other.meta_strategy(), one.meta_strategy(), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_responses_are_to_the_meta_solver_of_the_training_and_not_of_the_score() -> None:
    rows = np.vstack([np.eye(25)[[3, 7, 11]], np.eye(25)[19]])
    config = adjusted(PSRO_PRESETS["psro"], ties="lowest", meta_solver="uniform")
    learner = started(SKILL, config, list(rows))
    wanted = int((SKILL.payoff @ rows[:3].mean(axis=0)).argmax())
    assert wanted != int((SKILL.payoff @ rows[:3].T @ learner.meta_strategy()[0]).argmax())
    learner.advance()
    assert learner.plans()[0][-1].argmax() == wanted


def test_official_fictitious_play_has_the_bias_of_the_released_code() -> None:
    # The released code's PSRO on Blotto(10,3), 100 iterations, its populations scored exactly:
    # NashConv 0.124 and PE 0.013; with fictitious play from uniform play 0.064 and 0.007.
    blotto = make_matrix_game("matrix:blotto(10,3)")
    scores = {}
    for solver in ("fictitious-play-official", "fictitious-play"):
        found = []
        for seed in range(3):
            config = adjusted(PSRO_PRESETS["psro-paper"], meta_solver=solver)
            learner = PopulationLearner(blotto, config, seed)
            for _ in range(100):
                learner.advance()
            figures = learner.measure(True)
            found.append((figures["nash_conv"], figures["population_exploitability"] / 2))
        scores[solver] = np.mean(found, axis=0)
    np.testing.assert_allclose(scores["fictitious-play-official"], [0.124, 0.013], rtol=0.15)
    assert (scores["fictitious-play"] < 0.8 * scores["fictitious-play-official"]).all()


def test_official_fictitious_play_draws_its_start_at_every_iteration_and_resumes() -> None:
    config = adjusted(PSRO_PRESETS["p-psro-paper"], meta_solver="fictitious-play-official")
    whole, first, second = (PopulationLearner(SKILL, config, 3) for _ in range(3))
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    second.restore(first.state())
    for _ in range(3):
        second.advance()
    np.testing.assert_array_equal(whole.plans()[0], second.plans()[0])
    metas = [whole._solve(config.meta_solver, 3, 3, np.random.default_rng(k)).x for k in (0, 1)]
    assert np.abs(metas[0] - metas[1]).max() > 1e-6


@pytest.mark.parametrize("name", ["psro", "psro-rn"])
@pytest.mark.parametrize("game", [KUHN, SKILL, GAUSSIAN], ids=["kuhn", "skill", "gaussian"])
def test_what_only_adds_policies_never_raises_population_exploitability(
    name: str, game: ZeroSumGame
) -> None:
    learner = PopulationLearner(game, PRESETS[name], 1)  # type: ignore[arg-type]
    last, fallen = np.inf, 0
    for _ in range(12):
        if learner.finished:
            break
        learner.advance()
        pe = learner.measure(True)["population_exploitability"]
        assert pe <= last + 1e-9
        fallen += pe < last - 1e-9
        last = pe
    assert fallen >= 1


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("game", [KUHN, SKILL, GAUSSIAN], ids=["kuhn", "skill", "gaussian"])
def test_figures_are_those_of_the_plans_and_the_mixture_of_whole_policies(
    name: str, game: ZeroSumGame
) -> None:
    learner = PopulationLearner(game, PSRO_PRESETS[name], 0)
    for _ in range(6):
        learner.advance()
    figures = learner.measure(last=True)
    rows = learner.plans()
    mixed = [game.mix(p, w) for p, w in zip(rows, learner.meta_strategy(), strict=True)]
    assert figures["nash_conv"] == pytest.approx(game.nash_conv(*mixed), abs=1e-9)
    assert figures["exploitability"] == figures["nash_conv"] / 2
    pe = game.population_exploitability(*rows)
    assert figures["population_exploitability"] == pytest.approx(pe, abs=1e-8)
    assert pe <= figures["nash_conv"] + 1e-9
    value = float(mixed[0] @ game.gains(0, mixed[1]))
    assert figures["restricted_value"] == pytest.approx(value, abs=1e-9)
    # The table it lives on, which is filled in piece by piece, is the payoff table.
    np.testing.assert_allclose(learner.state()["table"], game.payoffs(*rows), atol=1e-12)
    assert figures["episodes"] == 20_000 * learner.responses + 1_000 * learner.entries


def test_population_exploitability_is_not_the_meta_strategys_score() -> None:
    # The equilibrium among a few policies is not the best that they can play.
    blotto = make_matrix_game("matrix:blotto(6,3)")
    learner = PopulationLearner(blotto, PSRO_PRESETS["p-psro-paper"], 0)
    for _ in range(25):
        learner.advance()
    figures = learner.measure(True)
    assert figures["population_exploitability"] < 0.95 * figures["nash_conv"]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("game", [KUHN, SKILL], ids=["kuhn", "skill"])
def test_a_learner_restored_from_its_state_resumes_bit_for_bit(
    name: str, game: ZeroSumGame
) -> None:
    whole, first, second = (PopulationLearner(game, PSRO_PRESETS[name], 3) for _ in range(3))
    for _ in range(9):
        whole.advance()
    for _ in range(4):
        first.advance()
    second.restore(first.state())
    for _ in range(5):
        second.advance()
    assert whole.state().keys() == second.state().keys()
    for key, array in whole.state().items():
        np.testing.assert_array_equal(array, second.state()[key], err_msg=key)
    other = PopulationLearner(game, PSRO_PRESETS[name], 4)
    for _ in range(9):
        other.advance()
    assert any(
        a.shape != b.shape or (a != b).any()
        for a, b in zip(whole.plans(), other.plans(), strict=True)
    )


def test_a_learner_on_the_mixture_model_restored_from_its_state_resumes_bit_for_bit() -> None:
    config = mixture_settings("psd-psro")
    whole, first, second = (PopulationLearner(PointSpace(config), config, 3) for _ in range(3))
    for _ in range(8):
        whole.advance()
    for _ in range(3):
        first.advance()
    second.restore(first.state())
    for _ in range(5):
        second.advance()
    np.testing.assert_array_equal(whole.plans()[0], second.plans()[0])
    figures = whole.measure(True)
    points, weights = whole.plans()[0], whole.meta_strategy()[0]
    model = whole.space.model  # type: ignore[attr-defined]
    assert figures["exploitability"] == model.exploitability(points, weights)
    assert figures["population_exploitability"] == pytest.approx(
        2.0 * model.population_exploitability(points), abs=1e-8
    )
    assert 0.0 < figures["population_exploitability"] <= figures["nash_conv"]


@pytest.mark.parametrize("diversity", ["none", "members", "hull", "dpp", "bd-rd"])
def test_every_method_solves_kuhn_poker_with_exact_responses(diversity: str) -> None:
    config = adjusted(psro(), learners=2, diversity=diversity, diversity_chance=0.3)  # type: ignore[arg-type]
    learner = PopulationLearner(KUHN, config, 0)
    for _ in range(60):
        if learner.finished:
            break
        learner.advance()
    figures = learner.measure(True)
    assert learner.finished
    assert figures["nash_conv"] == pytest.approx(0.0, abs=1e-9)
    assert figures["restricted_value"] == pytest.approx(-1 / 18, abs=1e-9)


@pytest.mark.parametrize("diversity", ["none", "hull"])
def test_soft_responses_by_mirror_ascent_bring_exploitability_down(diversity: str) -> None:
    config = adjusted(
        psro(),
        oracle="mirror",
        diversity=diversity,  # type: ignore[arg-type]
        diversity_chance=0.3,
        mirror_steps=60,
        mirror_rate=2.0,
    )
    learner = PopulationLearner(KUHN, config, 0)
    first = learner.measure(True)["nash_conv"]
    for _ in range(25):
        learner.advance()
    rows = learner.plans()[0]
    assert ((rows > 1e-6) & (rows < 1.0 - 1e-6)).any()
    assert learner.measure(True)["nash_conv"] < 0.1 * first


@pytest.mark.slow
def test_double_oracle_with_lowest_index_ties_solves_goofspiel_five_only_late() -> None:
    # Random ties take about 132 iterations. Here the policies of the first hundreds play the lowest
    # card wherever the opponent does not lead yet; but each iteration adds some, to the end.
    game = registered_game("Goofspiel5-v0")
    learner = PopulationLearner(game, adjusted(PSRO_PRESETS["psro"], ties="lowest"), 3)
    while not learner.finished and learner.iteration < 330:
        sizes = [len(rows) for rows in learner.plans()]
        learner.advance()
        assert max(np.subtract([len(rows) for rows in learner.plans()], sizes)) == 1
    assert learner.finished and learner.iteration > 200
    assert learner.measure(True)["restricted_value"] == pytest.approx(0.0, abs=1e-9)


def test_at_equal_steps_the_distance_brings_actions_that_payoff_alone_never_plays() -> None:
    # The same seeds and the same draws, all steps 0.5: with weight 0 the runs would be equal. What
    # the distance does for population exploitability is measured in the ablation of the results.
    played = {"weight": 0, "no weight": 0}
    for seed in (0, 3, 4):
        game = make_matrix_game(f"matrix:game_of_skill(100,{seed})")
        config = adjusted(PSRO_PRESETS["psd-psro-paper"], diversity_step=0.5, diversity_chance=1.0)
        without = adjusted(config, diversity_weight=0.0)
        for name, settings in (("weight", config), ("no weight", without)):
            learner = PopulationLearner(game, settings, seed)
            for _ in range(60):
                learner.advance()
            # More than a fifth is no rest of a random start.
            played[name] += int((learner.plans()[0].max(axis=0) > 0.2).sum())
    assert played["weight"] > 1.2 * played["no weight"]


@pytest.mark.parametrize("name", ["psd-psro", "psd-psro-hull"])
def test_a_preset_maximises_distance_from_members_or_from_their_hull(name: str) -> None:
    # Of the 64 pure policies of Kuhn poker's first seat, the one farthest from these members is not
    # the one farthest from their mixtures.
    rng = np.random.default_rng(6)
    members = np.stack([KUHN.random_plan(0, rng, pure=True) for _ in range(8)])
    opponent = KUHN.uniform_plan(1)
    config = adjusted(PSRO_PRESETS[name], diversity_chance=1.0, diversity_weight=100.0)
    space = PlanSpace(KUHN, config)
    situation = Situation(
        side=0,
        row=members[0],
        own=members,
        own_weights=np.full(8, 1.0 / 8.0),
        opponents=opponent[None],
        weights=np.ones(1),
        payoffs=np.zeros((8, 1)),
        iteration=0,
    )
    found = space.respond(situation, np.random.default_rng(0)).row
    pure = [
        KUHN.realization_plan({s.text: {a: 1.0} for s, a in zip(states, acts, strict=True)}, 0)
        for states in [KUHN.information_states(0)]
        for acts in product((0, 1), repeat=len(states))
    ]
    weights = KUHN.terminal_weights(0, opponent)
    smooth = KUHN.smooth(0, members, config.diversity.smoothing)
    worth = KUHN.gains(0, opponent) / KUHN.max_utility
    values = []
    for plan in pure:
        own = KUHN.smooth(0, plan[None], config.diversity.smoothing)[0]
        nearest = divergences(own, smooth, weights).min()
        beyond = hull_distance(own, smooth, weights).distance
        values.append([worth @ plan + 100.0 * nearest, worth @ plan + 100.0 * beyond])
    by_members, by_hull = np.array(values).T
    wanted, other = (by_members, by_hull) if name == "psd-psro" else (by_hull, by_members)
    place = next(k for k, plan in enumerate(pure) if np.array_equal(plan, found))
    assert wanted[place] == pytest.approx(wanted.max(), rel=1e-9)
    assert wanted[other.argmax()] < 0.96 * wanted.max()


def test_fictitious_play_in_a_matrix_game_is_browns() -> None:
    learner = FictitiousPlay(GAUSSIAN, XFPConfig(), 0)
    for _ in range(50):
        learner.advance()
    wanted = fictitious_play(GAUSSIAN.payoff, iterations=50)
    np.testing.assert_allclose(learner.plans()[0][0], wanted.x, atol=1e-12)
    np.testing.assert_allclose(learner.plans()[1][0], wanted.y, atol=1e-12)


def test_fictitious_play_on_a_tree_averages_whole_policies_as_openspiel_does() -> None:
    import pyspiel
    from open_spiel.python.algorithms import exploitability
    from open_spiel.python.algorithms import fictitious_play as theirs

    game = pyspiel.load_game("kuhn_poker")
    solver = theirs.XFPSolver(game)
    learner = FictitiousPlay(KUHN, XFPConfig(), 0)
    for _ in range(60):
        solver.iteration()
        learner.advance()
    # Ties are broken otherwise there, so only the course is the same.
    wanted = exploitability.nash_conv(game, solver.average_policy())
    assert learner.measure(True)["nash_conv"] == pytest.approx(wanted, rel=0.5)
    assert learner.measure(True)["nash_conv"] < 0.12


def test_fictitious_play_on_a_tree_is_worked_by_hand_with_plans() -> None:
    # On Kuhn poker the average of the first answers has seen several policies, which have passed
    # and bet with different chances: averages of plans and of action probabilities part.
    learner = FictitiousPlay(KUHN, XFPConfig(ties="lowest"), 0)
    played = [[KUHN.uniform_plan(player)] for player in (0, 1)]
    for turn in range(1, 4):
        learner.advance()
        means = [KUHN.mix(rows, np.full(turn, 1.0 / turn)) for rows in played]
        for player in (0, 1):
            played[player].append(KUHN.best_response(player, means[1 - player])[1])
        for player, average in enumerate(learner.average()):
            np.testing.assert_allclose(average, np.mean(played[player], axis=0), atol=1e-12)
    apart = [
        np.abs(_averaged_by_state(played[player], player) - learner.average()[player]).max()
        for player in (0, 1)
    ]
    assert max(apart) > 0.05


def _averaged_by_state(plans: list[np.ndarray], player: int) -> np.ndarray:
    """The plan of the means of action probabilities, which must not be learned."""
    tables = [KUHN.behaviour(plan, player) for plan in plans]
    mean = {
        text: {a: sum(t[text][a] for t in tables) / len(tables) for a in tables[0][text]}
        for text in tables[0]
    }
    return KUHN.realization_plan(mean, player)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"step": 0.0}, "step"),
        ({"diversity": "hull", "diversity_step": 1.5}, "diversity_step"),
        ({"diversity": "dpp", "diversity_chance": -0.1}, "diversity_chance"),
        ({"diversity": "psd"}, "members"),
        ({"targets": "newest"}, "latest"),
        ({"oracle": "dnq"}, "mirror"),
        ({"diversity": "members", "smoothing": 0.0}, "smoothing"),
        ({"learners": 0}, "learners"),
        ({"mirror_rate": 1.0}, "of oracle=mirror, and this is oracle=exact"),
        ({"updates": 1}, "oracle=dqn or oracle=softmax, and this is oracle=exact"),
        ({"diversity_weight": 1.0}, "of diversity=.* and this is diversity=none"),
        ({"diversity": "dpp", "payoff_inverse": "official"}, "diversity=bd-rd"),
        ({"oracle": "mirror", "mirror_rate": 0.0}, "mirror_rate"),
        ({"targets": "latest", "learners": 2}, "learners=2"),
    ],
)
def test_settings_of_populations_out_of_their_domain_are_refused(
    settings: dict[str, object], says: str
) -> None:
    with pytest.raises((ConfigError, UnknownName), match=says):
        psro(**settings)
    with pytest.raises(UnknownName, match="nash"):
        psro(meta_solver="nasch")
