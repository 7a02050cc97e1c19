"""HASAC and HATD3 gradient updates compared with a plain PyTorch implementation, in one run.

``python -m benchmarks.off_policy`` prints a Markdown table and exits with 1 if the bar is missed:
at the sizes of the CPU presets both do at least 2 updates in the time of one plain update. The
plain side is written the way the official code is: one module per actor and per critic,
``torch.optim.Adam`` with its defaults (on a CPU its loop over parameters), losses by autograd,
critics without gradients while actors learn, soft updates parameter by parameter. A second plain
side differs in ``Adam(fused=True)``; it has its own columns and does not count for the bar. All
sides do the same arithmetic on the same shapes (three agents of SimpleSpreadContinuous:
observations of 18 numbers, actions of 5, states of 54), from a batch that is ready in memory, on
one thread, with the allocator settings of training. Contenders take turns, and the minimal
processor time of all turns counts, so that other load on the machine favours none. At the official
sizes (batches of 1,000 through layers of 256) nearly all time is in matrix products that both sides
need, so less is gained there; the table has these rows too. A second table shows what training five
seeds in parallel gains over one after another.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import pkubench  # noqa: F401 - registers the environments
from pkubench.agents.families.off_policy.hasac import preset_for
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.off_policy.batch import Batch
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.envs.core.registry import make_batch

BAR = 2.0
SEEDS = 5
TASK = "SimpleSpreadContinuous"
AGENTS, OBSERVATION, STATE, ACTION = 3, 18, 54, 5
TARGET_ENTROPY = ACTION * (np.log(0.5) - 1.0)
"""-1 per number, in units of [0, 1]."""
CONTENDERS = (
    ("HASAC, CPU preset", "hasac", True),
    ("HATD3, CPU preset", "hatd3", True),
    ("HASAC, official size", "hasac-paper", False),
    ("HATD3, official size", "hatd3-paper", False),
)


def mlp(sizes: tuple[int, ...], last: type[nn.Module]) -> nn.Sequential:
    """Return Linear and ReLU in turn, ``last`` after the last hidden layer."""
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if k < len(sizes) - 2:
            layers.append(last() if k == len(sizes) - 3 else nn.ReLU())
    return nn.Sequential(*layers)


class GaussianActor(nn.Module):
    """A squashed Gaussian with heads for mean and log-deviation, actions in [0, 1]."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        """Build the network."""
        super().__init__()
        self.net = mlp((OBSERVATION, *hidden, 2 * ACTION), nn.Tanh)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return a sample (B, d) and its log-density (B, 1)."""
        mean, log_std = self.net(observation).chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        u = normal.rsample()
        log_prob = normal.log_prob(u).sum(-1, keepdim=True)
        correction = 2 * (np.log(2) - u - functional.softplus(-2 * u))
        log_prob = log_prob - correction.sum(-1, keepdim=True) - ACTION * np.log(0.5)
        return 0.5 + 0.5 * torch.tanh(u), log_prob


class TanhActor(nn.Module):
    """A deterministic actor, actions in [0, 1]."""

    def __init__(self, hidden: tuple[int, ...]) -> None:
        """Build the network."""
        super().__init__()
        self.net = mlp((OBSERVATION, *hidden, ACTION), nn.ReLU)

    def forward(self, observation: Tensor) -> Tensor:
        """Return actions (B, d)."""
        return 0.5 + 0.5 * torch.tanh(self.net(observation))


class Data(NamedTuple):
    """One batch, as separate tensors."""

    state: Tensor
    observations: list[Tensor]
    actions: list[Tensor]
    next_state: Tensor
    next_observations: list[Tensor]
    rewards: Tensor
    discounts: Tensor


class Plain:
    """What HASAC and HATD3 share on the plain side."""

    def __init__(self, config: OffPolicyConfig, actor: type[nn.Module], is_fused: bool) -> None:
        """Build networks and optimisers."""
        self.config = config
        self.adam = partial(torch.optim.Adam, fused=is_fused or None)
        self.actors = [actor(config.hidden) for _ in range(AGENTS)]
        sizes = (STATE + AGENTS * ACTION, *config.hidden, 1)
        self.critics = [mlp(sizes, nn.ReLU) for _ in range(2)]
        self.slow_actors, self.slow_critics = deepcopy(self.actors), deepcopy(self.critics)
        self.optimisers = [self.adam(a.parameters(), lr=config.actor_lr) for a in self.actors]
        parameters = [p for c in self.critics for p in c.parameters()]
        self.critic_optimiser = self.adam(parameters, lr=config.critic_lr)
        self.updates = 0

    def learn_critics(self, data: Data, target: Tensor) -> None:
        """Regress both critics to ``target`` (B, 1)."""
        x = torch.cat([data.state, *data.actions], -1)
        loss = sum(functional.mse_loss(critic(x), target) for critic in self.critics)
        self.critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        self.critic_optimiser.step()

    def freeze_critics(self, is_frozen: bool) -> None:
        """Switch the critics' own gradients off or on."""
        for critic in self.critics:
            for parameter in critic.parameters():
                parameter.requires_grad_(not is_frozen)

    def follow(self, slow: list[nn.Module], nets: list[nn.Module]) -> None:
        """Update target networks towards their networks."""
        tau = self.config.tau
        for target, net in zip(slow, nets, strict=True):
            for p, q in zip(target.parameters(), net.parameters(), strict=True):
                p.data.copy_(p.data * (1.0 - tau) + q.data * tau)


class PlainHASAC(Plain):
    """HASAC in the official style."""

    def __init__(self, config: OffPolicyConfig, is_fused: bool) -> None:
        """Build the temperatures too."""
        super().__init__(config, GaussianActor, is_fused)
        self.log_alphas = [torch.zeros(1, requires_grad=True) for _ in range(AGENTS + 1)]
        self.alpha_optimisers = [
            self.adam([a], lr=config.rule.temperature_lr or 0.0) for a in self.log_alphas
        ]

    def update(self, data: Data) -> None:
        """Do one update of critics, actors, temperatures and targets."""
        with torch.no_grad():
            samples = [
                actor(o) for actor, o in zip(self.actors, data.next_observations, strict=True)
            ]
            x = torch.cat([data.next_state, *(a for a, _ in samples)], -1)
            q = torch.minimum(*(critic(x) for critic in self.slow_critics))
            entropy = sum(log_prob for _, log_prob in samples)
            value = q - self.log_alphas[-1].exp() * entropy
            target = data.rewards + data.discounts * value
        self.learn_critics(data, target)
        self.freeze_critics(True)
        with torch.no_grad():
            samples = [actor(o) for actor, o in zip(self.actors, data.observations, strict=True)]
        actions, log_probs = [a for a, _ in samples], [p for _, p in samples]
        for k in torch.randperm(AGENTS).tolist():
            actions[k], log_probs[k] = self.actors[k](data.observations[k])
            x = torch.cat([data.state, *actions], -1)
            q = torch.minimum(*(critic(x) for critic in self.critics))
            loss = (self.log_alphas[k].exp().detach() * log_probs[k] - q).mean()
            self.optimisers[k].zero_grad()
            loss.backward()
            self.optimisers[k].step()
            log_probs[k] = log_probs[k].detach()
            self.learn_alpha(k, log_probs[k], TARGET_ENTROPY)
            with torch.no_grad():
                actions[k], _ = self.actors[k](data.observations[k])
        self.learn_alpha(AGENTS, torch.stack(log_probs).sum(0), TARGET_ENTROPY * AGENTS)
        self.freeze_critics(False)
        self.follow(self.slow_critics, self.critics)

    def learn_alpha(self, k: int, log_prob: Tensor, target_entropy: float) -> None:
        """Step one temperature."""
        loss = -(self.log_alphas[k] * (log_prob + target_entropy)).mean()
        self.alpha_optimisers[k].zero_grad()
        loss.backward()
        self.alpha_optimisers[k].step()


class PlainHATD3(Plain):
    """HATD3 in the official style."""

    def __init__(self, config: OffPolicyConfig, is_fused: bool) -> None:
        """Build networks and optimisers."""
        super().__init__(config, TanhActor, is_fused)

    def update(self, data: Data) -> None:
        """Do one update of critics and, at every second, of actors and targets."""
        with torch.no_grad():
            actions = []
            for actor, o in zip(self.slow_actors, data.next_observations, strict=True):
                action = actor(o)
                noise = (torch.randn_like(action) * 0.1).clamp(-0.25, 0.25)
                actions.append((action + noise).clamp(0, 1))
            x = torch.cat([data.next_state, *actions], -1)
            q = torch.minimum(*(critic(x) for critic in self.slow_critics))
            target = data.rewards + data.discounts * q
        self.learn_critics(data, target)
        self.updates += 1
        if self.updates % self.config.policy_delay:
            return
        self.freeze_critics(True)
        with torch.no_grad():
            actions = [actor(o) for actor, o in zip(self.actors, data.observations, strict=True)]
        for k in torch.randperm(AGENTS).tolist():
            actions[k] = self.actors[k](data.observations[k])
            loss = -self.critics[0](torch.cat([data.state, *actions], -1)).mean()
            self.optimisers[k].zero_grad()
            loss.backward()
            self.optimisers[k].step()
            with torch.no_grad():
                actions[k] = self.actors[k](data.observations[k])
        self.freeze_critics(False)
        self.follow(self.slow_actors, self.actors)
        self.follow(self.slow_critics, self.critics)


def plain_update(config: OffPolicyConfig, is_fused: bool) -> Callable[[], object]:
    """Return a plain side's update of one fixed batch."""
    torch.manual_seed(0)
    size = config.batch_size
    data = Data(
        torch.randn(size, STATE),
        [torch.randn(size, OBSERVATION) for _ in range(AGENTS)],
        [torch.rand(size, ACTION) for _ in range(AGENTS)],
        torch.randn(size, STATE),
        [torch.randn(size, OBSERVATION) for _ in range(AGENTS)],
        torch.randn(size, 1),
        torch.full((size, 1), config.gamma),
    )
    plain = (PlainHASAC if config.rule.is_stochastic else PlainHATD3)(config, is_fused)
    return lambda: plain.update(data)


def our_update(config: OffPolicyConfig, seeds: int = 1) -> Callable[[], object]:
    """Return our update of one fixed batch per training seed, the seeds in parallel."""
    env = make_batch(f"{TASK}-v0", 1)
    learner = OffPolicyLearner(env, config, list(range(seeds)))
    size, width = config.batch_size, learner.layout.width
    sums = torch.zeros(seeds, size), torch.full((seeds, size), config.gamma)
    rows, next_rows = torch.randn(2, seeds, size, width)
    batch = Batch(rows, next_rows, sums[0], *sums)
    return lambda: learner.update(batch)


def rate(update: Callable[[], object], seconds: float) -> float:
    """Return the best calls per second of processor time, after a few to warm up."""
    for _ in range(4):
        update()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.process_time()
        for _ in range(4):  # two policy updates of HATD3
            update()
        best = min(best, time.process_time() - started)
    return 4 / best


def print_side_by_side(rounds: int, seconds: float) -> None:
    """Print what training five seeds in parallel in one process gains over one after another."""
    print("\n| five seeds in parallel | layers | updates/s alone | together | times |")
    print("|------|--------|------:|------:|------:|")
    for preset, hidden in itertools.product(("hasac", "hatd3"), ((32, 32), (64, 64))):
        config = replace(preset_for(preset, TASK), hidden=hidden)
        alone, together = our_update(config), our_update(config, SEEDS)
        best = [0.0, 0.0]
        for _ in range(rounds):
            best[0] = max(best[0], rate(alone, seconds))
            best[1] = max(best[1], SEEDS * rate(together, seconds))
        layers = "-".join(map(str, hidden))
        print(
            f"| {preset} | {layers} | {best[0]:,.0f} | {best[1]:,.0f} | {best[1] / best[0]:.2f} |",
            flush=True,
        )


def main() -> int:
    """Measure, print the tables, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(
        "| what | layers | batch | plain updates/s | ours | times "
        "| plain, fused Adam | times that |"
    )
    print("|------|--------|------:|----------------:|-----:|------:|--:|--:|")
    is_met = True
    for name, preset, is_bound in CONTENDERS:
        config = preset_for(preset, TASK)
        updates = (plain_update(config, False), our_update(config), plain_update(config, True))
        best = [0.0] * len(updates)
        for _ in range(options.rounds):
            for k, update in enumerate(updates):
                best[k] = max(best[k], rate(update, options.seconds))
        plain, ours, fused = best
        layers = "-".join(map(str, config.hidden))
        print(
            f"| {name} | {layers} | {config.batch_size:,} | {plain:,.0f} | {ours:,.0f} "
            f"| {ours / plain:.2f} | {fused:,.0f} | {ours / fused:.2f} |",
            flush=True,
        )
        is_met &= not is_bound or ours >= BAR * plain
    print_side_by_side(options.rounds, options.seconds)
    print(f"\n{'met' if is_met else 'MISSED'}: at least {BAR:g} times at the CPU presets' sizes")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
