"""Inputs of one off-policy update: transitions and random numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pkubench.agents.rl.off_policy.networks import ActorGroup
from pkubench.agents.rl.off_policy.rules import NoiseKind


class Batch(NamedTuple):
    """Transitions; the learner may write to the action columns of both rows."""

    rows: Tensor
    """(S, B, width), in the layout."""
    next_rows: Tensor
    """(S, B, width): k steps later."""
    rewards: Tensor
    """(S, B): n-step sums."""
    costs: Tensor
    """(S, B): n-step sums of costs, for cost critics."""
    discounts: Tensor
    """(S, B): gamma^k, 0 after termination."""


class Noise(NamedTuple):
    """The random numbers of an update, one (G S, B, d) per group; None where a head needs none."""

    target: list[Tensor | None]
    """For actions at the next state."""
    present: list[Tensor | None]
    """For actions of the policies before the update; an agent's own gradient uses the same."""
    fresh: list[Tensor | None]
    """For actions of the policies after it, used in later agents' updates."""


def draw_noise(
    groups: list[ActorGroup],
    kinds: list[tuple[NoiseKind | None, NoiseKind | None, NoiseKind | None]],
    batch: int,
    generators: list[torch.Generator],
    device: str,
) -> Noise:
    """Draw numbers for ``batch`` transitions, each training seed from its own generator.

    ``kinds`` are those of each group for target, present and fresh actions.
    """
    rows = [
        [
            [_numbers(kind, len(group.agents), batch, group.head.size, g) for kind in each]
            for group, each in zip(groups, kinds, strict=True)
        ]
        for g in generators
    ]

    def gathered(k: int) -> list[Tensor | None]:
        found: list[Tensor | None] = []
        for g in range(len(groups)):
            parts = [part for row in rows if (part := row[g][k]) is not None]
            if not parts:
                found.append(None)
            elif len(parts) == 1:
                found.append(parts[0].to(device))
            else:
                found.append(torch.stack(parts, 1).flatten(0, 1).to(device))
        return found

    return Noise(gathered(0), gathered(1), gathered(2))


def _numbers(
    kind: NoiseKind | None, agents: int, batch: int, size: int, generator: torch.Generator
) -> Tensor | None:
    if kind is None:
        return None
    numbers = torch.empty(agents, batch, size)
    if kind == "normal":
        return numbers.normal_(generator=generator)
    return numbers.exponential_(generator=generator)
