"""Checkpoints of one training seed: networks, optimisers, replay and lanes in one safetensors file.

The numbers of a seed do not depend on the batch of seeds it was trained in, so neither does its
checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.replay import Array
from pkubench.agents.saved.files import Tensors, load_tensors, write_tensors
from pkubench.errors import WeightsError

FILE = "checkpoint.safetensors"
_FACTS = "facts"


class Freezable(Protocol):
    """What can be written down as arrays and put back."""

    def freeze(self) -> dict[str, Array]:
        """Return it as plain arrays."""

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Go back to a frozen point."""


def save_checkpoint(
    folder: Path,
    learner: OffPolicyLearner,
    seed: int,
    parts: Mapping[str, Freezable],
    facts: dict[str, Any],
) -> None:
    """Write the state of the ``seed``-th training seed, with ``facts`` (JSON values) beside it.

    ``parts`` are what belongs to the seed besides the networks, by name.
    """
    tensors: Tensors = {
        f"{name}.{k}": v for name, part in parts.items() for k, v in part.freeze().items()
    }
    tensors["generator"] = learner.generators[seed].get_state().numpy()
    for name, rows in _state(learner, seed):
        tensors[name] = rows.cpu().numpy()
    counts = {"updates": learner.updates, "policy_updates": learner.policy_updates}
    held = {"constraint": learner.constraints[seed].state()} if learner.constraints else {}
    text = json.dumps({**facts, **counts, **held})
    tensors[_FACTS] = np.frombuffer(text.encode(), dtype=np.uint8)
    write_tensors(folder / FILE, tensors)


def read_checkpoint(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the arrays and the facts of the checkpoint in ``folder``.

    Raises:
        WeightsError: there is no checkpoint, or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise WeightsError(f"{folder} has no {FILE} to resume from; train without --resume")
    tensors = load_tensors(path)
    try:
        facts = json.loads(tensors[_FACTS].tobytes().decode())
        if not isinstance(facts, dict):
            raise ValueError("its facts are no JSON object")
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path} does not describe a run: {error}") from error
    return tensors, facts


def restore(
    tensors: Tensors,
    facts: dict[str, Any],
    learner: OffPolicyLearner,
    seed: int,
    parts: Mapping[str, Freezable],
) -> None:
    """Put the ``seed``-th training seed back to a checkpoint.

    Raises:
        WeightsError: it is of networks or lanes of another shape.
    """
    try:
        for name, rows in _state(learner, seed):
            saved = tensors[name]
            if saved.shape != tuple(rows.shape):
                raise ValueError(f"{name} has shape {saved.shape}, wanted {tuple(rows.shape)}")
            rows.copy_(torch.from_numpy(saved))
        learner.generators[seed].set_state(torch.from_numpy(tensors["generator"].copy()))
        learner.count_to(int(facts["updates"]), int(facts["policy_updates"]))
        if learner.constraints:
            learner.constraints[seed].restore([*map(float, facts["constraint"])])
        for name, part in parts.items():
            prefix = f"{name}."
            part.thaw(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
    except (KeyError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(f"the checkpoint does not fit this run: {error}") from error


def _state(learner: OffPolicyLearner, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the rows that belong to one training seed, as views, by name."""
    stacks = []
    for g, group in enumerate(learner.groups):
        stacks.append((f"actors{g}", group.adam))
        yield f"actors{g}.target", learner.target_actors[g][seed :: len(learner.seeds)]
    stacks.append(("critics", learner.critics.adam))
    yield "critics.target", learner.critics.target.flat[seed :: len(learner.seeds)]
    stacks.append(("log_alpha", learner.alpha_adam))
    for name, adam in stacks:
        for part in ("parameters", "first", "second"):
            yield f"{name}.{part}", getattr(adam, part)[seed :: len(learner.seeds)]
