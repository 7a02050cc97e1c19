"""A step of STAS's reward model compared with a straightforward implementation, in one run.

``python -m benchmarks.credit_models`` prints a Markdown table and exits with 1 if the bar is
missed: at the sizes of the presets a step of ours takes at most half the time. The plain side is
written the way the published code is: one pass of the agents' attention for each sampled coalition
with its mask repeated for every step, a linear map of queries for each agent, attention by products
and a masked softmax, and ``torch.optim.Adam``. Before anything is measured, both sides are given
the same weights and coalitions and must have the same loss. They step on the same batch, which is
ready in memory, on one thread, in turns, and the minimal processor time of all turns counts.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.registry import preset
from pkubench.agents.rl.credit.base import CreditContext
from pkubench.agents.rl.credit.episodes import Episodes, Layout
from pkubench.agents.rl.credit.models.base import Batch, LearnedModel
from pkubench.agents.rl.credit.models.coalitions import Coalitions, drawn
from pkubench.agents.rl.credit.stas import STASCredit
from pkubench.agents.rl.malloc import keep_freed_memory

BAR = 2.0
SIZES: dict[str, dict[str, Any]] = {
    "small, 2 agents": {"agents": 2, "steps": 40, "seen": 19, "actions": 4},
    "small, 6 agents": {"agents": 6, "steps": 25, "seen": 26, "actions": 5},
    "paper, 3 agents": {"agents": 3, "steps": 25, "seen": 14, "actions": 5},
}
PAPER: dict[str, Any] = {"width": 128, "heads": 4, "layers": 3, "fit_episodes": 256}
COALITIONS = {"small, 2 agents": 3, "small, 6 agents": 4, "paper, 3 agents": 5}


class PlainAttention(nn.Module):
    """Attention by products and a masked softmax, for one or several maps of queries."""

    def __init__(self, width: int, heads: int, queries: int) -> None:
        """Build; ``queries`` maps, one for each position, or a single one for all."""
        super().__init__()
        self.heads = heads
        self.queries = nn.ModuleList(nn.Linear(width, width) for _ in range(queries))
        self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (N, L, E) to (N, L, E); ``mask`` (N, L, L) is 0 where nothing is attended to."""
        if len(self.queries) == 1:
            query = self.queries[0](x)
        else:
            query = torch.stack([of(x[:, k]) for k, of in enumerate(self.queries)], 1)
        parts = (query, self.key(x), self.value(x))
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(mask[:, None] == 0, -1e9).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class PlainTimeLayer(nn.Module):
    """A layer over time, as in the published code."""

    def __init__(self, width: int, heads: int) -> None:
        """Build."""
        super().__init__()
        self.attention = PlainAttention(width, heads, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (N, L, E) to (N, L, E)."""
        u = self.attention(x, mask)
        h = self.norms[0](x + u)
        f = self.outer(functional.gelu(self.inner(h)))
        return self.norms[1](f + u + u)  # type: ignore[no-any-return]


class PlainSTAS(nn.Module):
    """STAS's reward model, one coalition after another."""

    def __init__(self, settings: STASCredit, size: Mapping[str, int]) -> None:
        """Build."""
        super().__init__()
        width, self.agents = settings.width, size["agents"]
        self.observe = nn.Linear(size["seen"], width)
        self.act = nn.Embedding(size["actions"] + 1, width)
        self.positions = nn.Embedding(size["steps"], width)
        layers = [PlainTimeLayer(width, settings.heads) for _ in range(settings.layers)]
        self.layers = nn.ModuleList(layers)
        self.over_agents = PlainAttention(width, settings.heads, self.agents)
        self.names = nn.Embedding(self.agents, width)
        self.head = nn.Linear(width, 1)

    def forward(self, batch: Batch, coalitions: Coalitions) -> Tensor:
        """Return shares (B, n, L)."""
        count, number, length = batch.actions.shape
        x = self.observe(batch.observations[:, :, :length]) + self.act(batch.actions)
        x = x + self.positions(torch.arange(length))
        valid = batch.valid.float().repeat_interleave(number, 0)
        mask = torch.tril(valid[:, :, None] * valid[:, None, :])
        x = x.reshape(count * number, length, -1)
        for layer in self.layers:
            x = layer(x, mask)
        x = x.reshape(count, number, length, -1).permute(0, 2, 1, 3)
        x = x.reshape(count * length, number, -1) + self.names(torch.arange(number))
        outputs = [
            self.over_agents(x, members[None].repeat(count * length, 1, 1))
            for members in coalitions.members
        ]
        mean = sum(outputs) / len(outputs)
        found = self.head(mean)[..., 0].reshape(count, length, number).permute(0, 2, 1)
        return found * batch.valid[:, None]

    @torch.no_grad()
    def copy(self, network: Any) -> None:
        """Take over the weights of ours."""
        tokens, ours = network.tokens, network.agents
        _copy(self.observe, tokens.observe.weight, tokens.observe.bias)
        self.act.weight.copy_(tokens.actions)
        self.positions.weight.copy_(tokens.positions)
        for mine, layer in zip(self.layers, network.layers, strict=True):
            plain: Any = mine
            weights = layer.attention.attend.weight.chunk(3)
            biases = layer.attention.attend.bias.chunk(3)
            targets = (plain.attention.queries[0], plain.attention.key, plain.attention.value)
            for target, weight, bias in zip(targets, weights, biases, strict=True):
                _copy(target, weight, bias)
            _copy(plain.attention.out, layer.attention.mix.weight, layer.attention.mix.bias)
            for name in ("inner", "outer"):
                of = getattr(layer, name)
                _copy(getattr(plain, name), of.weight, of.bias)
        plain = self.over_agents
        for k, target in enumerate(plain.queries):
            _copy(target, ours.query[k].T, ours.query_bias[k])
        pairs = zip(ours.key_value.weight.chunk(2), ours.key_value.bias.chunk(2), strict=True)
        for target, (weight, bias) in zip((plain.key, plain.value), pairs, strict=True):
            _copy(target, weight, bias)
        _copy(plain.out, ours.out.weight, ours.out.bias)
        self.names.weight.copy_(ours.agents)
        _copy(self.head, network.head.weight, network.head.bias)


def _copy(target: Any, weight: Tensor, bias: Tensor) -> None:
    target.weight.copy_(weight)
    target.bias.copy_(bias)


def sides(label: str) -> dict[str, Callable[[], object]]:
    """Return a step of each side, on the same batch.

    Raises:
        AssertionError: they do not compute the same loss.
    """
    size = SIZES[label]
    settings: Any = preset("stas").config().credit
    more = PAPER if label.startswith("paper") else {}
    coalitions = COALITIONS[label]
    settings = replace(settings, sampler="bernoulli", coalitions=coalitions, buffer=1, **more)
    names = tuple(f"agent{k}" for k in range(size["agents"]))
    context = CreditContext(
        names,
        dict.fromkeys(names, (size["seen"],)),
        dict.fromkeys(names, spaces.Discrete(size["actions"])),
        (1,),
        "cpu",
        size["steps"],
    )
    layout, generator = Layout.of(context), torch.Generator().manual_seed(0)
    network: Any = settings.network(layout, generator)
    model = LearnedModel(settings, context, layout, network, generator)
    batch = _batch(settings.fit_episodes, size)
    plain = PlainSTAS(settings, size)
    plain.copy(network)
    fixed = drawn("bernoulli", size["agents"], coalitions, generator)
    network.coalitions = lambda: fixed
    losses = network.loss(batch).item(), _plain_loss(plain, batch, fixed).item()
    assert math.isclose(*losses, rel_tol=1e-4), losses
    how: Any = ("bernoulli", size["agents"], coalitions, generator)
    network.coalitions = lambda: drawn(*how)
    network.train()
    adam = torch.optim.Adam(plain.parameters(), lr=settings.credit_lr, weight_decay=1e-5)

    def straightforward() -> None:
        adam.zero_grad()
        _plain_loss(plain, batch, drawn(*how)).backward()  # type: ignore[no-untyped-call]
        adam.step()

    def ours() -> None:
        model.step(batch)

    return {"straightforward": straightforward, "ours": ours}


def _plain_loss(plain: PlainSTAS, batch: Batch, coalitions: Coalitions) -> Tensor:
    return (batch.returns - plain(batch, coalitions).sum((1, 2))).square().mean()


def _batch(count: int, size: Mapping[str, int]) -> Batch:
    rng = np.random.default_rng(0)
    shape = (count, size["agents"], size["steps"])
    seen = rng.standard_normal((*shape[:2], shape[2] + 1, size["seen"])).astype(np.float32)
    lengths = rng.integers(size["steps"] // 2, size["steps"] + 1, count)
    lengths[0] = size["steps"]
    acted = rng.integers(size["actions"], size=shape)
    return Batch.of(Episodes(seen, acted, lengths, rng.standard_normal(count)), 1.0, "cpu")


def main() -> int:
    """Measure in turns, print the table, and compare with the bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| STAS's reward model | straightforward, ms | ours, ms | ratio |")
    print("|------|------:|------:|------:|")
    missed = []
    for label in SIZES:
        steps = sides(label)
        best = dict.fromkeys(steps, float("inf"))
        for _ in range(options.rounds):
            for side, step in steps.items():
                started = time.process_time()
                step()
                best[side] = min(best[side], time.process_time() - started)
        ratio = best["straightforward"] / best["ours"]
        times = " | ".join(f"{1e3 * best[side]:.1f}" for side in steps)
        print(f"| {label} | {times} | {ratio:.1f} |", flush=True)
        if ratio < BAR:
            missed.append(label)
    if missed:
        print(f"below {BAR:g} times: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
