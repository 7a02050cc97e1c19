"""Anytime PSRO, SP-PSRO, XDO and MMD: what their papers prove, and numbers worked out elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import changed
from pkubench.agents.families.psro import anytime
from pkubench.agents.families.psro.anytime import AnytimeConfig, AnytimePSRO
from pkubench.agents.families.psro.mmd import MMD, MMDConfig
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.training import learner
from pkubench.agents.families.psro.xdo import XDO, XDOConfig
from pkubench.envs.games import GameTree
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.errors import ConfigError

KUHN = GameTree.from_openspiel("kuhn_poker")
RPS = SymmetricMatrixGame([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
SKEWED = MatrixGame((np.array([[0, -3, 3], [3, 0, -1], [-3, 1, 0]]) + 3.0) / 6.0)


def with_ties(seed: int, size: int = 15) -> MatrixGame:
    """A game of small whole numbers, in which most best responses are tied."""
    return MatrixGame(np.random.default_rng(seed).integers(-2, 3, (size, size)).astype(float))


def curve(made: Any, most: int = 100) -> list[float]:
    found = [made.measure(last=True)["nash_conv"]]
    while not made.finished and made.iteration < most:
        made.advance()
        found.append(made.measure(last=True)["nash_conv"])
    return found


@pytest.mark.parametrize("seed", range(20))
def test_anytime_exploitability_never_rises_and_ends_at_zero(seed: int) -> None:
    game = with_ties(seed)
    made = AnytimePSRO(game, AnytimeConfig(), seed)
    found = curve(made)
    assert max(np.diff(found)) <= 1e-9 and found[-1] <= 1e-9
    # The mixtures are an equilibrium of the full game, found by another program.
    rows, columns = made.plans()
    x, y = made.meta_strategy()
    value = game.expected_value(game.mix(rows, x), game.mix(columns, y))
    assert value == pytest.approx(game.solve().value, abs=1e-9)
    # No member is there twice.
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_double_oracle_rises_where_anytime_does_not() -> None:
    rises = 0
    for seed in range(4):
        made = PopulationLearner(with_ties(seed), PSROConfig(), seed)
        rises += max(np.diff(curve(made))) > 1e-6
    assert rises >= 3


def test_anytime_on_rock_paper_scissors_does_not_stall_at_two_thirds() -> None:
    # With two of three members the guarantee is a third a side; a tied response that is there
    # already would stay there forever (C4, pitfall).
    found = curve(AnytimePSRO(RPS, AnytimeConfig(), 0), most=8)
    assert found[0] == pytest.approx(2.0) and found[-1] == pytest.approx(0.0, abs=1e-12)
    assert any(value == pytest.approx(2.0 / 3.0) for value in found)


def test_without_luck_the_response_comes_from_the_linear_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(anytime, "_TRIES", 0)
    for seed in range(6):
        assert curve(AnytimePSRO(with_ties(seed, 10), AnytimeConfig(), seed))[-1] <= 1e-9
    assert curve(AnytimePSRO(KUHN, AnytimeConfig(), 0))[-1] <= 2e-9


def test_of_all_tied_responses_only_those_of_the_program_are_drawn() -> None:
    game = MatrixGame(np.zeros((60, 3)))  # every action is a best response
    made = AnytimePSRO(game, AnytimeConfig(), 0)
    made._holding[0] = np.eye(60)[37]
    for seed in range(5):
        plan = made._of_the_program(0, np.zeros(60), np.random.default_rng(seed))
        assert plan is not None and plan[37] == 1.0
    made._rows[0] = np.eye(60)[36:39]
    assert made._of_the_program(0, np.zeros(60), np.random.default_rng(0)) is None


@pytest.mark.parametrize("game", [KUHN, with_ties(0, 8)], ids=["tree", "matrix"])
@pytest.mark.parametrize("player", [0, 1])
def test_the_programs_opponent_holds_every_member_to_the_value(game: Any, player: int) -> None:
    rng = np.random.default_rng(3)
    rows = np.stack([game.random_plan(player, rng, pure=True) for _ in range(4)])
    found = game.population_value(player, rows)
    game.check_plan(found.opponent, 1 - player)
    if player == 0:
        won = game.payoffs(rows, found.opponent[None])[:, 0]
    else:
        won = -game.payoffs(found.opponent[None], rows)[0]
    assert won.max() == pytest.approx(found.value, abs=1e-9)


@pytest.mark.parametrize("steps", [0, 5])
def test_populations_of_kuhn_poker_never_lose_more(steps: int) -> None:
    made = AnytimePSRO(KUHN, AnytimeConfig(self_play_steps=steps), 1)
    found = curve(made, most=30)
    assert max(np.diff(found)) <= 1e-9 and found[-1] <= 2e-9
    figures = made.measure(last=True)
    assert figures["value"] == pytest.approx(-1 / 18, abs=1e-9)
    # Every policy beyond the first of each side counts for 20,000 episodes.
    assert figures["episodes"] == (figures["policies"] - 2.0) * 20_000


def test_self_play_adds_mixed_averages() -> None:
    made = AnytimePSRO(KUHN, AnytimeConfig(self_play_steps=4), 0)
    made.advance()
    rows = made.plans()[0]
    assert len(rows) == 3 and not np.isin(rows[-1], (0.0, 1.0)).all()
    KUHN.check_plan(rows, 0)


# XDO


@pytest.mark.parametrize("seed", range(5))
def test_xdo_solves_kuhn_poker_in_a_few_expansions(seed: int) -> None:
    made = XDO(KUHN, XDOConfig(solver="linear-program"), seed)
    assert curve(made)[-1] <= 2e-9 and made.iteration <= 6
    assert made.measure(last=True)["value"] == pytest.approx(-1 / 18, abs=1e-9)


def test_xdo_allows_what_members_play_and_mixes_nothing_else() -> None:
    made = XDO(KUHN, XDOConfig(solver="linear-program"), 0)
    for allowed, plan in zip(made.allowed, made.average(), strict=True):
        assert not plan[~allowed].any()  # one policy each: it is what is played
        np.testing.assert_array_equal(plan, allowed)
    before = [allowed.copy() for allowed in made.allowed]
    made.advance()
    for old, new, plan in zip(before, made.allowed, made.average(), strict=True):
        assert (new >= old).all() and not plan[~new].any()
    assert sum(map(np.sum, made.allowed)) > sum(map(np.sum, before))


def test_cfr_solves_the_same_restricted_game_as_the_linear_program() -> None:
    config = XDOConfig(epsilon=1e-4, check_every=50, most_regret_steps=3000)
    made, exact = XDO(KUHN, config, 3), XDO(KUHN, XDOConfig(solver="linear-program"), 3)
    for _ in range(2):
        made.advance()
    exact.allowed = [allowed.copy() for allowed in made.allowed]
    exact._solve()
    first, second = made.average(), exact.average()
    value = KUHN.expected_value(*second)
    assert KUHN.expected_value(*first) == pytest.approx(value, abs=3e-4)
    for plan, allowed in zip(first, made.allowed, strict=True):
        assert not plan[~allowed].any()
    # Neither gains more than epsilon in the restricted game.
    assert made._restricted_exploitability(first) < 1e-4
    assert made._restricted_exploitability(second) == pytest.approx(0.0, abs=1e-9)


def test_the_bar_of_xdo_is_halved_until_the_full_game_is_above_it() -> None:
    made = XDO(KUHN, XDOConfig(), 0)
    assert made.epsilon == 0.25  # halved from 16 while the first NashConv, of 0.5 a side, is below
    curve(made, most=6)
    assert made.epsilon <= made.measure(last=True)["exploitability"] <= 0.01


def test_xdo_solves_leduc_poker_in_fewer_expansions_than_psro_takes_iterations() -> None:
    leduc = GameTree.from_openspiel("leduc_poker")
    made = XDO(leduc, XDOConfig(solver="linear-program"), 0)
    assert curve(made)[-1] <= 2e-6
    psro = PopulationLearner(leduc, changed(PSROConfig(), {"pe_every": 10**6}), 0)
    for _ in range(made.iteration):
        psro.advance()
    assert psro.measure(last=False)["nash_conv"] > 1e-2


# MMD


def test_a_step_of_mmd_is_worked_by_hand() -> None:
    # C5: rock, paper, scissors with these policies, eta .5, alpha .1, uniform magnet.
    tree = RPS.tree()
    made = MMD(tree, MMDConfig(schedule="fixed", alpha=0.1, eta=0.5))
    own, other = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    made.behaviours = [np.append(1.0, own), np.append(1.0, other)]
    made._plans = [behaviour.copy() for behaviour in made.behaviours]
    made.advance()
    power = 1.0 / 1.05
    wanted = (own * (1 / 3) ** 0.05 * np.exp(0.5 * RPS.payoff @ other)) ** power
    np.testing.assert_allclose(made.average()[0][1:], wanted / wanted.sum(), rtol=1e-12)
    np.testing.assert_allclose(made.average()[0][1:], [0.632768, 0.257719, 0.109513], atol=5e-7)
    # Simultaneous: the other side has met the old policy.
    answer = (other * (1 / 3) ** 0.05 * np.exp(0.5 * RPS.payoff @ own)) ** power
    np.testing.assert_allclose(made.average()[1][1:], answer / answer.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("alpha", "steps", "wanted"),
    [(0.5, 52, (0.298133, 0.413820, 0.288046)), (0.1, 1247, (0.173478, 0.486303, 0.340219))],
)
def test_mmd_reaches_the_quantal_response_equilibrium(
    alpha: float, steps: int, wanted: tuple[float, ...]
) -> None:
    made = MMD(SKEWED.tree(), MMDConfig(schedule="fixed", alpha=alpha, eta=alpha))
    for _ in range(steps):
        made.advance()
    policy = made.average()[0][1:]
    np.testing.assert_allclose(policy, wanted, atol=2e-6)
    for _ in range(steps):
        made.advance()
    # Its definition: every action in proportion to exp(value / alpha).
    x, y = (plan[1:] for plan in made.average())
    response = np.exp(SKEWED.payoff @ y / alpha)
    np.testing.assert_allclose(x, response / response.sum(), atol=1e-6)


@pytest.mark.parametrize(("alpha", "wanted"), [(0.5, 0.112410), (0.2, 0.043574)])
def test_a_quantal_response_equilibrium_of_kuhn_poker(alpha: float, wanted: float) -> None:
    made = MMD(KUHN, MMDConfig(schedule="fixed", alpha=alpha, eta=alpha / 5.0))
    for _ in range(4000):
        made.advance()
    for player, forest in enumerate(KUHN.form.forests):
        # Its definition at every state: differences of log-probabilities are those of values.
        gaps = np.log(made.behaviours[player][1:]) - made.action_values(player) / alpha
        tops = np.maximum.reduceat(gaps, forest.starts - 1)
        lows = np.minimum.reduceat(gaps, forest.starts - 1)
        np.testing.assert_allclose(tops, lows, atol=1e-6)
    assert KUHN.exploitability(*made.average()) == pytest.approx(wanted, abs=2e-6)


def test_action_values_are_conditional_on_the_state() -> None:
    made = MMD(KUHN, MMDConfig())
    texts = [state.text for state in KUHN.information_states(0)]
    values = dict(zip(texts, made.action_values(0).reshape(-1, 2), strict=True))
    # With a king, against uniform play: betting wins 1 or, called, 2; passing wins 1 if the other
    # passes; if it bets, folding loses 1 and calling wins 2.
    np.testing.assert_allclose(values["2"], [0.5 * 1 + 0.5 * (0.5 * -1 + 0.5 * 2), 1.5])
    # After passing and a bet: folding loses 1, calling wins 2 with certainty.
    np.testing.assert_allclose(values["2pb"], [-1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "steps", "wanted"), [("mmd", 100, 0.0291), ("mmd", 1000, 0.00506)]
)
def test_annealed_mmd_follows_the_reference_on_kuhn_poker(
    name: str, steps: int, wanted: float
) -> None:
    made = learner(PRESETS[name], "KuhnPoker-v0", 0)
    for _ in range(steps):
        made.advance()
    assert made.measure(last=True)["exploitability"] == pytest.approx(wanted, rel=5e-3)


def test_annealed_mmd_follows_the_reference_on_leduc_poker() -> None:
    made = learner(changed(PRESETS["mmd"], {"alpha": 5.0}), "LeducPoker-v0", 0)
    for wanted, steps in ((0.720, 10), (0.235, 90)):
        for _ in range(steps):
            made.advance()
        assert made.measure(last=True)["exploitability"] == pytest.approx(wanted, abs=1e-3)


def test_a_moving_magnet_goes_to_an_equilibrium() -> None:
    made = learner(PRESETS["mmd-magnet"], "KuhnPoker-v0", 0)
    found = {}
    for _ in range(2000):
        made.advance()
        if made.iteration in (1000, 2000):
            found[made.iteration] = made.measure(last=True)["exploitability"]
    assert found[1000] == pytest.approx(0.00366, rel=5e-3) and found[2000] < 3e-4


# What a session asks of them all


@pytest.mark.parametrize("name", ["anytime-psro", "sp-psro", "xdo", "xdo-exact", "mmd"])
def test_a_restored_learner_goes_on_to_the_same_result(name: str) -> None:
    config = PRESETS[name]
    if name == "sp-psro":
        config = changed(config, {"self_play_steps": 3})
    whole, first = (learner(config, "KuhnPoker-v0", 5) for _ in range(2))
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    other = learner(config, "KuhnPoker-v0", 5)
    other.restore(first.state())
    for _ in range(2):
        other.advance()
    for ours, theirs in zip(whole.plans(), other.plans(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert whole.measure(last=True) == other.measure(last=True)


@pytest.mark.parametrize("name", ["anytime-psro", "xdo-exact", "mmd"])
def test_they_play_matrix_games(name: str) -> None:
    made = learner(PRESETS[name], "matrix:blotto(5,3)", 0)
    for _ in range(40):
        if not made.finished:
            made.advance()
    assert made.measure(last=True)["exploitability"] < 0.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AnytimeConfig(mixing_rate=0.0), "mixing_rate"),
        (lambda: AnytimeConfig(tolerance=1.0), "tolerance"),
        (lambda: XDOConfig(epsilon=-1.0), "epsilon"),
        (lambda: XDOConfig(solver="cfr"), "solver"),  # type: ignore[arg-type]
        (lambda: MMDConfig(schedule="none"), "schedule"),  # type: ignore[arg-type]
        (lambda: MMDConfig(beta=2.0), "beta"),
    ],
)
def test_settings_out_of_their_domain_are_named(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
