"""The state of an on-policy training: everything that an update changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pkubench.agents.learner import State
from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.on_policy.critic import Critic
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.trainers import Trainer
from pkubench.errors import WeightsError


def state_of(learner: OnPolicyLearner, collector: Collector) -> dict[str, Any]:
    """Return the state of networks, optimisers, normalisers, constraint, credit and rollout."""
    return {
        "networks": {
            name: {key: tensor.cpu().numpy() for key, tensor in module.state_dict().items()}
            for name, module in _modules(learner)
        },
        "trainers": {name: trainer.state() for name, trainer in _trainers(learner)},
        "value_norms": {
            name: critic.norm.sums for name, critic in _critics(learner) if critic.norm is not None
        },
        "norms": {name: norm.freeze() for name, norm in _norms(learner)},
        "critic_hidden": [stack.hidden for stack in learner.stacks],
        "constraint": None if learner.constraint is None else [*learner.constraint.state()],
        "credit": learner.signals.credit.state(),
        "advantage_scales": [scale.state() for scale in learner.scales],
        "generator": learner.generator.get_state().numpy(),
        "collector": collector.freeze(),
    }


def load_state_of(state: State, learner: OnPolicyLearner, collector: Collector) -> None:
    """Restore a state of learner and collector; unfinished episodes are replayed.

    Raises:
        WeightsError: it is of networks of another shape.
    """
    try:
        for name, module in _modules(learner):
            saved = state["networks"][name]
            module.load_state_dict({key: torch.from_numpy(saved[key].copy()) for key in saved})
        for name, trainer in _trainers(learner):
            trainer.load_state(state["trainers"][name])
        for name, critic in _critics(learner):
            if critic.norm is not None:
                critic.norm.sums = state["value_norms"][name].copy()
        for name, norm in _norms(learner):
            norm.thaw(state["norms"][name])
        for stack, hidden in zip(learner.stacks, state["critic_hidden"], strict=True):
            stack.hidden = hidden.copy()
        if learner.constraint is not None:
            learner.constraint.restore(np.asarray(state["constraint"], np.float64).tolist())
            for scale, saved in zip(learner.scales, state["advantage_scales"], strict=True):
                scale.restore(np.asarray(saved, np.float64).tolist())
        # absent in checkpoints of earlier releases, which had formulas only
        learner.signals.credit.restore(state.get("credit", {}))
        learner.generator.set_state(torch.from_numpy(state["generator"].copy()))
        collector.thaw(state["collector"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"the state does not fit this run: {error}") from error


def _norms(learner: OnPolicyLearner) -> list[tuple[str, ObservationNorm]]:
    signals = ((f"signal.{name}", norm) for name, norm in learner.signals.norms.items())
    return [*learner.inputs.norms.items(), *signals]


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
