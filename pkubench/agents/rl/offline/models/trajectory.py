"""The Trajectory Transformer's network (Janner, Li and Levine, NeurIPS 2021).

A transition is a row of tokens: the state's dimensions, the action's, the reward, and the return
that follows. Each dimension has embeddings and a head of its own. Nothing attends to the tokens of
returns, so that plans do not depend on what is asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pkubench.agents.nn.transformer import Cache, Transformer, TransformerSpec
from pkubench.agents.settings import check_domains


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectorySpec:
    """Shape of a Trajectory Transformer."""

    transformer: TransformerSpec
    states: int
    """Dimensions of a state."""
    actions: int
    """Dimensions of an action; 1 where it is the number of a choice."""
    bins: int
    """N, of each dimension. Class N says that the episode has ended."""
    window: int
    """Transitions that it can look at."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("states", "actions", "bins", "window"))

    @property
    def width(self) -> int:
        """Tokens of a transition: state, action, reward and return."""
        return self.states + self.actions + 2

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)

    @staticmethod
    def from_config(config: dict[str, Any]) -> TrajectorySpec:
        """Read what ``as_config`` returned."""
        inner = TransformerSpec(**config["transformer"])
        return TrajectorySpec(**{**config, "transformer": inner})


class TrajectoryTransformer(nn.Module):
    """From tokens to the logits of the next one. Tokens are classes 0 to N of their dimension."""

    def __init__(self, spec: TrajectorySpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone: N(0, 0.02), positions 0 (minGPT)."""
        super().__init__()
        self.spec = spec
        width, embedded = spec.width, spec.transformer.width
        self.embed = nn.Embedding(spec.bins * width + 1, embedded)
        self.positions = nn.Parameter(torch.zeros(spec.window * width, embedded))
        self.transformer = Transformer(spec.transformer, generator)
        self.heads = nn.Parameter(torch.empty(width, spec.bins + 1, embedded))
        nn.init.normal_(self.embed.weight, std=0.02, generator=generator)
        bound = embedded**-0.5
        nn.init.uniform_(self.heads, -bound, bound, generator=generator)

    def forward(self, tokens: Tensor, *, is_last_only: bool = False) -> Tensor:
        """Return the logits after each token, (B, L, N + 1), or after the last, (B, 1, N + 1).

        Args:
            tokens: (B, L) int64, from the first token of a transition on.
            is_last_only: compute no others.
        """
        length, width = tokens.shape[1], self.spec.width
        wanted = slice(length - 1, None) if is_last_only else None
        hidden = slice(width - 1, None, width)
        x = self.transformer(self._embedded(tokens, 0), wanted=wanted, hidden=hidden)
        if is_last_only:
            return self._logits(x, length - 1)
        # one product for each dimension's head, over all transitions
        padding = -length % width
        whole = nn.functional.pad(x, (0, 0, 0, padding))
        rows = whole.view(len(x), -1, width, x.shape[-1])
        logits = torch.einsum("btde,dne->btdn", rows, self.heads)
        found: Tensor = logits.flatten(1, 2)[:, :length]
        return found

    def extend(self, tokens: Tensor, cache: Cache, start: int) -> Tensor:
        """Return the logits (B, N + 1) after more tokens (B, n), and add these to ``cache``.

        Args:
            tokens: (B, n) int64.
            cache: of the tokens before.
            start: their number.
        """
        width, length = self.spec.width, tokens.shape[1]
        x = self.transformer.extend(
            self._embedded(tokens, start),
            cache,
            wanted=slice(length - 1, None),
            hidden=slice((width - 1 - start) % width, None, width),
        )
        return self._logits(x[:, 0], start + length - 1)

    def _logits(self, x: Tensor, place: int) -> Tensor:
        """Return the logits after features of tokens at a place."""
        head: Tensor = self.heads[place % self.spec.width]
        return x @ head.mT

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        """Return embedded tokens; ids are dimension * N + bin, and dimensions * N at the end."""
        bins, width, length = self.spec.bins, self.spec.width, tokens.shape[1]
        dimensions = (torch.arange(length, device=tokens.device) + start) % width
        ids = torch.where(tokens == bins, bins * width, dimensions * bins + tokens)
        embedded: Tensor = self.embed(ids) + self.positions[start : start + length]
        return embedded
