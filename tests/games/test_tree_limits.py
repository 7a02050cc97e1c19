"""What a game tree refuses: policies, plans, games that do not fit or are too large."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

from pkubench.envs.games import (
    GameError,
    GameTree,
    MatrixGame,
    PlanError,
    PolicyError,
    allow_histories,
    histories,
)
from pkubench.envs.games.histories import (
    LIMIT_VARIABLE,
    allowed_histories,
    check_size,
    enumerate_histories,
)
from pkubench.envs.games.openspiel_games import load_openspiel
from pkubench.errors import ConfigError, UnknownName


@cache
def tree_of(name: str) -> GameTree:
    return GameTree.from_openspiel(name)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"0": {0: 1.0}}, r"lacks 5 of 6 .* '1'"),
        (lambda text: {0: 0.5, 1: 0.4}, r"state '0'.*sum to 0\.9"),
        (lambda text: {0: 1.5, 1: -0.5}, r"state '0'.*negative"),
        (lambda text: {0: float("nan"), 1: 0.0}, r"state '0'.*NaN"),
        (lambda text: {0: 0.5, 7: 0.5}, r"state '0'.*action 7"),
        (lambda text: {0: "half", 1: 0.5}, r"state '0'.*not a number"),
        (lambda text: [0.5, 0.5], r"state '0'.*list"),
        ([0.5, 0.5], r"got list"),
    ],
)
def test_a_policy_that_is_not_a_distribution_is_refused_by_name(policy: object, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        tree_of("kuhn_poker").realization_plan(policy, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table[:5], "shape"),
        (lambda table: table * 0.9, "sum to 0.9"),
        (lambda table: np.where(table == 0.5, np.nan, table), "NaN"),
    ],
)
def test_a_policy_table_is_checked(change: object, says: str) -> None:
    tree = tree_of("kuhn_poker")
    table = tree.table(tree.uniform_plan(0), 0)
    with pytest.raises(PolicyError, match=says):
        tree.plan_from_table(change(table), 0)  # type: ignore[operator]
    leduc = tree_of("leduc_poker")
    uniform = np.full((468, 3), 1 / 3)  # folding is illegal where there is nothing to call
    with pytest.raises(PolicyError, match="action 0"):
        leduc.plan_from_table(uniform, 0)


def test_an_array_that_is_not_a_plan_is_refused_by_every_score() -> None:
    tree = tree_of("leduc_poker")
    x, y = tree.uniform_plan(0), tree.uniform_plan(1)
    leaking = x.copy()
    leaking[1] += 0.1
    with pytest.raises(PlanError, match="do not add up"):
        tree.nash_conv(leaking, y)
    with pytest.raises(PlanError, match="negative or NaN"):
        tree.nash_conv(x, np.full_like(y, np.nan))
    with pytest.raises(PlanError, match="entry 0"):
        tree.nash_conv(x * 0.0, y)
    with pytest.raises(PlanError, match="1093 entries"):
        tree.nash_conv(x[:-1], y)
    with pytest.raises(PlanError, match="stack"):
        tree.nash_conv(np.stack([x, x]), y)
    with pytest.raises(PlanError, match="do not add up"):
        tree.best_response(1, leaking)
    with pytest.raises(PlanError, match="do not add up"):
        tree.population_exploitability([x, leaking], [y])
    with pytest.raises(PlanError, match="distribution"):
        tree.mix([x, x], [0.5, 0.6])
    with pytest.raises(GameError, match="0 and 1"):
        tree.uniform_plan(2)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("leduc", UnknownName, "leduc_poker"),
        ("kuhn_poker(players=3)", GameError, "exactly two"),
        ("kuhn_poker(colour=red)", GameError, "colour"),
        ("matrix_pd", GameError, "not zero-sum"),
        ("backgammon", GameError, r"information-state strings .* such as openspiel:liars_dice"),
        ("negotiation", GameError, "not zero-sum .* such as openspiel:liars_dice"),
        ("liars_dice_ir(dice_sides=3)", GameError, "perfect recall"),
    ],
)
def test_games_that_do_not_fit_are_refused_with_the_reason(
    name: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        GameTree.from_openspiel(name)


def test_a_game_that_is_too_large_is_refused_before_memory_runs_out() -> None:
    with pytest.raises(GameError, match="more than 9,000 histories"):
        GameTree.from_openspiel("leduc_poker", max_histories=9000)  # it has 9,457
    assert GameTree.from_openspiel("leduc_poker", max_histories=9457).num_terminals == 5520


def test_how_large_a_tree_may_be_is_a_setting_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "57")
    with pytest.raises(GameError, match=r"more than 57 histories.*--max-histories N or PKUBENCH_M"):
        GameTree.from_openspiel("kuhn_poker")  # it has 58
    with pytest.raises(GameError, match="more than the 57 histories"):
        MatrixGame(np.zeros((8, 8))).tree()
    allow_histories(58)
    assert len(GameTree.from_openspiel("kuhn_poker").histories.player) == 58
    with pytest.raises(ConfigError, match="at least 1, got '-3'"):
        allow_histories(-3)
    assert allowed_histories() == 58  # what was refused has changed nothing
    monkeypatch.setenv(LIMIT_VARIABLE, "2e6")
    with pytest.raises(ConfigError, match=r"PKUBENCH_MAX_HISTORIES .* '2e6'; unset it"):
        allowed_histories()
    monkeypatch.delenv(LIMIT_VARIABLE)
    assert allowed_histories() == 2_000_000


@pytest.mark.parametrize("name", ["liars_dice(numdice=2)", "chess", "oshi_zumo"])
def test_a_game_that_is_much_too_large_is_refused_immediately(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = load_openspiel(name)
    monkeypatch.setattr(histories, "Histories", None)  # what an enumeration ends with
    began = time.perf_counter()
    with pytest.raises(GameError, match=r"more than 2,000,000 histories.*--responses 20000"):
        enumerate_histories(game)
    assert time.perf_counter() - began < 5.0  # walking to the limit takes most of a minute


def test_the_estimate_of_a_games_size_is_that_of_its_levels() -> None:
    # Levels of 3, 6, 12 and 24 histories, then 48 in the quarter of plays that continue: 57 in the
    # mean, as there are besides the root. A limit 20 times as small is surely passed.
    game = load_openspiel("kuhn_poker")
    check_size(game, max_histories=3)
    with pytest.raises(GameError, match="more than 2 histories"):
        check_size(game, max_histories=2)
