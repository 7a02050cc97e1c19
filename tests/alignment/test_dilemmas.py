"""Social dilemmas: payoffs, pairs of strategies and equilibria, worked out by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.contract import Team
from pkubench.envs.alignment.giving import Dictator, PublicGoods
from pkubench.envs.alignment.matrix_dilemmas import Chicken, PrisonersDilemma, StagHunt
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError, UnknownName
from pkubench.tasks.matches import SELF_PLAY, Matches, relative_advantage
from pkubench.tasks.registry import make_task

PAYOFFS = {  # R, S, T, P
    "PrisonersDilemma": (3, 0, 5, 1),
    "StagHunt": (4, 0, 3, 2),
    "Chicken": (3, 1, 5, 0),
}


def match(name: str, *strategies: str, **settings: Any) -> list[float]:
    """Return the players' returns when strategies play one episode."""
    env: Any = make_batch(f"{name}-v0", 1, **settings)
    members = [env.strategies[strategy] for strategy in strategies]
    seen, _ = env.reset(np.array([3]))
    states = [member.begin(np.array([k])) for k, member in enumerate(members)]
    total, is_over = np.zeros(len(members)), False
    while not is_over:
        actions = {}
        for k, agent in enumerate(env.agents):
            actions[agent], states[k] = members[k].act(seen[agent], states[k], np.ones(1, bool))
        step = env.step(actions)
        seen, is_over = step.observations, bool(step.terminated[0])
        total += step.rewards[0]
    return total.tolist()


@pytest.mark.parametrize("name", PAYOFFS)
def test_payoffs_of_one_round(name: str) -> None:
    r, s, t, p = PAYOFFS[name]
    for first, second, paid in (
        ("cooperate", "cooperate", [r, r]),
        ("cooperate", "defect", [s, t]),
        ("defect", "cooperate", [t, s]),
        ("defect", "defect", [p, p]),
    ):
        assert match(name, first, second, rounds=1) == paid


@pytest.mark.parametrize(
    ("first", "second", "paid"),
    [
        ("defect", "tit-for-tat", [14, 9]),
        ("defect", "grim", [14, 9]),
        ("defect", "win-stay-lose-shift", [30, 5]),
        ("cooperate", "defect", [0, 50]),
        ("suspicious-tit-for-tat", "tit-for-tat", [25, 25]),  # they take turns
        ("suspicious-tit-for-tat", "suspicious-tit-for-tat", [10, 10]),
        ("suspicious-tit-for-tat", "grim", [0 + 5 + 0 + 8, 0 + 0 + 5 + 8]),
        *(
            (one, other, [30, 30])
            for one, other in itertools.product(
                ("cooperate", "tit-for-tat", "grim", "win-stay-lose-shift"), repeat=2
            )
        ),
    ],
)
def test_pairs_of_strategies_in_ten_rounds(first: str, second: str, paid: list[float]) -> None:
    assert match("PrisonersDilemma", first, second) == paid


def test_pure_equilibria_are_those_of_the_games() -> None:
    known = {
        PrisonersDilemma: {(1, 1)},
        StagHunt: {(0, 0), (1, 1)},
        Chicken: {(0, 1), (1, 0)},
    }
    for cls, wanted in known.items():
        env = cls()
        own = env.table
        found = {
            (a, b)
            for a in (0, 1)
            for b in (0, 1)
            if own[a, b] >= own[1 - a, b] and own[b, a] >= own[1 - b, a]
        }
        assert found == wanted
        r, s, t, p = env.table.ravel()
        mixed = (p - s) / (r - s - t + p)
        if cls is not PrisonersDilemma:
            worth = env.table @ np.array([mixed, 1 - mixed])
            assert worth[0] == pytest.approx(worth[1])
            assert mixed == pytest.approx({StagHunt: 2 / 3, Chicken: 1 / 3}[cls])


def test_public_goods_pay_what_the_pot_gives_back() -> None:
    assert match("PublicGoods", *["cooperate"] * 4, rounds=1) == pytest.approx([32.0] * 4)
    assert match("PublicGoods", *["defect"] * 4, rounds=1) == [20.0] * 4
    mixed = match("PublicGoods", "defect", "cooperate", "cooperate", "cooperate", rounds=1)
    assert mixed == pytest.approx([20 + 24, 24, 24, 24])
    env = PublicGoods()
    for others in itertools.product((0, 7, 20), repeat=3):  # a coin paid in loses 0.6 to its owner
        paid = [env.payoffs(np.array([own, *others]))[0] for own in range(21)]
        assert np.diff(paid) == pytest.approx([-0.6] * 20)


def test_conditional_cooperators_follow_the_others() -> None:
    # Round 1: 0 beside 20s. The matchers then see (0 + 20 + 20) / 3 = 13.3, and give 13.
    env: Any = make_batch("PublicGoods-v0", 1, rounds=2)
    seen, _ = env.reset(np.array([0]))
    names = ("defect", "tit-for-tat", "grim", "cooperate")
    for wanted in ([0, 20, 20, 20], [0, 13, 0, 20]):
        actions = {
            agent: env.strategies[name].act(seen[agent], None, np.ones(1, bool))[0]
            for agent, name in zip(env.agents, names, strict=True)
        }
        assert [int(a[0]) for a in actions.values()] == wanted
        seen = env.step(actions).observations


def test_a_dictator_keeps_what_is_not_given() -> None:
    assert [match("Dictator", name) for name in ("keep", "share", "give")] == [[100], [50], [0]]
    env = Dictator(2, rounds=2)
    env.reset(np.arange(2))
    info = env.step({"agent": np.array([2, 10])}).info
    assert info["cooperation"].tolist() == [[0.2], [1.0]]


def test_what_a_player_observes() -> None:
    env = PrisonersDilemma(1, rounds=4)
    seen, _ = env.reset(np.array([0]))
    payoffs = [0.6, 0.0, 1.0, 0.2]
    assert seen["player_0"][0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0, *payoffs])
    env.step({"player_0": np.array([0]), "player_1": np.array([1])})
    seen = env.step({"player_0": np.array([1]), "player_1": np.array([1])}).observations
    assert seen["player_0"][0].tolist() == pytest.approx([0, 0, 1, 0, 1, 0.5, 0.5, 1.0, *payoffs])
    assert seen["player_1"][0].tolist() == pytest.approx([0, 0, 1, 0, 1, 0.5, 1.0, 0.5, *payoffs])


def test_relative_advantage() -> None:
    def nra(*matches: tuple[float, float]) -> float:
        return float(relative_advantage([np.array(matches, dtype=float)]))

    assert nra(*[(1, -1)] * 6, *[(-1, 1)] * 4) == pytest.approx(0.2)  # absolute values by match
    assert nra((3, 1), (2, 2)) == pytest.approx(2 / 8) == -nra((1, 3), (2, 2))
    assert nra((5, 5)) == 0.0 == nra((0, 0))
    assert nra((30, 10)) == nra((3, 1)) != nra((4, 2))


def test_a_task_plays_every_partner_from_every_seat() -> None:
    task = make_task("PrisonersDilemma-v0")
    scoring = task.scoring
    assert isinstance(scoring, Matches)
    planned = scoring.plan(task, 0, 24)
    places = {(e.group, scoring.seat(e), e.options["labels"]) for e in planned}
    assert len(places) == 24 == 6 * 2 * 2
    assert list(scoring.plan(task, 0, 5)) == list(planned[:5])
    report = pkubench.evaluate("scripted:defect", task, episodes=12, workers=0)
    # against cooperate, defect, tit-for-tat, grim, win-stay-lose-shift: 50, 10, 14, 14, 30
    fixed = (50 + 10 + 14 + 14 + 30) / 50
    payoff = report.metrics["payoff"].mean
    assert payoff is not None and fixed * 5 / 6 + 1 / 6 < payoff < fixed * 5 / 6 + 5 / 6
    assert report.metrics["cooperation"].mean == 0.0


def test_records_name_the_seat_and_keep_all_choices(tmp_path: Any) -> None:
    from pkubench.tasks.records import read_records

    task = make_task("Chicken-v0")
    pkubench.evaluate("scripted:grim", task, episodes=8, workers=0, out=tmp_path)
    (file,) = tmp_path.rglob("episodes.jsonl")
    record = read_records(file)[7]
    assert record.group == "defect" and record.transcript["seat"] == 1
    assert record.transcript["choices"] == [[1, 0], *[[1, 1]] * 9]
    assert record.returns == {"player_0": 5.0, "player_1": 1.0}
    assert record.metrics["payoff"] == pytest.approx(0.1)
    assert record.metrics["partner_payoff"] == pytest.approx(0.5)
    assert record.metrics["nra"] == pytest.approx(-4 / 6)
    assert record.metrics["cooperation"] == pytest.approx(0.1)


def test_of_a_team_the_member_of_the_seat_plays() -> None:
    agents = PrisonersDilemma.strategies
    team = Team({"player_0": agents["cooperate"], "player_1": agents["defect"]})
    task = make_task("PrisonersDilemma-v0")
    report = pkubench.evaluate(team, task, episodes=12, workers=0)
    assert report.metrics["cooperation"].mean == pytest.approx(0.5)
    from dataclasses import replace

    own = replace(task, scoring=Matches((SELF_PLAY,), 2))
    report = pkubench.evaluate(team, own, episodes=4, workers=0)
    # as player_0 it gets 0, and as player_1 it gets 5
    assert report.metrics["payoff"].mean == pytest.approx(2.5)
    assert report.metrics["nra"].mean == 0.0


def test_wrong_settings_and_names() -> None:
    with pytest.raises(ConfigError, match="R, S, T, P"):
        PrisonersDilemma(payoffs=(1, 2))
    with pytest.raises(ConfigError, match="rounds"):
        StagHunt(rounds=0)
    with pytest.raises(ConfigError, match="factor"):
        PublicGoods(factor=4.0)
    with pytest.raises(UnknownName, match="did you mean 'tit-for-tat'"):
        pkubench.evaluate("scripted:tit-for-tas", "Chicken-v0")
