"""Checkpoints: everything a run needs to go on exactly, in one safetensors file, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.on_policy.critic import Critic
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.trainers import Trainer
from pkubench.agents.saved.files import Tensors, load_tensors, write_tensors
from pkubench.errors import WeightsError

FILE = "checkpoint.safetensors"
_FACTS = "facts"


def save_checkpoint(
    folder: Path, learner: OnPolicyLearner, collector: Collector, facts: dict[str, Any]
) -> None:
    """Write the state of learner and lanes, with ``facts`` (JSON values) beside them."""
    tensors: Tensors = {f"lanes.{k}": v for k, v in collector.freeze().items()}
    tensors["generator"] = learner.generator.get_state().numpy()
    for name, module in _modules(learner):
        for key, tensor in module.state_dict().items():
            tensors[f"{name}/{key}"] = tensor.cpu().numpy()
    for name, trainer in _trainers(learner):
        for key, moments in trainer.state().items():
            tensors[f"{name}#{key}"] = moments
    for name, critic in _critics(learner):
        if critic.norm is not None:
            tensors[f"{name}.norm"] = critic.norm.sums
    for name, running in _norms(learner):
        tensors |= {f"norm.{name}.{k}": v for k, v in running.freeze().items()}
    for k, stack in enumerate(learner.stacks):
        tensors[f"critic{k}.hidden"] = stack.hidden
    if learner.constraint is not None:
        tensors["constraint"] = np.array(learner.constraint.state())
    tensors[_FACTS] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    write_tensors(folder / FILE, tensors)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of the checkpoint in ``folder``.

    Raises:
        WeightsError: there is no checkpoint, or it is damaged.
    """
    return _facts(_load(folder))


def load_checkpoint(folder: Path, learner: OnPolicyLearner, collector: Collector) -> None:
    """Put learner and lanes back to the checkpoint in ``folder``.

    Raises:
        WeightsError: it is damaged, or of networks of another shape.
    """
    tensors = _load(folder)
    try:
        for name, module in _modules(learner):
            module.load_state_dict(_named(tensors, f"{name}/", torch.from_numpy))
        for name, trainer in _trainers(learner):
            trainer.load_state(_named(tensors, f"{name}#", np.asarray))
        for name, critic in _critics(learner):
            if critic.norm is not None:
                critic.norm.sums = tensors[f"{name}.norm"].copy()
        for name, running in _norms(learner):
            running.thaw({k: tensors[f"norm.{name}.{k}"] for k in ("moments", "count")})
        for k, stack in enumerate(learner.stacks):
            stack.hidden = tensors[f"critic{k}.hidden"].copy()
        if learner.constraint is not None:
            learner.constraint.restore(tensors["constraint"].tolist())
        learner.generator.set_state(torch.from_numpy(tensors["generator"].copy()))
        collector.thaw(
            {k.removeprefix("lanes."): v for k, v in tensors.items() if k.startswith("lanes.")}
        )
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{folder / FILE} does not fit this run: {error}") from error


def _load(folder: Path) -> Tensors:
    path = folder / FILE
    if not path.is_file():
        raise WeightsError(f"{folder} has no {FILE} to resume from; train without --resume")
    return load_tensors(path)


def _facts(tensors: Tensors) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(tensors[_FACTS].tobytes().decode())
    return facts


def _norms(learner: OnPolicyLearner) -> list[tuple[str, ObservationNorm]]:
    signals = ((f"signal.{name}", norm) for name, norm in learner.signal_norms.items())
    return [*learner.norms.items(), *signals]


def _critics(learner: OnPolicyLearner) -> list[tuple[str, Critic]]:
    return [
        (f"critic{k}.{row}", critic)
        for k, stack in enumerate(learner.stacks)
        for row, critic in enumerate(stack.members)
    ]


def _modules(learner: OnPolicyLearner) -> list[tuple[str, torch.nn.Module]]:
    actors = [(f"actor.{name}", actor) for name, actor in learner.actors.items()]
    return [*actors, *((name, critic.net) for name, critic in _critics(learner))]


def _trainers(learner: OnPolicyLearner) -> list[tuple[str, Trainer]]:
    actors = [(f"actor.{name}", trainer) for name, trainer in learner.trainers.items()]
    return [*actors, *((f"critic{k}", stack.trainer) for k, stack in enumerate(learner.stacks))]


def _named(tensors: Tensors, prefix: str, read: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what is saved under names that start with ``prefix``, by the rest of the name."""
    return {k.removeprefix(prefix): read(v) for k, v in tensors.items() if k.startswith(prefix)}
