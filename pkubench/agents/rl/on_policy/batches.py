"""Batches for actor updates: the steps of a rollout, or its sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.samples import ActorSamples, Samples, SequenceSamples


class Advantages(NamedTuple):
    """Advantages of an update; one entry per agent, flat over time and environments."""

    to_ascend: Sequence[Tensor]
    """(T * N,), reward and cost mixed by the constraint."""
    of_cost: Sequence[Tensor] | None
    """(T * N,), centred; None without a critic of cost."""

    def times(self, agents: int) -> Advantages:
        """Return those of one agent for each of several."""
        costs = None if self.of_cost is None else [*self.of_cost] * agents
        return Advantages([*self.to_ascend] * agents, costs)


def actor_samples(
    data: Rollout,
    members: Sequence[int],
    names: Sequence[str],
    advantages: Advantages,
    factor: Tensor | None,
    is_recurrent: bool,
    device: str,
) -> ActorSamples:
    """Return the batch of the actor of some agents: their usable steps, concatenated.

    Args:
        data: the rollout.
        members: the agents' indices.
        names: their ids.
        advantages: of all agents.
        factor: (T * N,), the product of ratios of the agents before; None: ones.
        is_recurrent: return whole sequences, one for each agent and environment.
        device: of the networks.
    """

    def gather(source: Mapping[str, Array]) -> Any:
        """Return all agents' entries: (B, ...), or (T, members * N, ...) of sequences."""
        if names[0] not in source:
            return None
        arrays = [source[name] for name in names]
        if is_recurrent:
            return torch.from_numpy(np.concatenate(arrays, axis=1)).to(device)
        return torch.cat([flat(array, device) for array in arrays])

    def joined(tensors: Sequence[Tensor]) -> Tensor:
        if is_recurrent:
            return torch.cat([t.view(data.first.shape) for t in tensors], dim=1)
        return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]

    to_ascend = joined([advantages.to_ascend[k] for k in members])
    costs = advantages.of_cost
    rest: dict[str, Any] = {
        "observations": gather(data.observations),
        "masks": gather(data.masks),
        "actions": gather(data.actions),
        "log_probs": gather(data.log_probs),
        "advantage": to_ascend,
        "factor": torch.ones_like(to_ascend) if factor is None else joined([factor]),
        "costs": None if costs is None else joined([costs[k] for k in members]),
    }
    copies = torch.arange(data.first.shape[1], device=device)
    copies = copies if is_recurrent else copies.repeat(len(data.first))
    rest["copies"] = copies.repeat(len(members))
    usable = [data.usable(k) for k in members]
    everywhere = np.ones_like(data.first)
    kept = [everywhere if of is None else of for of in usable]
    if is_recurrent:
        first = np.concatenate([data.first] * len(members), axis=1)
        hidden = np.concatenate([data.hidden[name] for name in names])
        return SequenceSamples(
            first=torch.from_numpy(first).to(device),
            hidden=torch.from_numpy(hidden).to(device),
            usable=torch.from_numpy(np.concatenate(kept, axis=1)).to(device),
            **rest,
        )
    samples = Samples(**rest)
    if all(of is None for of in usable):
        return samples
    return samples.take(torch.cat([flat(of, device) for of in kept]))


def seen_alive(data: Rollout, agent: int, name: str) -> tuple[Array, Array]:
    """Return an agent's observations and next observations, (T, N, d), zeros where it is dead.

    What a dead agent observes is not defined, and a critic of it is trained there too where the
    team's rewards continue.
    """
    seen, following = data.observations[name], data.next_observations[name]
    if data.alive is None or data.died is None:
        return seen, following
    alive = data.alive[..., agent, None]
    stays = alive & ~data.died[..., agent, None]
    return np.where(alive, seen, seen.dtype.type(0)), np.where(
        stays, following, following.dtype.type(0)
    )


def flat(array: Array, device: str) -> Tensor:
    """Merge time and environments: (T, N, ...) to (T * N, ...)."""
    merged = array.reshape(-1, *array.shape[2:])
    return torch.from_numpy(np.ascontiguousarray(merged)).to(device)
