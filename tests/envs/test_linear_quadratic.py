"""HeterogeneousCarriers: its dynamics, and that optimum and sharing bound are what they are called.

Costs here are computed without the Riccati recursion: by stepping the environment, by general
optimizers, and by writing the sum out.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import pkubench
from pkubench.agents.components import as_plain
from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.linear import LinearAgent
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.agents.registry import preset
from pkubench.envs.core.registry import make_batch
from pkubench.envs.linear_quadratic import carriers
from pkubench.envs.linear_quadratic.carriers import GUST, PUSHES, REACH, HeterogeneousCarriers
from pkubench.envs.linear_quadratic.riccati import (
    LinearTeam,
    best_response_factors,
    best_shared_gains,
    exact_return,
    largest_action,
    optimal_gains,
)
from pkubench.errors import AgentError
from pkubench.tasks.registry import make_task

NAME, NAME_ID = "HeterogeneousCarriers-v0", "HeterogeneousCarriersId-v0"


def made(num_envs: int = 1, **settings: Any) -> HeterogeneousCarriers:
    env = make_batch(NAME, num_envs, **settings)
    assert isinstance(env, HeterogeneousCarriers)
    env.reset(np.arange(num_envs))
    return env


def returns_of(env: HeterogeneousCarriers, team: Team) -> np.ndarray[Any, Any]:
    """Play one episode in every environment; return the team's returns."""
    observations, _ = env.reset(np.arange(env.num_envs))
    active = np.ones(env.num_envs, dtype=bool)
    states = {a: m.begin(np.arange(env.num_envs)) for a, m in team.members.items()}
    total = np.zeros(env.num_envs)
    for _ in range(env.max_episode_steps or 0):
        actions = {}
        for agent, member in team.members.items():
            actions[agent], states[agent] = member.act(observations[agent], states[agent], active)
        step = env.step(actions)
        observations = step.observations
        total += step.rewards.sum(axis=1)
    assert step.truncated.all()
    return total


def without_gusts(monkeypatch: pytest.MonkeyPatch, num_envs: int = 1) -> HeterogeneousCarriers:
    """Return environments after a reset without gusts."""
    monkeypatch.setattr(carriers, "GUST", 0.0)
    return made(num_envs)


@pytest.mark.parametrize(
    ("agent", "action", "acceleration"),
    [
        # at (1, 0), facing -x: forward is -x, its left is -y, which turns the load clockwise
        (0, (1, 0), (-1, 0, 0)),
        (0, (0, 1), (0, -1, -1)),
        # at (0, 1), facing -y: its left is +x, half as strong
        (1, (1, 0), (0, -0.5, 0)),
        (1, (0, 1), (0.5, 0, -0.5)),
        # at (-0.8, -0.6), facing (0.8, 0.6): its left is (-0.6, 0.8)
        (2, (1, 0), (1.2, 0.9, 0)),
        (2, (0, 1), (-0.9, 1.2, -1.5)),
    ],
)
def test_a_push_moves_the_load_as_seen_by_the_carrier(
    monkeypatch: pytest.MonkeyPatch, agent: int, action: tuple[int, int], acceleration: Any
) -> None:
    env = without_gusts(monkeypatch)
    env.positions[:], env.velocities[:] = 0.0, 0.0
    pushes = {name: np.zeros((1, 2), dtype=np.float32) for name in env.agents}
    pushes[f"agent_{agent}"][0] = action
    step = env.step(pushes)
    velocity = 0.4 * np.array(acceleration)
    np.testing.assert_allclose(env.velocities[:, 0], velocity, atol=1e-12)
    np.testing.assert_allclose(env.positions[:, 0], 0.4 * velocity, atol=1e-12)
    cost = 10 * ((0.4 * velocity) ** 2).sum() + 0.1
    np.testing.assert_allclose(step.rewards[0], [-cost / 3] * 3, atol=1e-12)


def test_the_load_swings_back_and_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    env = without_gusts(monkeypatch)
    env.positions[:, 0], env.velocities[:, 0] = (1.0, 0.0, -2.0), (0.0, 1.0, 0.5)
    env.step({name: np.zeros((1, 2), dtype=np.float32) for name in env.agents})
    # v + 0.4 (-1.5 p - v), then p + 0.4 v
    np.testing.assert_allclose(env.velocities[:, 0], [-0.6, 0.6, 1.5])
    np.testing.assert_allclose(env.positions[:, 0], [0.76, 0.24, -1.4])


def test_actions_are_clipped() -> None:
    env, twin = made(4), made(4)
    wild = {a: np.full((4, 2), 9.0, dtype=np.float32) for a in env.agents}
    full = {a: np.ones((4, 2), dtype=np.float32) for a in env.agents}
    np.testing.assert_array_equal(env.step(wild).rewards, twin.step(full).rewards)


def test_starts_and_gusts_are_independent_and_have_their_variances() -> None:
    env = made(20_000)
    starts = env.positions.copy()
    assert (env.velocities == 0).all() and 0.19 < np.abs(starts).max() <= REACH == 0.2
    env.step({a: np.zeros((20_000, 2), dtype=np.float32) for a in env.agents})
    gusts = env.velocities + 0.4 * 1.5 * starts
    np.testing.assert_allclose(np.abs(gusts), GUST)
    both = np.concatenate([starts / REACH * 3**0.5, gusts / GUST])
    # 20,000 draws: the standard error of a mean or covariance is 0.007
    np.testing.assert_allclose(both.mean(axis=1), np.zeros(6), atol=0.03)
    np.testing.assert_allclose(np.cov(both), np.eye(6), atol=0.03)


def test_the_linear_team_is_the_environment() -> None:
    env = made(8)
    team, rng = env.team, np.random.default_rng(0)
    state = np.concatenate([env.positions, env.velocities])
    joint = rng.uniform(-1.0, 1.0, (6, 8)).astype(np.float32)
    actions = {a: joint[2 * i : 2 * i + 2].T for i, a in enumerate(env.agents)}
    step = env.step(actions)
    after = np.concatenate([env.positions, env.velocities])
    free = team.dynamics @ state + team.joint_inputs @ joint
    gusts = (after - free)[3:]
    np.testing.assert_allclose(np.abs(gusts), GUST)
    np.testing.assert_allclose(after, free + team.disturbance @ gusts, atol=1e-12)
    cost = np.einsum("sn,st,tn->n", after, team.state_cost, after)
    cost += np.einsum("un,uv,vn->n", joint, team.joint_action_cost, joint)
    np.testing.assert_allclose(step.rewards.sum(axis=1), -cost)


def test_agents_see_the_same_and_with_an_id_themselves() -> None:
    env = made(3)
    seen = env.reset(np.array([4, 5, 6]))[0]
    assert all((seen[a] == env.state()).all() for a in env.agents)
    known = make_batch(NAME_ID, 3).reset(np.array([4, 5, 6]))[0]
    for index, agent in enumerate(env.agents):
        np.testing.assert_array_equal(known[agent][:, :6], seen[agent])
        np.testing.assert_array_equal(known[agent][:, 6:], np.eye(3)[[index] * 3])


def rolled(team: LinearTeam, start: Any, plan: Any) -> float:
    """Return the cost of joint actions (T, 6) from a start without disturbances."""
    cost, state = 0.0, start
    for action in plan:
        state = team.dynamics @ state + team.joint_inputs @ action
        cost += state @ team.state_cost @ state + action @ team.joint_action_cost @ action
    return float(cost)


def closed(team: LinearTeam, start: Any, gains: Any) -> float:
    """Return the cost of u_t = -K_t x_t from a start without disturbances."""
    plan, state = [], start
    for gain in gains:
        plan.append(-gain @ state)
        state = team.dynamics @ state + team.joint_inputs @ plan[-1]
    return rolled(team, start, plan)


@pytest.mark.parametrize("shared", [False, True])
def test_no_plan_of_actions_beats_the_riccati_gains_without_gusts(shared: bool) -> None:
    team = dataclasses.replace(made().team, horizon=6)
    start = np.array([0.3, -0.4, 0.2, 0.1, 0.5, -0.3])
    repeat = np.tile(np.eye(2), (3, 1)) if shared else np.eye(6)  # from what is chosen to the joint

    def cost(plan: Any) -> float:
        return rolled(team, start, plan.reshape(6, -1) @ repeat.T)

    found = minimize(cost, np.zeros(6 * repeat.shape[1]), method="BFGS", options={"gtol": 1e-6})
    gains = best_shared_gains(team) if shared else optimal_gains(team)
    assert closed(team, start, gains) == pytest.approx(found.fun, rel=1e-7)


def test_a_direct_search_over_shared_policies_finds_the_sharing_bound() -> None:
    # Stationary and random policies are among them: 12 gains, an offset and a deviation of their
    # own in each of 2 steps, and the cost with gusts written out as covariances.
    team = dataclasses.replace(made().team, horizon=2)
    gust = team.disturbance @ team.disturbance.T * GUST**2

    def cost(numbers: Any) -> float:
        mean, total = np.zeros(6), 0.0
        spread: Any = np.diag(team.start_reach**2 / 3)
        for own in numbers.reshape(2, 15):
            gain, offset = np.tile(own[:12].reshape(2, 6), (3, 1)), np.tile(own[12:14], 3)
            action = offset - gain @ mean
            drawn = np.eye(6) * own[14] ** 2  # independent among the agents
            total += action @ team.joint_action_cost @ action
            total += np.trace(team.joint_action_cost @ (gain @ spread @ gain.T + drawn))
            mean = team.dynamics @ mean + team.joint_inputs @ action
            after = team.dynamics - team.joint_inputs @ gain
            spread = after @ spread @ after.T + gust
            spread = spread + team.joint_inputs @ drawn @ team.joint_inputs.T
            total += mean @ team.state_cost @ mean + np.trace(team.state_cost @ spread)
        return float(total)

    bound = -exact_return(team, best_shared_gains(team))
    rng = np.random.default_rng(0)
    found = minimize(cost, rng.normal(0, 0.3, 30), method="BFGS", options={"gtol": 1e-5})
    assert found.fun == pytest.approx(bound, rel=1e-6)
    assert np.abs(found.x.reshape(2, 15)[:, 14]).max() < 1e-2  # no randomness helps
    assert bound > -exact_return(team, optimal_gains(team))


def test_gains_of_a_shared_policy_are_equal_and_cost_more() -> None:
    team = made().team
    shared = best_shared_gains(team).reshape(50, 3, 2, 6)
    assert (shared == shared[:, :1]).all()
    assert exact_return(team, optimal_gains(team)) > exact_return(team, best_shared_gains(team))
    # agents that are alike lose nothing by sharing
    alike = dataclasses.replace(team, inputs=np.repeat(team.inputs[:1], 3, axis=0))
    assert exact_return(alike, best_shared_gains(alike)) == pytest.approx(
        exact_return(alike, optimal_gains(alike))
    )


@pytest.mark.parametrize(("agent", "key"), [("optimum", "optimum"), ("best-shared", "best-shared")])
@pytest.mark.parametrize("observe_id", [False, True])
def test_scripted_policies_earn_the_exact_returns(agent: str, key: str, observe_id: bool) -> None:
    episodes = 2000
    env = made(episodes, observe_id=observe_id)
    scripted = scripted_agent(agent, f"pkubench/{NAME_ID if observe_id else NAME}")
    assert isinstance(scripted, Team)
    returns = returns_of(env, scripted)
    error = returns.std() / episodes**0.5
    assert abs(returns.mean() - env.exact_returns[key]) < 3.5 * error
    assert error < 0.012 * abs(env.exact_returns[key])


def test_a_linear_agent_plays_the_matrix_of_its_step() -> None:
    agent = LinearAgent(np.array([[[1.0, 0.0]], [[0.0, -2.0]]]))
    seen = np.array([[0.25, 0.375], [0.75, 0.0625]], dtype=np.float32)
    active = np.ones(2, dtype=bool)
    state, played = agent.begin(np.arange(2)), []
    for _ in range(3):  # the last matrix stays
        action, state = agent.act(seen, state, active)
        played.append(action[:, 0].tolist())
    assert played == [[0.25, 0.75], [-0.75, -0.125], [-0.75, -0.125]]
    around = LinearAgent(np.array([[[4.0, 0.0]]]), np.array([0.5, 9.0]), np.array([0.25]))
    action, _ = around.act(seen, around.begin(np.arange(2)), active)
    assert action[:, 0].tolist() == [-0.75, 1.0]  # 0.25 + 4 (-0.25); 0.25 + 4 (0.25) is clipped


@pytest.mark.parametrize("name", [NAME, NAME_ID])
def test_presets_see_the_size_of_the_state_and_differ_in_sharing_and_sequence_only(
    name: str,
) -> None:
    configs = {}
    for agent in ("happo", "happo-simultaneous", "mappo"):
        config = preset(agent).config(make_task(name))
        assert not config.encoder.layer_norm
        configs[agent] = as_plain(config)
    plain = configs["happo-simultaneous"]
    assert configs["happo"] == {**plain, "scheme": "sequential"}
    assert configs["mappo"] == {**plain, "shared": True}


def test_doing_nothing_and_random_actions_earn_the_exact_returns() -> None:
    episodes = 2000
    env = made(episodes)
    still = Team({a: LinearAgent(np.zeros((1, 2, 6))) for a in env.agents})
    returns = returns_of(env, still)
    assert abs(returns.mean() - env.exact_returns["no-op"]) < 3.5 * returns.std() / episodes**0.5
    random = make_task(NAME).references["random"]
    # the deviation of an episode is about 80
    assert abs(random.score - env.exact_returns["random"]) < 4 * 85 / random.n**0.5


def test_both_solutions_stay_within_the_bounds_whatever_happens() -> None:
    team = made().team
    for gains, largest in ((optimal_gains(team), 0.847), (best_shared_gains(team), 0.900)):
        assert largest_action(team, gains) == pytest.approx(largest, abs=1e-3)
    # played out with the worst start and gusts for one action of step 2
    first, second = optimal_gains(team)[:2]
    closed_once = team.dynamics - team.joint_inputs @ first
    reached = []
    for row in second:
        start = np.sign(row @ closed_once) * team.start_reach
        gust = np.sign(row @ team.disturbance) * GUST
        reached.append(abs(row @ (closed_once @ start + team.disturbance @ gust)))
    at_first = np.abs(first * team.start_reach).sum(axis=1).max()
    wanted = max(at_first, *reached)
    assert largest_action(team, optimal_gains(team)[:2]) == pytest.approx(wanted)


def test_best_responses_converge_in_turn_and_diverge_at_once() -> None:
    team = made().team
    at_once, in_turn = best_response_factors(team)
    assert at_once == pytest.approx(1.121, abs=1e-3) and in_turn == pytest.approx(0.668, abs=1e-3)
    # played out: each agent minimizes the cost of a noise-free episode by its first action
    start, gains = np.array([0.4, -0.2, 0.3, 0.0, 0.0, 0.0]), optimal_gains(team)
    best, unit = -gains[0] @ start, np.eye(6)

    def cost(action: Any) -> float:
        after = team.dynamics @ start + team.joint_inputs @ action
        first = after @ team.state_cost @ after + action @ team.joint_action_cost @ action
        return float(first) + closed(team, after, gains[1:])

    # differences of a quadratic function are exact derivatives
    slope = np.array([cost(e) - cost(-e) for e in unit]) / 2
    flat = cost(0 * best)
    curvature = np.array([[cost(e + d) - cost(e) - cost(d) + flat for d in unit] for e in unit])
    np.testing.assert_allclose(curvature @ best, -slope, atol=1e-9)
    errors = []
    for is_in_turn in (True, False):
        action = best + 0.1
        for _ in range(30):
            before = action.copy()
            for agent in range(3):
                own = np.arange(2 * agent, 2 * agent + 2)
                seen = action.copy() if is_in_turn else before.copy()
                seen[own] = 0.0
                wanted = -(slope + curvature @ seen)[own]
                action[own] = np.linalg.solve(curvature[np.ix_(own, own)], wanted)
        errors.append(np.abs(action - best).max())
    assert errors[0] < 1e-4 and errors[1] > 0.2


def test_the_stated_returns_are_the_exact_ones() -> None:
    env = made()
    exact = env.exact_returns
    text = type(env).__doc__ or ""
    for value in exact.values():
        assert f"{value:.2f}".replace("-", "\N{MINUS SIGN}") in text
    share = (exact["best-shared"] - exact["no-op"]) / (exact["optimum"] - exact["no-op"])
    assert share == pytest.approx(0.5005, abs=5e-5)
    for name in (NAME, NAME_ID):
        references = make_task(name).references
        assert references["reference"].score == pytest.approx(exact["optimum"], abs=1e-9)
        assert references["no-op"].score == pytest.approx(exact["no-op"], abs=1e-9)
    # with an id, the best shared policy is the optimum
    assert "best-shared" not in references
    assert made(observe_id=True).exact_returns["best-shared"] == exact["optimum"]
    shared = make_task(NAME).references["best-shared"]
    assert shared.score == pytest.approx(exact["best-shared"], abs=1e-9)
    gains = optimal_gains(env.team)
    loss = exact["optimum"] - exact_return(env.team, np.repeat(gains[:1], 50, axis=0))
    assert 0 < loss < 1e-3


def test_another_time_limit_has_its_own_optimum() -> None:
    assert made(max_episode_steps=10).team.horizon == 10
    assert made(max_episode_steps=10).exact_returns["optimum"] > made().exact_returns["optimum"]


def test_an_evaluation_of_the_optimum_is_the_reference() -> None:
    report = pkubench.evaluate("scripted:optimum", NAME, episodes=300, workers=0)
    found = report.metrics["return"]
    assert found.low is not None and found.high is not None
    assert found.low - 0.2 < make_task(NAME).references["reference"].score < found.high + 0.2


def test_the_best_shared_policy_is_known_here_only() -> None:
    with pytest.raises(AgentError, match="linear-quadratic teams"):
        scripted_agent("best-shared", "pkubench/SimpleSpread-v0")


def test_pictures_show_the_load_and_the_pushes() -> None:
    env = made(2)
    first = env.render(0)
    assert first.shape == (480, 480, 3) and (first != env.render(1)).any()
    env.positions[:, 1] = env.positions[:, 0]
    assert (first == env.render(1)).all()
    env._actions[2, 0, 1] = 1.0
    assert (first != env.render(1)).any()
    assert PUSHES.shape == (3, 3, 2) and carriers.DT == 0.4
