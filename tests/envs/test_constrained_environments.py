"""Constrained tables and environments: the linear program against hand-worked optima and play."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import pkubench
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.envs.diagnostics import risky_corridor, speed_limit
from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP, evaluate, solve
from pkubench.envs.diagnostics.risky_corridor import BACK, LEAP, ON, PLANKS, RiskyCorridor
from pkubench.envs.diagnostics.speed_limit import SpeedLimit, action_to, speed_table
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from tests.agents.optima import exact, model_of, optimum

ENVIRONMENTS = ("RiskyCorridor-v0", "SpeedLimit-v0")


def random_model(seed: int, states: int = 4, actions: int = 3, horizon: int = 5) -> ConstrainedMDP:
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states + 1), (states, actions))[..., :states]
    return ConstrainedMDP(
        rng.uniform(0.0, 1.0, (states, actions)),
        rng.uniform(0.0, 1.0, (states, actions)),
        transitions,
        rng.dirichlet(np.ones(states)),
        horizon,
    )


def best_return(model: ConstrainedMDP, multiplier: float) -> float:
    """Return max E[sum r - multiplier c] by backward induction, which knows no linear program."""
    value = np.zeros(len(model.start))
    for _ in range(model.horizon):
        q = model.rewards - multiplier * model.costs + model.transitions @ value
        value = q.max(axis=1)
    return float(model.start @ value)


# The table.


def test_one_decision_is_worked_by_hand() -> None:
    # Action 1 earns 3 and costs 2, action 0 nothing. Limit 0.5: take it with probability 1/4.
    model = ConstrainedMDP(
        np.array([[0.0, 3.0]]), np.array([[0.0, 2.0]]), np.zeros((1, 2, 1)), np.ones(1), 1
    )
    found = solve(model, 0.5)
    np.testing.assert_allclose(found.policy, [[[0.75, 0.25]]])
    assert found[:3] == pytest.approx((0.75, 0.5, 1.5))
    assert found.coins == 1
    free = solve(model)
    assert free[:3] == (3.0, 2.0, 0.0) and free.coins == 0
    assert solve(model, 2.5).multiplier == 0.0


def test_a_step_of_the_evaluation_is_worked_by_hand() -> None:
    # Half continues from state 0 to state 1, a quarter stays, a quarter ends.
    moves = np.array([[[0.25, 0.5]], [[0.0, 0.0]]])
    model = ConstrainedMDP(
        np.array([[1.0], [10.0]]), np.array([[2.0], [0.0]]), moves, np.array([1.0, 0.0]), 2
    )
    found = evaluate(model, np.ones((2, 1)))
    np.testing.assert_allclose(found.occupancy[:, :, 0], [[1.0, 0.0], [0.25, 0.5]])
    assert (found.value, found.cost) == (1.0 + 0.25 + 5.0, 2.0 + 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_the_multiplier_closes_the_duality_gap(seed: int) -> None:
    """E[r] = max E[r - lambda c] + lambda d, and no other multiplier gives a smaller right side."""
    model = random_model(seed)
    most = solve(model).cost
    limit = 0.5 * (most + -best_return(_negated(model), 0.0))
    found = solve(model, limit)
    assert found.cost == pytest.approx(limit) and found.multiplier > 0

    def bound(multiplier: float) -> float:
        return best_return(model, multiplier) + multiplier * limit

    assert found.value == pytest.approx(bound(found.multiplier), abs=1e-9)
    for other in np.linspace(0.0, 3 * found.multiplier, 31):
        assert bound(float(other)) >= found.value - 1e-9
    assert found.coins <= 1


def _negated(model: ConstrainedMDP) -> ConstrainedMDP:
    return ConstrainedMDP(-model.costs, model.costs, model.transitions, model.start, model.horizon)


@pytest.mark.parametrize("seed", range(4))
def test_no_mixture_of_deterministic_policies_beats_the_program(seed: int) -> None:
    """Two steps, two states, two actions: all 16 deterministic policies, and all their pairs."""
    model = random_model(seed, states=2, actions=2, horizon=2)
    points = []
    for choice in itertools.product((0, 1), repeat=4):
        policy = np.eye(2)[np.array(choice).reshape(2, 2)]
        points.append(evaluate(model, policy)[:2])
    cheapest, dearest = min(c for _, c in points), solve(model).cost
    limit = 0.5 * (cheapest + dearest)
    best = -math.inf
    for (v, c), (w, e) in itertools.product(points, repeat=2):
        if c <= limit:
            share = 1.0 if e <= limit else (e - limit) / (e - c)
            best = max(best, share * v + (1 - share) * w, v)
    assert solve(model, limit).value == pytest.approx(best, abs=1e-9)


def test_an_impossible_limit_is_reported_with_the_least_cost() -> None:
    model = ConstrainedMDP(
        np.ones((1, 2)), np.array([[0.75, 2.0]]), np.zeros((1, 2, 1)), np.ones(1), 1
    )
    with pytest.raises(ConfigError, match=r"cost limit 0\.5: the least expected cost is 0\.75"):
        solve(model, 0.5)


def test_what_is_no_process_and_no_policy_is_refused() -> None:
    model = random_model(0)
    for changed, message in (
        ({"costs": model.costs[:, :2]}, "costs has shape"),
        ({"transitions": 2 * model.transitions}, "at most 1"),
        ({"start": 2 * model.start}, "start must be"),
        ({"horizon": 0}, "horizon"),
    ):
        with pytest.raises(ConfigError, match=message):
            ConstrainedMDP(**{**vars(model), **changed})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="policy has shape"):
        evaluate(model, np.ones((2, 3)) / 3)
    with pytest.raises(ConfigError, match="sum to 1"):
        evaluate(model, np.ones((4, 3)))
    with pytest.raises(ConfigError, match="multiple of 4"):
        speed_table(6)


# The environments.


@pytest.mark.parametrize(
    ("name", "value", "free"),
    [("RiskyCorridor-v0", 0.38, (1.0, 20.0)), ("SpeedLimit-v0", 18.75, (19.9375, 19.25))],
)
def test_the_stated_optimum_is_the_linear_programs(
    name: str, value: float, free: tuple[float, float]
) -> None:
    task, found = make_task(name), optimum(name)
    assert task.cost_limit == 5.0
    assert found[:2] == pytest.approx((value, 5.0))
    assert task.references["reference"].score == pytest.approx(value)
    assert solve(model_of(name))[:2] == pytest.approx(free)
    assert free[1] > 3 * task.cost_limit


def test_the_corridor_is_a_knapsack_at_every_limit() -> None:
    model = model_of("RiskyCorridor-v0")
    for limit in (0.0, 1.0, 2.0, 5.0, 7.0, 10.0, 15.0, 20.0, 50.0):
        stated = evaluate(model, risky_corridor.optimal_policy(limit))
        found = solve(model, limit)
        assert stated.value == pytest.approx(found.value, abs=1e-9)
        assert stated.cost <= limit + 1e-9
    assert solve(model, 5.0).multiplier == pytest.approx(0.06)
    # Where the program has a coin, it is plank 3's: taken with probability 0.6.
    found = solve(model, 5.0)
    (drawn,) = np.argwhere((found.occupancy > 1e-9).sum(axis=-1) > 1)
    assert drawn[1] == PLANKS[2].start
    np.testing.assert_allclose(found.policy[tuple(drawn)], [0.0, 0.4, 0.6])
    # It is a policy everywhere: even in the cells it never comes to.
    assert found.occupancy[0, 7].sum() == 0.0
    np.testing.assert_allclose(found.policy[0, 7], 1 / 3)


def test_policies_without_lots_get_less_in_the_corridor() -> None:
    model, returns, mode = RiskyCorridor().model, [], 0.0
    for taken in itertools.product((False, True), repeat=len(PLANKS)):
        policy = np.eye(3)[np.full(risky_corridor.GOAL + 1, ON)]
        for plank, is_taken in zip(PLANKS, taken, strict=True):
            policy[plank.start] = np.eye(3)[LEAP if is_taken else ON]
        found = evaluate(model, policy)
        returns += [found.value] if found.cost <= 5.0 else []
        if taken == (True, False, True, False):
            mode = found.cost
    assert max(returns) == pytest.approx(0.3)
    assert mode == pytest.approx(7.0)


def test_the_speed_limits_multiplier_is_a_quarter() -> None:
    """On a grid the value is a polygon in the limit: its slopes on both sides enclose 1/4."""
    for parts, width in ((8, 0.4), (16, 0.2)):
        model = speed_table(parts)
        below, at, above = (solve(model, limit).value for limit in (4.9, 5.0, 5.1))
        left, right = (at - below) / 0.1, (above - at) / 0.1
        assert right < 0.25 < left and left - right < width
    assert speed_limit.driving_reward(np.array([0.75])) == 0.9375
    assert speed_limit.speeding_cost(np.array([0.5, 0.75, 1.0])).tolist() == [0.0, 0.25, 1.0]


def test_no_constant_speed_beats_the_optimum() -> None:
    speeds = np.linspace(0.0, 0.75, 301)  # 0.75 is what full throttle gives in one step
    returns = 20 * speed_limit.driving_reward(speeds)
    costs = 20 * speed_limit.speeding_cost(speeds)
    assert returns[costs <= 5.0 + 1e-9].max() == pytest.approx(18.75)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_playing_the_programs_policy_gets_the_programs_value(name: str) -> None:
    """Monte Carlo in the environment itself, actions drawn from the occupancy's policy."""
    found, num_envs = optimum(name), 4000
    env, rng = make_batch(name, num_envs), np.random.default_rng(5)
    observation = env.reset(np.arange(num_envs))[0][SOLE_AGENT]
    returns, costs = np.zeros(num_envs), np.zeros(num_envs)
    is_on = np.ones(num_envs, dtype=bool)
    for chances in found.policy:
        if name.startswith("Risky"):
            state = observation.argmax(axis=1)
        else:
            state = np.rint(8 * observation[:, 0].astype(float)).astype(int)
        drawn = (rng.random(num_envs)[:, None] >= chances[state].cumsum(axis=1)[:, :-1]).sum(axis=1)
        action = drawn
        if not name.startswith("Risky"):
            wanted = model_of(name).transitions[state, drawn].argmax(axis=1) / 8
            speed = observation[:, 0].astype(float)
            action = action_to(wanted, speed).astype(np.float32)[:, None]
        step = env.step({SOLE_AGENT: action}, is_on)
        returns[is_on] += step.rewards[is_on, 0]
        costs[is_on] += step.info["cost"][is_on]
        is_on &= ~(step.terminated | step.truncated)
        observation = step.observations[SOLE_AGENT]
        if not is_on.any():
            break
    assert not is_on.any()
    for values, expected in ((returns, found.value), (costs, found.cost)):
        assert values.mean() == pytest.approx(
            expected, abs=4 * values.std() / num_envs**0.5 + 1e-12
        )


def test_the_corridor_does_what_its_table_says() -> None:
    """Every cell and action, many times: next cell, reward, end and the chance of a fall."""
    model, num_envs = RiskyCorridor().model, 2000
    for cell, action in itertools.product(range(risky_corridor.GOAL), (BACK, ON, LEAP)):
        env = RiskyCorridor(num_envs)
        env.reset(np.arange(num_envs) + 7)
        env._cell[:] = cell
        step = env.step({SOLE_AGENT: np.full(num_envs, action)})
        assert (step.rewards == model.rewards[cell, action]).all()
        assert (step.terminated == (model.transitions[cell, action].sum() == 0)).all()
        if not step.terminated[0]:
            after = step.observations[SOLE_AGENT].argmax(axis=1)
            assert (after == model.transitions[cell, action].argmax()).all()
        risk = model.costs[cell, action] / 10
        assert set(step.info["cost"]) <= {0.0, 10.0}
        share = (step.info["cost"] > 0).mean()
        assert share == pytest.approx(risk, abs=4 * (risk * (1 - risk) / num_envs) ** 0.5)


def test_the_speed_is_the_formulas() -> None:
    env = SpeedLimit(3)
    env.reset(np.zeros(3, dtype=np.int64))
    env.step({SOLE_AGENT: np.array([[1.0], [0.5], [-3.0]], np.float32)})
    step = env.step({SOLE_AGENT: np.array([[7.0], [-0.5], [0.0]], np.float32)})
    speeds = [(0.75 + 1.5) / 2, (0.375 - 0.75) / 2, -0.75 / 2]
    np.testing.assert_allclose(step.observations[SOLE_AGENT][:, 0], speeds)
    np.testing.assert_allclose(step.rewards[:, 0], [2 * v - v * v for v in speeds])
    np.testing.assert_allclose(step.info["cost"], [4 * (1.125 - 0.5) ** 2, 0.0, 0.0])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_scripted_optimum_is_the_optimum(name: str) -> None:
    report = pkubench.evaluate("scripted:optimum", name, episodes=200, workers=0)
    for metric, expected in (("return", optimum(name).value), ("cost", optimum(name).cost)):
        found = report.metrics[metric]
        assert found.low is not None and found.high is not None
        assert found.low - 1e-9 <= expected <= found.high + 1e-9
    assert report.failed == 0


def test_an_agents_policy_in_the_corridor_is_scored_exactly() -> None:
    class Scripted:
        stochastic = False

        def action_probabilities(self, cells: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return risky_corridor.optimal_policy(5.0)

    assert exact(Scripted())[:2] == pytest.approx((0.38, 5.0))
    lots = np.array([0.0, 0.39, 0.41, 0.99])
    chosen = scripted_agent("optimum", "pkubench/RiskyCorridor-v0").choose(  # type: ignore[union-attr]
        np.eye(21)[[12] * 4], lots
    )
    assert chosen.tolist() == [ON, ON, LEAP, LEAP]
