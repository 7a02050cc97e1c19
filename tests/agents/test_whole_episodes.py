"""Rollouts of whole episodes: what lies behind an episode's end has no effect on anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.training.session import train
from tests.agents.configs import config_of
from tests.agents.toy_envs import SharingEnv, task_of


class Unlike(BatchEnv):
    """Two agents; episodes of 1 to 6 steps, by their seeds, of which 5 and 6 are cut at 4.

    What it returns for environments that are not active is not a number.
    """

    default_horizon = 4

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        box = spaces.Box(-9.0, 9.0, (3,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = {"a": spaces.Discrete(3), "b": spaces.Box(-1.0, 1.0, (2,), np.float32)}
        self.length = np.ones(num_envs, np.int64)
        self.at = np.zeros(num_envs)
        self.idle = np.zeros(num_envs, np.bool_)
        self.begun: list[int] = []

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.length[ids], self.at[ids], self.idle[ids] = 1 + seeds % 6, 0.0, False
        self.begun += seeds.tolist()

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self.idle = np.zeros(self.num_envs, np.bool_) if active is None else ~active
        self.at += 1.0
        move = (actions["a"] - 1) * np.sin(self.at) + actions["b"].sum(1) / 3.0
        move[self.idle] = np.nan
        return np.stack([move, 0.5 * move], 1), self.at >= self.length, self._info()

    def _observe(self) -> dict[str, Array]:
        seen = np.stack([self.at, self.length, np.cos(self.at)], 1).astype(np.float32)
        seen[self.idle] = np.nan
        return {"a": seen, "b": -seen}

    def _info(self) -> Info:
        legal = np.stack([np.ones_like(self.at), self.at % 2, 1 - self.at % 2], 1)
        legal[self.idle] = 0
        cost = np.where(self.idle, np.nan, (self.at > 0) * np.abs(np.cos(self.at)))
        return {"action_mask:a": legal.astype(np.int8), "cost": cost}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def made(config: OnPolicyConfig, seed: int = 3) -> tuple[OnPolicyLearner, Collector]:
    env = Unlike(config.num_envs)
    learner = OnPolicyLearner(env, config, seed)
    return learner, Collector(
        env, seed, config.window, learner.inputs, cost_limit=1.0, units=learner.units
    )


def collected(learner: OnPolicyLearner, collector: Collector) -> Rollout:
    steps = learner.config.rollout_steps
    return collector.collect(steps, learner.behave, False, whole_episodes=True)


SMALL: dict[str, Any] = {
    "rollout": "episodes",
    "num_envs": 5,
    "rollout_steps": 6,
    "hidden": (8,),
    "epochs": 2,
    "critic_epochs": 2,
    "actor_lr": 5e-3,
    "critic_lr": 5e-3,
}


def test_a_rollout_has_whole_episodes_of_at_least_the_steps_and_no_more_than_needed() -> None:
    learner, collector = made(config_of(**SMALL))
    env, lengths = collector.env, []
    assert isinstance(env, Unlike)
    for _ in range(2):
        env.begun.clear()
        data = collected(learner, collector)
        ended = data.terminated | data.truncated
        steps = data.valid.sum(0)
        assert not data.rewards[~data.valid].any() and not data.costs[~data.valid].any()
        assert steps.min() >= 6 and steps.max() == len(data.valid)
        for index, count in enumerate(steps):
            assert data.valid[:count, index].all() and not data.valid[count:, index].any()
            assert ended[count - 1, index] and not ended[count:, index].any()
            starts = np.flatnonzero(data.first[:, index])
            assert starts.tolist() == [0, *(np.flatnonzero(ended[: count - 1, index]) + 1)]
            assert starts[-1] < 6  # the last episode was needed
            lengths += np.diff([*starts, count]).tolist()
        assert len(env.begun) == ended.sum() == data.first.sum()
        wanted = sorted(min(1 + seed % 6, 4) for seed in env.begun)
        assert wanted == sorted(lengths[-len(env.begun) :])
    assert set(lengths) == {1, 2, 3, 4} and data.truncated.any() and data.terminated.any()
    window = collector.window
    assert [*window.lengths] and sorted(window.lengths) == sorted(map(float, lengths))
    costs = {n: sum(abs(math.cos(k)) for k in range(1, n + 1)) for n in range(1, 5)}
    for length, cost in zip(window.lengths, window.costs, strict=True):
        assert cost == pytest.approx(costs[int(length)])
    assert all(map(math.isfinite, window.returns))


KINDS: dict[str, dict[str, Any]] = {
    "sequential, by autograd": {"scheme": "sequential", "gradients": "autograd"},
    "sequential, fast": {"scheme": "sequential", "minibatches": 3, "target_kl": 0.01},
    "local critics": {"critic": "local", "constraint": "lagrangian", "value_norm": False},
    "own rewards": {"credit": "own-reward", "minibatches": 2},
    "trust region": {"scheme": "sequential", "update": "trust-region", "fisher_every": 2},
    "cost": {"constraint": "p3o"},
    "corrected": {"constraint": "cup"},
    "memory": {"memory": "gru", "minibatches": 2, "constraint": "lagrangian"},
    "normalised": {
        "observation_norm": True,
        "signal_norm": True,
        "constraint": "lagrangian",
        "truncation": "official",
    },
}


def weights_of(learner: OnPolicyLearner) -> list[torch.Tensor]:
    nets = [*learner.actors.values(), *(c.net for stack in learner.stacks for c in stack.members)]
    return [p.detach().clone() for net in nets for p in net.parameters()]


def with_junk(data: Rollout) -> Rollout:
    """Return a rollout with NaN, wild integers and flags wherever it is not valid."""
    found: dict[str, Any] = {}
    for field in fields(Rollout):
        value = getattr(data, field.name)
        if field.name in ("valid", "hidden") or value is None:
            found[field.name] = value
        elif isinstance(value, dict):
            found[field.name] = {k: _junk(a, data.valid) for k, a in value.items()}
        else:
            found[field.name] = _junk(value, data.valid)
    return Rollout(**found)


def _junk(array: Array, valid: Array) -> Array:
    array = array.copy()
    array[~valid] = {"f": np.nan, "i": 0, "b": True}[array.dtype.kind]
    if array.dtype == np.int64:
        array[~valid] = 999
    return array


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_valid_changes_nothing(kind: str) -> None:
    results = []
    for spoil in (with_junk, lambda data: data, Rollout.with_blank_padding):
        learner, collector = made(config_of(**SMALL | KINDS[kind]))
        for _ in range(2):
            data = collected(learner, collector)
            assert not data.valid.all()
            metrics = learner.update(spoil(data), 2.0, 0.0, 3.0)
            assert all(map(math.isfinite, metrics.values())), metrics
        results.append(weights_of(learner))
    for ours in results[1:]:
        assert all(map(torch.equal, results[0], ours))
    assert all(bool(w.isfinite().all()) for w in results[0])


def test_running_moments_are_of_valid_steps_only() -> None:
    learner, collector = made(config_of(**SMALL | KINDS["normalised"]))
    data = collected(learner, collector)
    learner.update(data, 2.0, 0.0, 3.0)
    valid, number = data.valid, data.valid.shape[1]
    for name, signal in (("rewards", data.rewards.sum(-1)), ("costs", data.costs)):
        norm = learner.signals.norms[name]
        assert norm.count == valid.sum() < valid.size
        assert norm.mean[0] == pytest.approx(signal[valid].mean(), abs=1e-6)
    together = (data.terminated | data.truncated)[: SMALL["rollout_steps"] - 1].all(1).sum()
    for norm in learner.inputs.norms.values():  # first observations count where all begin at once
        assert norm.count == valid.sum() + number * (1 + together)


def episodes_of(data: Rollout) -> list[tuple[int, slice]]:
    """The environment and the steps of each episode, in the order of the flattened rollout."""
    found = []
    for index in range(data.valid.shape[1]):
        count = int(data.valid[:, index].sum())
        starts = [*np.flatnonzero(data.first[:, index]).tolist(), count]
        found += [(index, slice(a, b)) for a, b in itertools.pairwise(starts)]
    return found


def advantages_by_hand(
    data: Rollout, values: Array, after: Array, rewards: Array, config: OnPolicyConfig, lam: float
) -> list[float]:
    """GAE of each episode by its sum, ``A_t = sum_k (gamma lam)^k delta_{t+k}``, concatenated."""
    found: list[float] = []
    for index, steps in episodes_of(data):
        r, v, ended = rewards[steps, index], values[steps, index], data.terminated[steps, index]
        following = np.append(v[1:], after[steps, index][-1])
        delta = r + config.gamma * np.where(ended, 0.0, following) - v
        weights = (config.gamma * lam) ** np.arange(len(delta))
        found += [float(delta[t:] @ weights[: len(delta) - t]) for t in range(len(delta))]
    return found


def test_an_update_equals_one_by_hand_on_the_concatenated_valid_steps() -> None:
    """PPO with a Lagrange multiplier, from the formulas, in float64 and with torch's own Adam."""
    config = config_of(**SMALL | {"constraint": "lagrangian", "value_norm": False, "epochs": 3})
    learner, collector = made(config)
    data = collected(learner, collector)
    places = [(t, i) for i, steps in episodes_of(data) for t in range(steps.start, steps.stop)]
    at = tuple(np.array(places).T)
    assert len(places) == data.valid.sum() < data.valid.size

    def rows(array: Array) -> torch.Tensor:
        found = torch.from_numpy(np.ascontiguousarray(array[at]))
        return found if found.dtype == torch.int64 else found.double()

    critics = [critic.net.double() for critic in _copies(learner, data)]
    estimates = []
    for net, signal, lam in (
        (critics[0], data.rewards.sum(-1), config.lam),
        (critics[1], data.costs, config.cost_lam),
    ):
        with torch.no_grad():
            v, after = (
                net(torch.from_numpy(of).double())[..., 0].numpy()
                for of in (data.states, data.next_states)
            )
        advantage = np.array(advantages_by_hand(data, v, after, signal, config, lam))
        estimates.append((advantage, advantage + v[at]))
    (of_reward, returns), (of_cost, cost_returns) = estimates
    multiplier = 0.001 + 0.035 * (2.0 - config.constraint.cost_limit)  # type: ignore[attr-defined]
    multiplier = max(multiplier, 0.0)
    standard = (of_reward - of_reward.mean()) / (of_reward.std() + config.advantage_epsilon)
    mixed = (standard - multiplier * (of_cost - of_cost.mean())) / (1.0 + multiplier)
    expected: dict[str, list[torch.Tensor]] = {}
    for agent in learner.agents:
        actor = _copy_of(learner, agent)
        adam = torch.optim.Adam(actor.parameters(), lr=5e-3, eps=config.adam_epsilon)
        seen, actions, old = (
            rows(of[agent]) for of in (data.observations, data.actions, data.log_probs)
        )
        mask = rows(data.masks[agent]) if agent in data.masks else None
        for _ in range(3):
            pi = actor(seen, mask)
            ratio, a = (pi.log_prob(actions) - old).exp(), torch.from_numpy(mixed)
            clipped = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
            loss = -clipped.mean() - 0.01 * pi.entropy().mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), config.max_grad_norm)
            adam.step()
        expected[agent] = [p.detach() for p in actor.parameters()]
    trained = [
        _fitted(net, rows(data.states), targets, config)
        for net, targets in zip(critics, (returns, cost_returns), strict=True)
    ]

    learner.update(data, 2.0, 0.0, 3.0)
    for agent, weights in expected.items():
        for ours, slow in zip(learner.actors[agent].parameters(), weights, strict=True):
            torch.testing.assert_close(ours.detach().double(), slow, atol=2e-5, rtol=0)
    for critic, net in zip(learner.stacks[0].members, trained, strict=True):
        for ours, slow in zip(critic.net.parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(ours.detach().double(), slow.detach(), atol=2e-5, rtol=0)


def _copies(learner: OnPolicyLearner, data: Rollout) -> list[Any]:
    """The critics of a learner of the same seed, which are not trained."""
    return made(learner.config)[0].stacks[0].members


def _copy_of(learner: OnPolicyLearner, agent: str) -> Any:
    return made(learner.config)[0].actors[agent].double()


def _fitted(net: Any, states: torch.Tensor, targets: Array, config: OnPolicyConfig) -> Any:
    """Two passes of Adam on the clipped Huber loss of all valid steps together."""
    adam = torch.optim.Adam(net.parameters(), lr=5e-3, eps=config.adam_epsilon)
    wanted = torch.from_numpy(targets)
    with torch.no_grad():
        before = net(states)[:, 0]
    for _ in range(2):
        value = net(states)[:, 0]
        near = before + (value - before).clamp(-0.2, 0.2)
        losses = [
            torch.nn.functional.huber_loss(v, wanted, reduction="none", delta=10.0)
            for v in (value, near)
        ]
        adam.zero_grad()
        torch.maximum(*losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.max_grad_norm)
        adam.step()
    return net


@pytest.mark.parametrize("agent", ["happo", "hatrpo"])
def test_episodes_that_fill_the_rollout_train_as_steps_do(tmp_path: Path, agent: str) -> None:
    small = {"num_envs": "8", "rollout_steps": "8", "hidden": "[16]", "minibatches": "2"}
    for rollout in ("steps", "episodes"):
        settings = {**small, "rollout": rollout}
        [*_] = train(
            agent,
            task_of(SharingEnv),
            seed=0,
            steps=192,
            settings=settings,
            out=tmp_path / rollout,
        )
    for name in ("weights.safetensors", "training.jsonl"):
        found = [
            (tmp_path / rollout / name).read_text("latin-1") for rollout in ("steps", "episodes")
        ]
        if name == "training.jsonl":
            found = [text.split('"seconds"')[0].split('"steps_per_second"')[0] for text in found]
        assert found[0] == found[1]


def test_a_run_of_whole_episodes_counts_its_steps_and_resumes_to_the_same_bits(
    tmp_path: Path,
) -> None:
    how: dict[str, Any] = {
        "seed": 0,
        "steps": 200,
        "settings": {
            "rollout": "episodes",
            "num_envs": "5",
            "rollout_steps": "6",
            "hidden": "[8]",
            "memory": "gru",
        },
    }
    task = task_of(Unlike)
    whole = [*train("happo", task, out=tmp_path / "whole", **how)]
    run = train("happo", task, out=tmp_path / "parts", **how)
    for _ in range(3):
        next(run)
    run.close()
    rest = [*train("happo", task, out=tmp_path / "parts", resume=True, **how)]
    assert [report.steps for report in rest] == [report.steps for report in whole[3:]]
    counts = np.diff([0, *(report.steps for report in whole)])
    assert counts.min() >= 30 and len(set(counts.tolist())) > 1
    found = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts")]
    assert found[0] == found[1]
