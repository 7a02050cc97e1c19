"""The diagnostic games: rules, pictures, optima, and what can be shown about them by hand."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.envs.core.registry import make_batch
from pkubench.envs.diagnostics.cooperative_game import CooperativeGame
from pkubench.envs.diagnostics.sharing_gap import best_shared_value, shared_policy_value
from pkubench.envs.diagnostics.sign_game import sequential_step, simultaneous_step
from pkubench.errors import AgentError, ConfigError
from pkubench.tasks.registry import make_task

GAMES = ("Climbing-v0", "Penalty-v0", "SharingGap-v0", "SignGame-v0")
# Claus & Boutilier (1998), written out once more.
CLIMBING = [[11, -30, 0], [-30, 7, 6], [0, 0, 5]]
PENALTY = [[10, 0, -100], [0, 2, 0], [-100, 0, 10]]


def made(name: str, num_envs: int = 1, **settings: Any) -> CooperativeGame:
    game = make_batch(name, num_envs, **settings)
    assert isinstance(game, CooperativeGame)
    game.reset(np.arange(num_envs))
    return game


def played(game: CooperativeGame, joint: Any) -> Any:
    """Step with joint actions (environments, agents, ...)."""
    joint = np.asarray(joint)
    return game.step({agent: joint[:, i] for i, agent in enumerate(game.agents)})


@pytest.mark.parametrize(("name", "table"), [("Climbing-v0", CLIMBING), ("Penalty-v0", PENALTY)])
def test_the_team_return_is_the_entry_of_the_table(name: str, table: list[list[int]]) -> None:
    joint = list(itertools.product(range(3), repeat=2))
    step = played(made(name, 9), joint)
    assert step.rewards.sum(axis=1).tolist() == [table[row][column] for row, column in joint]
    assert (step.rewards[:, 0] == step.rewards[:, 1]).all()
    assert step.terminated.all() and not step.truncated.any()


@pytest.mark.parametrize("count", [2, 4, 6])
def test_sharing_gap_pays_the_two_complementary_halves_alone(count: int) -> None:
    joint = list(itertools.product((0, 1), repeat=count))
    game = made("SharingGap-v0", len(joint), num_agents=count)
    paid = played(game, joint).rewards.sum(axis=1)
    half = count // 2
    goals = {(0,) * half + (1,) * half, (1,) * half + (0,) * half}
    np.testing.assert_allclose(paid, [float(actions in goals) for actions in joint], rtol=1e-15)
    table: Any = game.payoffs  # type: ignore[attr-defined]
    assert [table[actions] for actions in joint] == [float(actions in goals) for actions in joint]


def test_the_sign_game_pays_the_product_of_clipped_actions() -> None:
    game = made("SignGame-v0", 4)
    step = played(
        game, np.array([[[0.5], [-0.25]], [[3.0], [0.5]], [[-2.0], [-7.0]], [[0.0], [1]]])
    )
    assert step.rewards.sum(axis=1).tolist() == [-0.125, 0.5, 1.0, 0.0]


@pytest.mark.parametrize("name", GAMES)
def test_agents_see_only_whether_the_game_is_over_whatever_the_seed(name: str) -> None:
    game = made(name, 3)
    before = game.reset(np.array([5, 6, 7]))[0]
    step = played(game, np.stack([np.stack(list(game.optimal_actions.values()))] * 3))
    for agent in game.agents:
        assert before[agent].tolist() == [[1.0, 0.0]] * 3
        assert step.observations[agent].tolist() == [[0.0, 1.0]] * 3
    assert game.reset(np.array([9]), np.array([1]))[0]["agent_1"].tolist() == [
        [0, 1],
        [1, 0],
        [0, 1],
    ]


@pytest.mark.parametrize(
    ("name", "best", "random"),
    [
        ("Climbing-v0", 11.0, -31 / 9),
        ("Penalty-v0", 10.0, -178 / 9),
        ("SharingGap-v0", 1.0, 1 / 8),
        ("SignGame-v0", 1.0, 0.0),
    ],
)
def test_the_anchors_of_the_scale_are_the_exact_ones(name: str, best: float, random: float) -> None:
    task = make_task(name)
    report = pkubench.evaluate("scripted:optimum", name, episodes=4)
    assert report.score == best == task.references["reference"].score
    # Payoffs lie in [-100, 11], in [0, 1] and in [-1, 1]: standard deviations by hand.
    deviation = {
        "Climbing-v0": 14.0,
        "Penalty-v0": 43.0,
        "SharingGap-v0": 0.34,
        "SignGame-v0": 0.34,
    }
    measured = task.references["random"]
    assert measured.n == 20_000
    assert abs(measured.score - random) < 4 * deviation[name] / measured.n**0.5


def test_no_joint_action_beats_the_optimum() -> None:
    for name in GAMES[:3]:
        game = made(name)
        best = played(game, [list(game.optimal_actions.values())]).rewards.sum()
        assert best == game.payoffs.max()  # type: ignore[attr-defined]


def test_the_scripted_optimum_refuses_other_tasks() -> None:
    with pytest.raises(AgentError, match="suites diagnostics"):
        scripted_agent("optimum", "pkubench/SimpleSpread-v0")


@pytest.mark.parametrize("name", GAMES)
def test_pictures_tell_joint_actions_apart(name: str) -> None:
    game = made(name, 2)
    start = game.render(0)
    spaces = list(game.action_spaces.values())
    low = [np.zeros(s.shape or (), s.dtype) for s in spaces]
    high = [np.ones(s.shape or (), s.dtype) for s in spaces]
    played(game, np.stack([np.stack(low), np.stack(high)]))
    frames = [game.render(index) for index in (0, 1)]
    assert start.shape == frames[0].shape == (320, 480, 3)
    assert (frames[0] != frames[1]).any() and (frames[0] != start).any()


def test_settings_out_of_their_domain_are_named() -> None:
    for count in (0, 3, 18):
        with pytest.raises(ConfigError, match="num_agents"):
            make_batch("SharingGap-v0", num_agents=count)
    for k in (1.0, float("nan"), float("-inf")):
        with pytest.raises(ConfigError, match="k must"):
            make_batch("Penalty-v0", k=k)
    game = made("Penalty-v0", k=-50)
    assert played(game, [[0, 2]]).rewards.sum() == -50.0


@pytest.mark.parametrize("count", [2, 4, 6, 8])
def test_the_best_shared_policy_gets_exactly_two_to_the_one_minus_n(count: int) -> None:
    # The environment's own payoffs, each joint action weighted as a shared policy draws it.
    joint = list(itertools.product((0, 1), repeat=count))
    paid = played(made("SharingGap-v0", len(joint), num_agents=count), joint).rewards.sum(axis=1)
    ones = [sum(actions) for actions in joint]

    def exact(theta: Fraction) -> Fraction:
        return sum(
            (
                theta**k * (1 - theta) ** (count - k) * round(p)
                for k, p in zip(ones, paid, strict=True)
            ),
            Fraction(0),
        )

    # Two polynomials of degree n that agree in 98 points are the same, so in u = theta - 1/2 the
    # expected payoff is 2 (1/4 - u^2)^(n/2): with |u| <= 1/2, largest at u = 0 and nowhere else.
    for theta in (Fraction(k, 97) for k in range(98)):
        expected = exact(theta)
        assert expected == 2 * (Fraction(1, 4) - (theta - Fraction(1, 2)) ** 2) ** (count // 2)
        assert float(shared_policy_value(float(theta), count)) == pytest.approx(float(expected))
    assert exact(Fraction(1, 2)) == Fraction(2, 2**count) == Fraction(best_shared_value(count))
    assert paid.max() == pytest.approx(1.0)


def test_trust_region_steps_from_the_fourth_quadrant() -> None:
    start = np.array([0.25, -0.25])
    together = simultaneous_step(start, 0.75, trust_region=True)
    in_turn = sequential_step(start, 0.75, trust_region=True)
    assert together.tolist() == [-0.5, 0.5] and together.prod() == -0.25 < start.prod()
    assert in_turn.tolist() == [-0.5, -1.0] and in_turn.prod() == 0.5 > start.prod()


def test_gradient_steps_from_the_fourth_quadrant() -> None:
    # By hand with size 3 from (1, -1): together (1 - 3, -1 + 3); in turn 1 - 3 = -2, -1 - 6 = -7.
    start = np.array([1.0, -1.0])
    together = simultaneous_step(start, 3.0, trust_region=False)
    in_turn = sequential_step(start, 3.0, trust_region=False)
    assert together.tolist() == [-2.0, 2.0] and together.prod() == -4.0
    assert in_turn.tolist() == [-2.0, -7.0] and in_turn.prod() == 14.0


def test_simultaneous_gradient_steps_fall_beyond_a_size_and_sequential_ones_never() -> None:
    rng = np.random.default_rng(0)
    for x, y, size in rng.uniform(0.05, 4.0, (500, 3)):
        start = np.array([x, -y])
        change = simultaneous_step(start, size, trust_region=False).prod() - start.prod()
        limit = x / y + y / x
        if abs(size - limit) > 1e-6:
            assert (change < 0) == (size > limit)
        moved = sequential_step(start, size, trust_region=False)
        gain = size * (y**2 + moved[0] ** 2)
        assert moved.prod() - start.prod() == pytest.approx(gain, rel=1e-9)
