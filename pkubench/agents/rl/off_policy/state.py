"""The state of one seed of an off-policy training.

The results of a seed do not depend on the batch of seeds it is trained in, so neither does its
state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pkubench.agents.learner import State
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.errors import WeightsError


def state_of(learner: OffPolicyLearner, seed: int) -> dict[str, Any]:
    """Return the state of the ``seed``-th training seed's networks, optimisers and constraint."""
    return {
        "networks": {name: rows.cpu().numpy() for name, rows in _rows(learner, seed)},
        "generator": learner.generators[seed].get_state().numpy(),
        "updates": learner.updates,
        "policy_updates": learner.policy_updates,
        "constraint": [*learner.constraints[seed].state()] if learner.constraints else None,
    }


def load_state_of(state: State, learner: OffPolicyLearner, seed: int) -> None:
    """Restore a state of the ``seed``-th training seed.

    Raises:
        WeightsError: it is of networks of another shape.
    """
    try:
        for name, rows in _rows(learner, seed):
            saved = state["networks"][name]
            if saved.shape != tuple(rows.shape):
                raise ValueError(f"{name} has shape {saved.shape}, wanted {tuple(rows.shape)}")
            rows.copy_(torch.from_numpy(saved))
        learner.generators[seed].set_state(torch.from_numpy(state["generator"].copy()))
        learner.count_to(int(state["updates"]), int(state["policy_updates"]))
        if learner.constraints:
            learner.constraints[seed].restore([*map(float, state["constraint"])])
    except (KeyError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(f"the state does not fit this run: {error}") from error


def _rows(learner: OffPolicyLearner, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the rows of one training seed by name, as views."""
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
