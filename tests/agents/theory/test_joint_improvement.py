"""The theorems behind sequential updates, on games where every quantity is exact.

The learner is the shipped one: softmax tables are its networks without hidden layers, on one-hot
states, and its batch is every (state, joint action) once, weighted inside the advantage.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import Advantages, OnPolicyLearner
from pkubench.agents.rl.rollout import Rollout
from pkubench.agents.rl.update_rules.base import surrogate
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from tests.agents.configs import config_of, with_changes
from tests.agents.theory.tabular import Floats, TabularGame, along, random_policies

ACTIONS = (2, 3, 4)
TABLES = config_of(
    scheme="sequential",
    update="trust-region",
    hidden=(),
    layer_norm=False,
    actor_gain=1.0,
    cg_damping=1e-3,
)


class _Spaces(BatchEnv):
    """The shapes of a game, for building its learner; it is never stepped."""

    def __init__(self, game: TabularGame) -> None:
        super().__init__(1, None)
        self.agents = tuple(f"agent{k}" for k in range(len(game.actions)))
        box = spaces.Box(0.0, 1.0, (game.states,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = {
            a: spaces.Discrete(n) for a, n in zip(self.agents, game.actions, strict=True)
        }

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        raise AssertionError

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        raise AssertionError

    def _observe(self) -> dict[str, Array]:
        raise AssertionError

    def render(self, index: int = 0) -> Any:
        raise AssertionError


class _Tables:
    """A game and the shipped learner on it."""

    def __init__(self, game: TabularGame, config: OnPolicyConfig, seed: int) -> None:
        self.game, self.rows = game, game.rows()
        self.learner = OnPolicyLearner(_Spaces(game), config, seed)

    def policies(self) -> list[Floats]:
        """Return the actors' probabilities, one table (S, A) per agent."""
        states = torch.eye(self.game.states)
        with torch.no_grad():
            return [
                self.learner.actors[a](states).log_p.double().exp().numpy()  # type: ignore[union-attr]
                for a in self.learner.agents
            ]

    def update(self) -> dict[str, float]:
        """Update the actors once on exact expectations."""
        game, learner, rows = self.game, self.learner, self.rows
        policies = self.policies()
        agents = len(learner.agents)
        weight = game.joint(policies) * game.visits(policies).reshape(-1, *[1] * agents)
        advantage = torch.from_numpy((weight * game.advantage(policies)).reshape(-1)).float()
        states = np.eye(game.states, dtype=np.float32)[rows[:, 0]][:, None]
        actions = {a: rows[:, k + 1][:, None] for k, a in enumerate(learner.agents)}
        log_probs = {
            a: np.log(policies[k][rows[:, 0], rows[:, k + 1]]).astype(np.float32)[:, None]
            for k, a in enumerate(learner.agents)
        }
        nothing = np.zeros((len(rows), 1), np.float32)
        data = Rollout(
            observations=dict.fromkeys(learner.agents, states),
            states=states,
            actions=actions,
            log_probs=log_probs,
            masks={},
            rewards=np.zeros((len(rows), 1, agents)),
            costs=nothing,
            terminated=nothing > 0,
            truncated=nothing > 0,
            next_observations=dict.fromkeys(learner.agents, states),
            next_states=states,
            first=nothing == 0,
            valid=nothing == 0,
        )
        # mean over rows times the number of rows is the weighted sum over them
        advantages = Advantages([advantage * len(rows)] * agents, None)
        if learner.config.scheme == "simultaneous":
            return learner._update_simultaneously(data, advantages)
        return learner._update_sequentially(data, advantages)


def _kl(old: Floats, new: Floats) -> float:
    return float((old * np.log(old / new)).sum(1).mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_advantage_is_the_sum_of_local_ones_in_every_order(seed: int) -> None:
    game = TabularGame.random(seed, 4, ACTIONS, 0.9)
    policies = random_policies(seed + 100, game)
    wanted = game.advantage(policies)
    for order in itertools.permutations(range(len(ACTIONS))):
        total = np.zeros_like(wanted)
        for m, agent in enumerate(order):
            before = game.partial_q(policies, order[:m])
            local = game.partial_q(policies, order[: m + 1]) - before
            # a local advantage averages to zero over the agent's own policy
            own = (local * along(policies[agent], agent, len(ACTIONS))).sum(agent + 1)
            np.testing.assert_allclose(own, 0.0, atol=1e-12)
            total = total + local
        np.testing.assert_allclose(total, wanted, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("radius", [0.002, 0.02])
def test_hatrpo_stays_in_its_ball_and_the_joint_return_never_falls(
    seed: int, radius: float
) -> None:
    game = TabularGame.random(seed, 5, ACTIONS, 0.9)
    config = with_changes(TABLES, kl_limit=radius)
    tables = _Tables(game, config, seed)
    returns, moved = [game.objective(tables.policies())], []
    for _ in range(25):
        old = tables.policies()
        report = tables.update()
        new = tables.policies()
        kls = [_kl(o, n) for o, n in zip(old, new, strict=True)]
        assert max(kls) < radius * 1.001  # the learner's own KL is in single precision
        assert report["kl"] == pytest.approx(np.mean(kls), rel=2e-2, abs=1e-6)
        moved.append(max(kls))
        returns.append(game.objective(new))
    assert min(np.diff(returns)) > -1e-6
    assert max(moved) > 0.4 * radius  # the ball is used, not only respected
    share = (returns[-1] - returns[0]) / (game.upper_bound() - returns[0])
    assert share > (0.2 if radius == 0.002 else 0.5)


@pytest.mark.parametrize("scheme", ["sequential", "simultaneous"])
def test_without_the_sequence_the_same_steps_lower_the_joint_return(scheme: Any) -> None:
    """Two agents are paid for differing and lean the same way: each alone should change sides."""
    game = TabularGame(1.0 - np.eye(2)[None], np.ones((1, 2, 2, 1)), np.ones(1), 0.0)
    for seed in range(4):
        tables = _Tables(game, with_changes(TABLES, scheme=scheme, kl_limit=0.5), seed)
        with torch.no_grad():
            for actor in tables.learner.actors.values():
                actor.net.head.weight.zero_()
                actor.net.head.bias.copy_(torch.tensor([0.6, 0.4]).log())
        assert game.objective(tables.policies()) == pytest.approx(0.48, abs=1e-6)
        tables.update()
        after = game.objective(tables.policies())
        if scheme == "sequential":
            assert after > 0.6
        else:
            assert after < 0.4


def test_the_product_of_ratios_is_the_exact_joint_ratio_after_a_sweep() -> None:
    game = TabularGame.random(3, 4, ACTIONS, 0.9)
    tables = _Tables(game, with_changes(TABLES, kl_limit=0.05), 3)
    update, seen = tables.learner._update_actor, []

    def spy(name: str, samples: Any) -> Any:
        report = update(name, samples)
        with torch.no_grad():
            now = samples.policy(tables.learner.actors[name]).log_prob(samples.actions)
        seen.append(samples.factor * (now - samples.log_probs).exp())
        return report

    tables.learner._update_actor = spy  # type: ignore[method-assign]
    old = game.joint(tables.policies())
    tables.update()
    wanted = (game.joint(tables.policies()) / old).reshape(-1)
    assert np.abs(wanted - 1.0).max() > 0.1
    np.testing.assert_allclose(seen[-1].numpy(), wanted, rtol=1e-4)


def test_the_gradient_that_haa2c_follows_is_that_of_the_exact_joint_return() -> None:
    """At M = 1 by the policy-gradient theorem; for later agents given the updated earlier ones."""
    game = TabularGame.random(7, 4, ACTIONS, 0.9)
    old, earlier = random_policies(1, game), random_policies(2, game)
    rows = game.rows()
    weight = game.joint(old) * game.visits(old).reshape(-1, 1, 1, 1)
    sampled = torch.from_numpy((weight * game.advantage(old)).reshape(-1)) * len(rows)
    for updated in (0, 1):
        logits = torch.log(torch.from_numpy(old[1])).requires_grad_()
        log_p = torch.log_softmax(logits, -1)[rows[:, 0], rows[:, 2]]
        ratio = (log_p - torch.from_numpy(np.log(old[1][rows[:, 0], rows[:, 2]]))).exp()
        mixed = [earlier[0] if updated else old[0], old[1], old[2]]
        factor = (mixed[0] / old[0])[rows[:, 0], rows[:, 1]]
        objective = surrogate(ratio, sampled, torch.from_numpy(factor))
        (found,) = torch.autograd.grad(objective, logits)

        def exact(table: Floats, mixed: list[Floats] = mixed) -> float:
            """J itself, or its first-order part in the agents that have not moved."""
            probabilities = np.exp(table) / np.exp(table).sum(1, keepdims=True)
            policies = [mixed[0], probabilities, mixed[2]]
            if mixed[0] is old[0]:
                return game.objective(policies) * (1.0 - game.gamma)
            local = (game.joint(policies) * game.advantage(old)).sum(game.axes)
            return float(game.visits(old) @ local)

        table = np.log(old[1])
        for index in np.ndindex(*table.shape):
            step = np.zeros_like(table)
            step[index] = 1e-5
            slope = (exact(table + step) - exact(table - step)) / 2e-5
            assert float(found[index]) == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("update", ["a2c", "ppo-clip"])
def test_a_short_first_pass_of_haa2c_and_happo_raises_the_joint_return(update: Any) -> None:
    """Adam's first step has the signs of the gradient, so it ascends where steps are short."""
    changes = {"update": update, "epochs": 1, "actor_lr": 1e-3}
    for seed in range(12):
        game = TabularGame.random(seed, 5, ACTIONS, 0.9)
        tables = _Tables(game, with_changes(TABLES, **changes), seed)
        before = game.objective(tables.policies())
        tables.update()
        assert game.objective(tables.policies()) > before + 1e-4
