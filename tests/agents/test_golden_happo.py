"""Two HAPPO updates on stored batches against HARL's formulas, worked out here in float64.

Nothing of the package is used but the initial weights and the order of its random draws: networks,
distributions, Adam, GAE, the value normaliser and the losses are written again. Advantages and
value errors are large and clips narrow, so that every rule is at work; the second batch finds a
normaliser with data, and decayed learning rates.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.nn.normalisers import ValueNorm
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Rollout
from tests.agents.configs import config_of

Weights = dict[str, Tensor]
T, N, BATCH, PARTS = 6, 4, 24, 2
GAMMA, LAM, CLIP, ENTROPY, HUBER = 0.9, 0.8, 0.05, 0.03, 0.4
ACTOR_LR, CRITIC_LR, EPOCHS, CRITIC_EPOCHS, VALUE_CLIP, NORM = 4e-3, 7e-3, 4, 3, 0.02, 0.3
SIZES = {"left": (4, spaces.Discrete(3)), "arm": (3, 2), "right": (2, spaces.Discrete(2))}
STATE = 5
TEAM: Any = SimpleNamespace(
    agents=tuple(SIZES),
    observation_spaces={a: spaces.Box(-9, 9, (size,)) for a, (size, _) in SIZES.items()},
    action_spaces={
        a: act if isinstance(act, spaces.Discrete) else spaces.Box(-1, 1, (act,))
        for a, (_, act) in SIZES.items()
    },
    state_space=spaces.Box(-9, 9, (STATE,)),
    max_episode_steps=None,
)
CONFIG: dict[str, Any] = {
    "scheme": "sequential",
    "num_envs": N,
    "rollout_steps": T,
    "gamma": GAMMA,
    "lam": LAM,
    "hidden": (7, 6),
    "clip": CLIP,
    "entropy": ENTROPY,
    "epochs": EPOCHS,
    "minibatches": PARTS,
    "actor_lr": ACTOR_LR,
    "critic_lr": CRITIC_LR,
    "critic_epochs": CRITIC_EPOCHS,
    "value_clip": VALUE_CLIP,
    "huber_delta": HUBER,
    "max_grad_norm": NORM,
    "actor_gain": 0.5,
}


def layer_norm(x: Tensor, w: Weights, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def network(x: Tensor, w: Weights) -> Tensor:
    """HARL's base and head: LayerNorm, then [linear, ReLU, LayerNorm] twice, then linear."""
    x = layer_norm(x, w, "norms.0")
    for k in (0, 1):
        x = (x @ w[f"linears.{k}.weight"].T + w[f"linears.{k}.bias"]).relu()
        x = layer_norm(x, w, f"norms.{k + 1}")
    return x @ w["head.weight"].T + w["head.bias"]


def log_prob_and_entropy(x: Tensor, actions: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    out = network(x, w)
    if "log_std" not in w:
        log_p = out - out.logsumexp(-1, keepdim=True)
        chosen = log_p[torch.arange(len(x)), actions]
        return chosen, -(log_p.exp() * log_p).sum(-1).mean()
    std = 0.5 / (1.0 + (-w["log_std"]).exp())
    log_p = -0.5 * ((actions - out) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
    entropy = 0.5 * (1 + math.log(2 * math.pi)) + std.log()
    return log_p.sum(-1), entropy.sum()


class Adam:
    """Kingma & Ba 2015, with the gradient scaled to a maximum norm before."""

    def __init__(self, w: Weights) -> None:
        self.w, self.t = w, 0
        self.m = {name: torch.zeros_like(p) for name, p in w.items()}
        self.v = {name: torch.zeros_like(p) for name, p in w.items()}

    def step(self, loss: Tensor, lr: float) -> None:
        names = list(self.w)
        found = torch.autograd.grad(loss, [self.w[name] for name in names])
        norm = math.sqrt(sum(float(g.pow(2).sum()) for g in found))
        scale = min(1.0, NORM / (norm + 1e-6))
        self.t += 1
        for name, gradient in zip(names, found, strict=True):
            g = gradient * scale
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.999 * self.v[name] + 0.001 * g * g
            m_hat = self.m[name] / (1 - 0.9**self.t)
            v_hat = self.v[name] / (1 - 0.999**self.t)
            with torch.no_grad():
                self.w[name] -= lr * m_hat / (v_hat.sqrt() + 1e-5)


class Normaliser:
    """HARL's ``ValueNorm``: averages of x, x^2 and 1 that all begin at 0."""

    def __init__(self) -> None:
        self.mean = self.square = self.weight = 0.0

    def update(self, x: Tensor) -> None:
        keep, new = 0.99999, 1 - 0.99999
        self.mean = keep * self.mean + new * float(x.mean())
        self.square = keep * self.square + new * float((x * x).mean())
        self.weight = keep * self.weight + new

    def moments(self) -> tuple[float, float]:
        weight = max(self.weight, 1e-5)
        mean = self.mean / weight
        return mean, math.sqrt(max(self.square / weight - mean**2, 1e-2))


def double(module: Any) -> Weights:
    """Copy the weights of a network, named as those of an MLP, as float64 leaves."""
    return {
        name.removeprefix("net."): p.detach().double().clone().requires_grad_()
        for name, p in module.named_parameters()
    }


class Reference:
    """The team's networks, optimisers and normaliser in float64."""

    def __init__(self, learner: OnPolicyLearner) -> None:
        self.actors = {a: double(learner.actors[a]) for a in SIZES}
        self.critic = double(learner.stacks[0].members[0].net)
        self.norm = Normaliser()
        self.adams = {a: Adam(w) for a, w in self.actors.items()}
        self.critic_adam = Adam(self.critic)
        self.draws = torch.Generator()
        self.draws.set_state(learner.generator.get_state())

    def minibatches(self) -> list[Tensor]:
        order = torch.randperm(BATCH, generator=self.draws)
        return [order[: BATCH // 2], order[BATCH // 2 :]]

    def update(self, data: Rollout, left: float) -> None:
        """Update everything, with ``left`` of the learning rates."""
        states, after = (torch.from_numpy(s).double() for s in (data.states, data.next_states))
        rewards = torch.from_numpy(data.rewards).sum(-1)
        with torch.no_grad():
            raw, raw_after = (
                network(states, self.critic)[..., 0],
                network(after, self.critic)[..., 0],
            )
        mean, std = self.norm.moments()
        value, value_after = raw * std + mean, raw_after * std + mean
        advantage = torch.zeros(T, N, dtype=torch.float64)
        for n in range(N):
            later = 0.0
            for t in reversed(range(T)):
                is_terminal, is_cut = bool(data.terminated[t, n]), bool(data.truncated[t, n])
                future = 0.0 if is_terminal else GAMMA * float(value_after[t, n])
                delta = float(rewards[t, n]) + future - float(value[t, n])
                later = delta + (0.0 if is_terminal or is_cut else GAMMA * LAM * later)
                advantage[t, n] = later
        returns = (advantage + value).reshape(-1)
        self.fit(states.reshape(BATCH, STATE), raw.reshape(-1), returns, left)
        flat = advantage.reshape(-1)
        scaled = (flat - flat.mean()) / ((flat - flat.mean()).pow(2).mean().sqrt() + 1e-5)
        factor = torch.ones(BATCH, dtype=torch.float64)
        for k in torch.randperm(len(SIZES), generator=self.draws).tolist():
            agent = tuple(SIZES)[k]
            x = torch.from_numpy(data.observations[agent]).double().reshape(BATCH, -1)
            action = torch.from_numpy(data.actions[agent]).flatten(0, 1)
            old = torch.from_numpy(data.log_probs[agent]).double().reshape(-1)
            w = self.actors[agent]
            for _ in range(EPOCHS):
                for part in self.minibatches():
                    now, entropy = log_prob_and_entropy(x[part], action[part], w)
                    ratio, a = (now - old[part]).exp(), scaled[part]
                    cut = ratio.clamp(1 - CLIP, 1 + CLIP)
                    gain = (factor[part] * torch.minimum(ratio * a, cut * a)).mean()
                    self.adams[agent].step(-gain - ENTROPY * entropy, ACTOR_LR * left)
            now, _ = log_prob_and_entropy(x, action, w)
            factor = factor * (now - old).exp().detach()

    def fit(self, states: Tensor, old: Tensor, returns: Tensor, left: float) -> None:
        for _ in range(CRITIC_EPOCHS):
            for part in self.minibatches():
                self.norm.update(returns[part])
                mean, std = self.norm.moments()
                target = (returns[part] - mean) / std
                now = network(states[part], self.critic)[:, 0]
                near = old[part] + (now - old[part]).clamp(-VALUE_CLIP, VALUE_CLIP)
                loss = torch.maximum(huber(now - target), huber(near - target)).mean()
                self.critic_adam.step(loss, CRITIC_LR * left)


def huber(error: Tensor) -> Tensor:
    size = error.abs()
    return torch.where(size <= HUBER, 0.5 * error**2, HUBER * (size - 0.5 * HUBER))


def stored_batch(seed: int, reference: Reference) -> Rollout:
    """Return a batch with ends of both kinds; log-probabilities are of the present actors."""
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return draw.normal(size=shape).astype(np.float32)

    terminated, truncated = np.zeros((T, N), bool), np.zeros((T, N), bool)
    terminated[2, 0] = terminated[5, 3] = truncated[3, 1] = truncated[5, 0] = True
    ended = terminated | truncated
    states, observations = normal(T + 1, N, STATE), {}
    actions, log_probs, after = {}, {}, {}
    for agent, (size, _) in SIZES.items():
        seen = normal(T + 1, N, size)
        observations[agent], after[agent] = seen[:T], seen[1:]
        space = TEAM.action_spaces[agent]
        if isinstance(space, spaces.Discrete):
            actions[agent] = draw.integers(0, space.n, (T, N))
        else:
            actions[agent] = normal(T, N, *space.shape) * np.float32(0.4)
        x = torch.from_numpy(observations[agent]).double().reshape(BATCH, size)
        act = torch.from_numpy(actions[agent]).flatten(0, 1)
        found = log_prob_and_entropy(x, act, reference.actors[agent])[0]
        log_probs[agent] = found.detach().float().numpy().reshape(T, N)
    next_states = states[1:].copy()
    next_states[ended] = normal(int(ended.sum()), STATE)  # not the first of the next episode
    return Rollout(
        observations=observations,
        states=states[:T].copy(),
        actions=actions,
        log_probs=log_probs,
        masks={},
        rewards=3.0 + 4.0 * draw.normal(size=(T, N, 3)),
        costs=np.zeros((T, N), np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observations=after,
        next_states=next_states,
        first=np.concatenate([np.ones((1, N), bool), ended[:-1]]),
        valid=np.ones((T, N), bool),
    )


@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize("gradients", ["fast", "autograd"])
def test_two_updates_equal_harl_s_formulas_in_float64(gradients: str, decay: bool) -> None:
    rates = {"lr_decay": decay, "critic_lr_decay": decay}
    config: OnPolicyConfig = config_of(**CONFIG, **rates, gradients=gradients)
    learner = OnPolicyLearner(TEAM, config, seed=5)
    reference = Reference(learner)
    before = {agent: double(learner.actors[agent]) for agent in SIZES}
    for seed, progress in ((11, 0.0), (12, 0.5)):
        data = stored_batch(seed, reference)
        learner.update(data, math.nan, progress)
        reference.update(data, 1 - progress if decay else 1.0)
    norm = learner.stacks[0].members[0].norm
    assert norm is not None
    expected = [reference.norm.mean, reference.norm.square, reference.norm.weight]
    np.testing.assert_allclose(norm.sums, expected, rtol=1e-6)
    pairs = [(learner.stacks[0].members[0].net, reference.critic)]
    pairs += [(learner.actors[agent], reference.actors[agent]) for agent in SIZES]  # type: ignore[list-item]
    for module, wanted in pairs:
        for name, weight in double(module).items():
            torch.testing.assert_close(
                weight.detach(), wanted[name].detach(), atol=2e-5, rtol=0, msg=f"{name} differs"
            )
    for agent, weights in before.items():  # Adam's first steps are as long as the rate
        now = reference.actors[agent]
        moved = max(float((now[n] - weights[n]).detach().abs().max()) for n in weights)
        assert moved > ACTOR_LR


def test_a_value_normaliser_without_data_scales_by_harl_s_variance_floor() -> None:
    norm = ValueNorm()
    assert norm.denormalise(np.array([2.0, -1.0])).tolist() == pytest.approx([0.2, -0.1])
    assert norm.normalise(np.array([0.3])).tolist() == pytest.approx([3.0])
    norm.update(np.array([1.0, 3.0]))  # mean 2, variance 1
    assert norm.denormalise(np.array([2.0])).tolist() == pytest.approx([4.0])
