"""The Decision Transformer's network (Chen et al., NeurIPS 2021, kzl/decision-transformer, gym/).

A step is three tokens: return-to-go, state, action. Each is a linear map (an embedding where
actions are discrete) plus the embedding of the step's number in its episode, then LayerNorm; the
action is read from the state's token, which attends to no action of its own step. The heads of the
original that predict states and returns are left out: nothing trains them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pkubench.agents.nn.networks import initialise
from pkubench.agents.nn.transformer import Cache, Transformer, TransformerSpec
from pkubench.agents.settings import check_domains

STATES = slice(1, None, 3)
"""Positions of the states' tokens among all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSpec:
    """Shape of a Decision Transformer."""

    transformer: TransformerSpec
    states: int
    """Numbers of a state."""
    actions: int
    """Dimensions of an action, or number of discrete actions."""
    is_discrete: bool
    outputs: int
    """Of the head."""
    times: int
    """Number of time embeddings; later steps have the last one. 0: none are added."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("states", "actions", "outputs"), not_negative=("times",))

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)

    @staticmethod
    def from_config(config: dict[str, Any]) -> DecisionSpec:
        """Read what ``as_config`` returned."""
        inner = TransformerSpec(**config["transformer"])
        return DecisionSpec(**{**config, "transformer": inner})


class Steps(NamedTuple):
    """Consecutive steps of B episodes; L of them, padded on the right."""

    returns: Tensor
    """(B, L): returns-to-go, scaled."""
    states: Tensor
    """(B, L, states), normalised."""
    actions: Tensor
    """(B, L, actions) or (B, L) int64. The last one is not looked at."""
    times: Tensor
    """(B, L) int64: the steps' numbers in their episodes."""


class DecisionTransformer(nn.Module):
    """From steps to the head's outputs at each of them."""

    def __init__(self, spec: DecisionSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone; embeddings as torch does, N(0, 1)."""
        super().__init__()
        self.spec = spec
        width = spec.transformer.width
        self.embed_return = nn.Linear(1, width)
        self.embed_state = nn.Linear(spec.states, width)
        self.embed_action: nn.Module
        if spec.is_discrete:
            self.embed_action = nn.Embedding(spec.actions, width)
        else:
            self.embed_action = nn.Linear(spec.actions, width)
        self.embed_time = nn.Embedding(spec.times, width) if spec.times else None
        self.norm = nn.LayerNorm(width)
        self.transformer = Transformer(spec.transformer, generator)
        self.head = nn.Linear(width, spec.outputs)
        for module in (self.embed_return, self.embed_state, self.embed_action, self.head):
            if isinstance(module, nn.Linear):
                initialise(module, "kaiming", 1.0, generator)
        for table in (self.embed_action, self.embed_time):
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, generator=generator)

    def forward(self, steps: Steps, *, is_last_only: bool = False) -> Tensor:
        """Return the outputs of every step, (B, L, outputs), or of the last one, (B, 1, outputs).

        Those of a step depend on its return-to-go and state and on the steps before it.
        """
        tokens = self._tokens(steps)[:, :-1]
        length = tokens.shape[1]
        wanted = slice(length - 1, None) if is_last_only else STATES
        return self.head(self.transformer(tokens, wanted=wanted))  # type: ignore[no-any-return]

    def extend(self, steps: Steps, cache: Cache) -> Tensor:
        """Return the outputs (B, 1, outputs) of one more step, and add its tokens to ``cache``.

        Args:
            steps: the last two steps; one, if ``cache`` is empty. The tokens up to the state before
                the last one are in the cache.
            cache: of the episodes' steps before, from the first one on.
        """
        tokens = self._tokens(steps)[:, 2 if cache.length else 0 : -1]
        features = self.transformer.extend(tokens, cache, wanted=slice(tokens.shape[1] - 1, None))
        return self.head(features)  # type: ignore[no-any-return]

    def _tokens(self, steps: Steps) -> Tensor:
        """Return embedded tokens (B, 3 L, E)."""
        parts = [
            self.embed_return(steps.returns.unsqueeze(-1)),
            self.embed_state(steps.states),
            self.embed_action(steps.actions),
        ]
        tokens = torch.stack(parts, 2)
        if self.embed_time is not None:
            last = self.embed_time.num_embeddings - 1
            tokens = tokens + self.embed_time(steps.times.clamp(max=last)).unsqueeze(2)
        return self.norm(tokens.flatten(1, 2))  # type: ignore[no-any-return]
