"""Beam search in a model of trajectories (Janner et al. 2021), for several episodes together.

Every step of a plan draws actions from the model, predicts reward and return, keeps the best plans
by ``sum_{k <= t} gamma^k r_k + gamma^(t + 1) V_t`` and predicts the next state. Rewards and returns
enter the score as expectations and the plan as their most likely bins. What the class of ended
episodes has of a probability counts as a reward and a return of 0. A plan whose state is of that
class has ended: it stays so, and earns nothing more.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.offline.data import Array
from pkubench.agents.rl.offline.models.trajectory import TrajectoryTransformer


class PlanSettings(NamedTuple):
    """Settings of a search (see ``methods/tt.py``)."""

    beam: int
    horizon: int
    expand: int
    cdf: float
    gamma: float


class TrajectoryModel(Protocol):
    """Predicts the next token of each of several sequences."""

    def start(self, tokens: Tensor) -> Tensor:
        """Begin with tokens (B, L); return logits (B, N + 1)."""
        ...

    def extend(self, tokens: Tensor) -> Tensor:
        """Add a token (B,) to each; return logits (B, N + 1)."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep the sequences ``rows`` (B',), repeated or left out."""
        ...


class CachedModel:
    """A Trajectory Transformer with its cache, as long as nothing has left its window.

    Beyond it every token is predicted from a window of whole transitions, computed again.
    """

    def __init__(self, net: TrajectoryTransformer) -> None:
        """Use ``net``, which is in evaluation mode."""
        self.net, self.cache = net, net.transformer.cache()
        self.tokens = torch.zeros(0, 0, dtype=torch.int64)

    def start(self, tokens: Tensor) -> Tensor:
        """Begin with tokens (B, L); return logits (B, N + 1)."""
        self.cache, self.tokens = self.net.transformer.cache(), tokens
        return self.net.extend(tokens, self.cache, 0)

    def extend(self, tokens: Tensor) -> Tensor:
        """Add a token (B,) to each; return logits (B, N + 1)."""
        before, width = self.tokens.shape[1], self.net.spec.width
        self.tokens = torch.cat([self.tokens, tokens[:, None]], 1)
        too_many = before + 1 - self.net.spec.window * width
        if too_many <= 0:
            return self.net.extend(tokens[:, None], self.cache, before)
        dropped = -(-too_many // width) * width
        return self.net(self.tokens[:, dropped:], is_last_only=True)[:, 0]  # type: ignore[no-any-return]

    def select(self, rows: Tensor) -> None:
        """Keep the sequences ``rows`` (B',), repeated or left out."""
        self.cache.select(rows)
        self.tokens = self.tokens[rows]


class Draws(Protocol):
    """Uniform random numbers of each episode."""

    def __call__(self, count: int) -> Array:
        """Return (episodes, count) numbers in [0, 1)."""
        ...


class _Plans:
    """The plans of R episodes, equally many of each."""

    def __init__(
        self, model: TrajectoryModel, prefix: Tensor, actions: int, dtype: torch.dtype
    ) -> None:
        self.model, self.logits = model, model.start(prefix)
        self.episodes = len(prefix)
        self.rewards = torch.zeros(self.episodes, 1, dtype=dtype)
        """(R, n): discounted rewards so far."""
        self.first = torch.zeros(self.episodes, 1, actions, dtype=torch.int64)
        """(R, n, d_a): the first action."""
        self.has_ended = torch.zeros(self.episodes, 1, dtype=torch.bool)
        """(R, n): whether the episode has."""

    def keep(self, rows: Tensor) -> None:
        """Continue the plans ``rows`` (R, n), numbers among those of the same episode."""
        count = len(self.logits) // self.episodes
        flat = (rows + torch.arange(self.episodes)[:, None] * count).flatten()
        self.model.select(flat)
        self.logits = self.logits[flat]
        self.rewards = self.rewards.gather(1, rows)
        self.first = self.first_of(rows)
        self.has_ended = self.has_ended.gather(1, rows)

    def first_of(self, rows: Tensor) -> Tensor:
        """Return the first actions (R, n, d_a) of some plans (R, n)."""
        return self.first.gather(1, rows[..., None].expand(-1, -1, self.first.shape[-1]))

    def advance(self, tokens: Tensor) -> None:
        """Add a token to each plan; the class of the end, where it has ended."""
        end = self.logits.shape[-1] - 1
        self.logits = self.model.extend(tokens.masked_fill(self.has_ended.flatten(), end))

    def predict_state(self, size: int) -> None:
        """Add the most likely state."""
        end, first = self.logits.shape[-1] - 1, self.logits.argmax(-1)
        self.has_ended = self.has_ended | (first.view(self.has_ended.shape) == end)
        self.advance(first)
        for _ in range(size - 1):
            self.advance(self.logits.argmax(-1))

    def expected(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expectation (R, n) of what comes next, and its most likely class."""
        found, token = expected(self.logits, values)
        return found.view(self.has_ended.shape).masked_fill(self.has_ended, 0.0), token


def plan(
    model: TrajectoryModel,
    prefix: Tensor,
    sizes: tuple[int, int],
    values: Tensor,
    settings: PlanSettings,
    draws: Draws,
) -> Tensor:
    """Return the first action of the best plan of each episode, (R, d_a) bins.

    Args:
        model: predicts tokens.
        prefix: (R, L): past transitions, then the present state.
        sizes: dimensions of a state and of an action.
        values: (2, N) what the bins of rewards and of returns stand for.
        settings: of the search.
        draws: random numbers.
    """
    (states, actions), (episodes, beam) = sizes, (len(prefix), settings.beam)
    width, gamma = beam * settings.expand, settings.gamma
    plans = _Plans(model, prefix, actions, values.dtype)
    plans.keep(torch.zeros(episodes, beam, dtype=torch.int64))
    repeated = torch.arange(beam).repeat_interleave(settings.expand).expand(episodes, -1)
    for t in range(settings.horizon):
        plans.keep(repeated)
        for k in range(actions):
            uniform = torch.from_numpy(draws(width)).flatten()
            drawn = sampled(plans.logits, settings.cdf, uniform)
            if t == 0:
                plans.first[..., k] = drawn.view(episodes, width)
            plans.advance(drawn)
        reward, token = plans.expected(values[0])
        plans.rewards = plans.rewards + gamma**t * reward
        plans.advance(token)
        future, token = plans.expected(values[1])
        score = plans.rewards + gamma ** (t + 1) * future
        # rounded as outputs are, so that plans of equal worth tie on any processor
        best = score.float().topk(beam, dim=1).indices
        if t + 1 < settings.horizon:
            plans.advance(token)
            plans.keep(best)
            plans.predict_state(states)
    return plans.first_of(best[:, :1])[:, 0]


def sampled(logits: Tensor, cdf: float, uniform: Tensor) -> Tensor:
    """Draw bins (B,) of actions by inverse transform.

    The least likely bins are left out as long as they have a probability below ``cdf`` in all, and
    the class of ended episodes always is.
    """
    probability = logits[:, :-1].softmax(-1)
    ascending, order = probability.sort(-1)
    kept = ascending.masked_fill(ascending.cumsum(-1) < cdf, 0.0)
    edges = kept.cumsum(-1)
    place = (edges <= uniform[:, None] * edges[:, -1:]).sum(-1).clamp(max=edges.shape[-1] - 1)
    return order.gather(-1, place[:, None])[:, 0]


def expected(logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the expectation (B,) of numbers with ``values`` (N,), and the most likely class."""
    probability = logits.softmax(-1)
    return probability[:, :-1] @ values, logits.argmax(-1)


def prefix_of(past: Array, state: Array) -> Tensor:
    """Return (R, L) tokens of past transitions (R, T, D) and the present state (R, d)."""
    return torch.from_numpy(np.concatenate([past.reshape(len(past), -1), state], 1))
