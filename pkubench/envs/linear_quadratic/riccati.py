"""Exact solutions of linear-quadratic teams: the optimum, and the best policy that agents share.

Every agent observes the whole state x, and the team minimises the expectation of

    sum_{t=0}^{T-1}  x_{t+1}' Q x_{t+1} + sum_i u_{i,t}' R_i u_{i,t},
    x_{t+1} = A x_t + sum_i B_i u_{i,t} + G w_t,

where start and disturbances w are independent with mean 0. Stack the agents' actions as u, with
B = (B_1, ..., B_n) and R = diag(R_1, ..., R_n).

**Separate policies.** The team is one controller of u. The cost to go is x' P_t x plus a constant,
with P_T = 0, S_t = Q + P_{t+1}, gains K_t = (R + B' S_t B)^-1 B' S_t A and
P_t = A' S_t (A - B K_t) (the Riccati recursion; Bertsekas, "Dynamic Programming and Optimal
Control", vol. 1, section 3.1). No policy, of whatever form, costs less than u_t = -K_t x_t.

**A shared policy.** Agents that share a policy and observe the same draw their actions from one
distribution, independently, with a mean m_t(x) and a covariance C_t(x). Let x' P x + c be a lower
bound of the cost to go from step t + 1. The cost to go from t is then at least the expectation of
a convex quadratic function of u. By Jensen's inequality it is at least that function at the mean
u = (m, ..., m), and equal to it only if C_t(x) = 0. So random actions do not help, and what is left
is one controller of m with B = sum_i B_i and R = sum_i R_i, which the same recursion solves. Its
cost is the least of all shared policies without memory: deterministic or stochastic, linear or not,
with a clock or without. Memory is excluded because an agent that remembers its own random actions
could infer from their effects which body it has.

Bounds of the actions do not matter to either result as long as the solution stays inside them:
``largest_action`` bounds it over every possible episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pkubench.envs.core.batch import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearTeam:
    """A linear-quadratic problem of a team; all arrays float64."""

    dynamics: FloatArray
    """A, (states, states)."""
    inputs: FloatArray
    """B_i, (agents, states, actions)."""
    disturbance: FloatArray
    """G, (states, disturbances)."""
    state_cost: FloatArray
    """Q, (states, states)."""
    action_cost: FloatArray
    """R_i, (agents, actions, actions)."""
    horizon: int
    """T."""
    start_reach: FloatArray
    """(states,): start states are uniform within plus and minus this."""
    disturbance_size: FloatArray
    """(disturbances,): a disturbance is plus or minus this, with equal probabilities."""

    @property
    def joint_inputs(self) -> FloatArray:
        """B, (states, agents * actions)."""
        return np.concatenate(list(self.inputs), axis=1)

    @property
    def joint_action_cost(self) -> FloatArray:
        """R, (agents * actions, agents * actions), block-diagonal."""
        agents, actions = self.action_cost.shape[:2]
        joint: FloatArray = np.zeros((agents, actions, agents, actions))
        for i, block in enumerate(self.action_cost):
            joint[i, :, i] = block
        return joint.reshape(agents * actions, -1)


def optimal_gains(team: LinearTeam) -> FloatArray:
    """Return K_t of the optimum, (T, agents * actions, states): the joint action is -K_t x."""
    return _riccati(team, team.joint_inputs, team.joint_action_cost)[0]


def best_shared_gains(team: LinearTeam) -> FloatArray:
    """Return K_t of the best shared policy in the joint form (T, agents * actions, states).

    The gains of the agents are equal.
    """
    gains, _ = _riccati(team, team.inputs.sum(axis=0), team.action_cost.sum(axis=0))
    return np.tile(gains, (1, len(team.inputs), 1))


def _riccati(
    team: LinearTeam, inputs: FloatArray, action_cost: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the gains (T, actions, states) and P_0 (states, states)."""
    cost_to_go = np.zeros_like(team.dynamics)
    gains = []
    for _ in range(team.horizon):
        weight = team.state_cost + cost_to_go
        gain = np.linalg.solve(
            action_cost + inputs.T @ weight @ inputs, inputs.T @ weight @ team.dynamics
        )
        cost_to_go = team.dynamics.T @ weight @ (team.dynamics - inputs @ gain)
        gains.append(gain)
    return np.stack(gains[::-1]), cost_to_go


def exact_return(team: LinearTeam, gains: FloatArray, action_variance: float = 0.0) -> float:
    """Return minus the expected cost of u_t = -K_t x_t + noise, from the covariances of the states.

    Args:
        team: the problem.
        gains: (T, agents * actions, states); zeros for a policy that does nothing.
        action_variance: of independent noise in every action.
    """
    inputs, action_cost = team.joint_inputs, team.joint_action_cost
    states = np.diag(team.start_reach**2 / 3)  # the variance of a uniform number is reach^2 / 3
    disturbed = team.disturbance * team.disturbance_size  # of the variance size^2
    added = disturbed @ disturbed.T + action_variance * inputs @ inputs.T
    cost = team.horizon * action_variance * np.trace(action_cost)
    for gain in gains:
        cost += np.trace(gain.T @ action_cost @ gain @ states)
        closed = team.dynamics - inputs @ gain
        states = closed @ states @ closed.T + added
        cost += np.trace(team.state_cost @ states)
    return -float(cost)


def largest_action(team: LinearTeam, gains: FloatArray) -> float:
    """Return the largest absolute action of u_t = -K_t x_t over all starts and disturbances.

    An action is a linear function of start and disturbances, whose sizes are
    bounded, so its largest value is the sum of the absolute coefficients times their sizes.
    """
    sources: Sequence[FloatArray] = [np.diag(team.start_reach)]
    largest = 0.0
    for gain in gains:
        reached = sum(np.abs(gain @ source).sum(axis=1) for source in sources)
        largest = max(largest, float(np.max(reached)))
        closed = team.dynamics - team.joint_inputs @ gain
        sources = [closed @ source for source in sources]
        sources.append(team.disturbance * team.disturbance_size)
    return largest


def best_response_factors(team: LinearTeam) -> tuple[float, float]:
    """Return by what the error of the joint action changes per sweep of exact best responses.

    At the first step, with the optimum played afterwards, the cost of the joint action is quadratic
    with the Hessian H = R + B' S_0 B. When every agent jumps to its best response to the actions of
    the others, the error is multiplied by a matrix; its spectral radius is returned, for all agents
    at once (block Jacobi) and in turn (block Gauss-Seidel). In turn it is below 1 because H is
    positive definite; above 1, updates at once move away from the optimum.
    """
    inputs = team.joint_inputs
    _, cost_to_go = _riccati(team, inputs, team.joint_action_cost)
    hessian = team.joint_action_cost + inputs.T @ (team.state_cost + cost_to_go) @ inputs
    agents, _, actions = team.inputs.shape
    owner = np.repeat(np.arange(agents), actions)
    unit = np.eye(len(hessian))
    at_once, in_turn = (
        float(np.abs(np.linalg.eigvals(unit - np.linalg.solve(hessian * kept, hessian))).max())
        for kept in (owner[:, None] == owner, owner[:, None] >= owner)
    )
    return at_once, in_turn
