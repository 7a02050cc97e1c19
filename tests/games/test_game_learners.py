"""Double oracle and CFR: convergence, the published trend, and equality with OpenSpiel's CFR."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyspiel
import pytest
from open_spiel.python.algorithms import cfr

from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.oracles.exact import Exact
from pkubench.agents.families.psro.oracles.learned import DQNOracle
from pkubench.agents.families.psro.oracles.mirror import Mirror
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.envs.games import GameTree, make_matrix_game
from pkubench.envs.games.trees import registered_tree
from pkubench.errors import ConfigError
from tests.games.configs import psro

KUHN = GameTree.from_openspiel("kuhn_poker")
LEDUC = GameTree.from_openspiel("leduc_poker")


@pytest.mark.parametrize("ties", ["lowest", "random"])
def test_double_oracle_solves_kuhn_poker_in_a_few_iterations_from_any_start(ties: str) -> None:
    taken = []
    for seed in range(10):
        learner = PopulationLearner(KUHN, psro(ties=ties), seed)  # type: ignore[arg-type]
        while not learner.finished:
            learner.advance()
        figures = learner.measure(last=True)
        assert figures["nash_conv"] == pytest.approx(0.0, abs=1e-12)
        assert figures["population_exploitability"] == pytest.approx(0.0, abs=1e-12)
        assert figures["restricted_value"] == pytest.approx(-1 / 18, abs=1e-12)
        taken.append(learner.iteration)
    # The reference run (psd-psro, section 6) ends at iteration 8.
    assert max(taken) <= 9 and min(taken) >= 3


def test_double_oracle_follows_the_reference_curve_on_leduc_poker() -> None:
    # psd-psro, section 6, one seed: NashConv 4.833, 1.163 and PE 3.310, .498 at iterations 10 and
    # 50; starts and ties shift single runs by about a third, so two are averaged.
    at = {10: [], 50: []}  # type: dict[int, list[dict[str, float]]]
    for seed in range(2):
        learner = PopulationLearner(LEDUC, psro(ties="lowest", pe_every=10), seed)
        last = np.inf
        for _ in range(50):
            learner.advance()
            figures = learner.measure(last=False)
            if learner.iteration in at:
                at[learner.iteration].append(figures)
            if "population_exploitability" in figures:
                pe = figures["population_exploitability"]
                # Growing populations cannot lose more; mixtures of them cannot lose less.
                assert pe <= last + 1e-9
                assert pe <= figures["nash_conv"] + 1e-9
                last = pe
    means = {
        (k, name): np.mean([f[name] for f in runs])
        for k, runs in at.items()
        for name in ("nash_conv", "population_exploitability")
    }
    assert means[10, "nash_conv"] == pytest.approx(4.833, rel=0.4)
    assert means[50, "nash_conv"] == pytest.approx(1.163, rel=0.4)
    assert means[10, "population_exploitability"] == pytest.approx(3.310, rel=0.4)
    assert means[50, "population_exploitability"] == pytest.approx(0.498, rel=0.4)


def test_double_oracle_follows_the_reference_curve_on_liars_dice() -> None:
    # psd-psro, section 6, one seed: NashConv .233 and PE .102 at iteration 100.
    figures = []
    for seed in range(2):
        config = psro(ties="lowest", pe_every=100)
        learner = PopulationLearner(registered_tree("LiarsDice4-v0"), config, seed)
        for _ in range(100):
            learner.advance()
        figures.append(learner.measure(last=True))
    assert np.mean([f["nash_conv"] for f in figures]) == pytest.approx(0.233, rel=0.5)
    assert np.mean([f["population_exploitability"] for f in figures]) == pytest.approx(
        0.102, rel=0.5
    )


def test_double_oracle_solves_goofspiel_outright() -> None:
    # The reference run (psd-psro, section 6) is at 0 at iteration 228; random ties get there
    # sooner (120 iterations with seed 0).
    learner = PopulationLearner(registered_tree("Goofspiel5-v0"), psro(pe_every=1000), 0)
    while not learner.finished:
        learner.advance()
    figures = learner.measure(last=True)
    assert 50 < learner.iteration < 228
    assert figures["nash_conv"] == pytest.approx(0.0, abs=1e-9)
    assert figures["population_exploitability"] == pytest.approx(0.0, abs=1e-9)
    assert figures["restricted_value"] == pytest.approx(0.0, abs=1e-9)


def test_a_double_oracle_restored_from_its_state_resumes_to_the_same_populations() -> None:
    whole = PopulationLearner(LEDUC, PSROConfig(), 3)
    for _ in range(12):
        whole.advance()
    first = PopulationLearner(LEDUC, PSROConfig(), 3)
    for _ in range(5):
        first.advance()
    second = PopulationLearner(LEDUC, PSROConfig(), 3)
    second.restore(first.state())
    for _ in range(7):
        second.advance()
    for one, other in zip(whole.plans(), second.plans(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.measure(True)["nash_conv"] == pytest.approx(second.measure(True)["nash_conv"])


@pytest.mark.parametrize("variant", ["cfr+", "cfr"])
@pytest.mark.parametrize("tree", [KUHN, LEDUC], ids=["kuhn", "leduc"])
def test_regret_minimisation_equals_openspiels_iteration_by_iteration(
    tree: GameTree, variant: Literal["cfr+", "cfr"]
) -> None:
    game = pyspiel.load_game(tree.name)
    name = "CFRPlusSolver" if variant == "cfr+" else "CFRSolver"
    theirs = getattr(cfr if tree is KUHN else pyspiel, name)(game)
    ours = CFRPlus(tree, CFRPlusConfig(variant=variant))
    for _ in range(6):
        theirs.evaluate_and_update_policy()
        ours.advance()
        if tree is KUHN:
            average = theirs.average_policy()
            table = {
                text: dict(enumerate(average.action_probability_array[row]))
                for text, row in average.state_lookup.items()
            }
        else:
            table = {
                state.text: dict(theirs.average_policy().get_state_policy(state.text))
                for player in (0, 1)
                for state in tree.information_states(player)
            }
        for player, (plan,) in enumerate(ours.plans()):
            np.testing.assert_allclose(tree.realization_plan(table, player), plan, atol=1e-12)


def test_cfr_plus_nearly_solves_leduc_poker_in_a_thousand_iterations() -> None:
    learner = CFRPlus(LEDUC, CFRPlusConfig())
    for _ in range(1000):
        learner.advance()
    figures = learner.measure(last=True)
    assert figures["exploitability"] < 5e-4
    assert figures["value"] == pytest.approx(-0.08560642, abs=2e-4)


def test_cfr_plus_restored_from_its_state_resumes_bit_for_bit() -> None:
    whole, first, second = (CFRPlus(LEDUC, CFRPlusConfig(delay=2)) for _ in range(3))
    for _ in range(10):
        whole.advance()
    for _ in range(4):
        first.advance()
    second.restore(first.state())
    for _ in range(6):
        second.advance()
    for one, other in zip(whole.plans(), second.plans(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_cfr_plus_stops_at_its_tolerance() -> None:
    learner = CFRPlus(KUHN, CFRPlusConfig(tolerance=1e-3))
    while not learner.finished:
        learner.advance()
        assert learner.iteration < 1000
    assert learner.measure(True)["nash_conv"] <= 1e-3 * KUHN.max_utility


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (PSROConfig, {"iterations": 0}),
        (CFRPlusConfig, {"iterations": 0}),
        (PSROConfig, {"tolerance": 1.0}),
        (PSROConfig, {"pe_every": 0}),
        (Exact, {"ties": "highest"}),
        (Exact, {"step": 1.5}),
        (Mirror, {"mirror_steps": 0}),
        (Mirror, {"step": 0.0}),
        (DQNOracle, {"exploration": 2.0}),
        (CFRPlusConfig, {"variant": "mccfr"}),
        (CFRPlusConfig, {"delay": -1}),
        (CFRPlusConfig, {"tolerance": -0.1}),
        (CFRPlusConfig, {"report_every": 0}),
    ],
)
def test_settings_out_of_their_domain_are_refused(
    config: type, settings: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        config(**settings)


def test_population_exploitability_is_scored_where_it_costs_little_and_at_the_last() -> None:
    scored = {}
    for name, game, every in (
        ("tree", KUHN, 1),
        ("tree, seldom", KUHN, 50),
        ("matrix", make_matrix_game("matrix:cyclic(5)"), 1),
    ):
        learner = PopulationLearner(game, psro(pe_every=every, tolerance=0.0), 0)
        learner._gains = np.ones(2)  # not solved, so that it is never the last
        scored[name] = []
        for iteration in range(1, 156):
            learner.iteration = iteration
            if "population_exploitability" in learner.measure(last=iteration == 155):
                scored[name].append(iteration)
    dense, thinning = [*range(1, 20)], [20, 22, 24, 26, 28, 30, 33, 36, 39, 40, 44, 48, 50, 55]
    sparse = [60, 66, 70, 77, 80, 88, 90, 99, *range(100, 156, 10), 155]
    assert scored["tree"] == [*dense, *thinning, *sparse]
    assert scored["tree, seldom"] == [50, 100, 150, 155]
    assert scored["matrix"] == [*range(1, 156)]
