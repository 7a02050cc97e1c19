"""Small trainings and hand-made minibatches of the retrieval agents, for their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.retrieval import Samples
from pkubench.agents.components import changed
from pkubench.agents.families.retrieval.config import RetrievalConfig
from pkubench.agents.families.retrieval.missions import embedded
from pkubench.agents.families.retrieval.networks import Groups, MultitaskNet, Spec
from pkubench.agents.families.retrieval.objective import Batch
from pkubench.agents.families.retrieval.presets import make_learner
from pkubench.agents.families.retrieval.reading import Optima
from pkubench.agents.families.retrieval.slots import Contents
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.agents.learner import Context
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.agents.registry import preset
from pkubench.tasks.registry import make_task

SMALL = {"num_envs": 6, "rollout_steps": 24, "batch_size": 48, "epochs": 2}
MISSIONS = [f"go to door {k}" for k in range(7)]


def training(
    agent: str = "retrieval-hypernetwork",
    changes: dict[str, Any] | None = None,
    *,
    seed: int = 1000,
    task: str = "MiniGridMT3-v0",
    inputs: dict[str, Any] | None = None,
) -> RetrievalTraining:
    """Return a training of few environments."""
    found = make_task(task)
    settings: RetrievalConfig = changed(preset(agent).config(found), {**SMALL, **(changes or {})})
    made: Any = make_learner(
        Context(
            agent=agent, task=found, settings=settings, seed=seed, total=1000, inputs=inputs or {}
        )
    )
    return made  # type: ignore[no-any-return]


def network(task_layer: str = "hypernetwork", *, normalise: bool = True) -> MultitaskNet:
    """Return the networks of the paper's seven tasks, in double precision."""
    spec = Spec(7, 7, task_layer, NoMemory(), normalise, 4)
    return MultitaskNet(
        spec,
        torch.from_numpy(embedded(MISSIONS)),
        torch.Generator().manual_seed(0),
        is_retrieval_generated=task_layer == "hypernetwork",
    ).double()


def views(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Return random views (count, 7, 7, 3) uint8."""
    parts = [rng.integers(0, most, (count, 7, 7)) for most in (11, 6, 3)]
    return torch.from_numpy(np.stack(parts, -1).astype(np.uint8))


def samples(batch: int = 20, slots: int = 9) -> Samples:
    """Return a random minibatch in double precision."""
    rng = np.random.default_rng(5)
    numbers = torch.from_numpy(rng.standard_normal((4, batch)))
    return Samples(
        views(rng, batch),
        torch.from_numpy(rng.integers(0, 7, batch)),
        torch.from_numpy(rng.integers(0, 7, batch)),
        -2.0 + 0.3 * numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        views(rng, slots),
        torch.from_numpy(rng.standard_normal(slots)),
        torch.from_numpy(rng.integers(0, 7, slots)),
    )


def batched(net: MultitaskNet, given: Samples) -> tuple[Batch, Contents]:
    """Return a minibatch as the learner has it."""
    patches = net.policy.encoder.patches
    own = torch.arange(len(given.tasks))
    batch = Batch(patches(given.images), *given[1:7], own)
    slots = len(given.slot_tasks)
    contents = Contents(
        patches(given.slot_images),
        given.slot_values,
        given.slot_tasks,
        torch.full((slots,), -1),
        torch.zeros(slots, 64),
        Groups.of(given.slot_tasks.numpy(), 7),
        Optima(torch.zeros(slots), torch.zeros(slots, dtype=torch.uint8)),
    )
    return batch, contents
