"""The contract between a training session and the learner of a family.

A session (``pkubench.training``) owns folders, logs, checkpoints, validation and interruption; a
learner owns environments, networks and its update. Neither depends on the other's internals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy.typing as npt

from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

Array = npt.NDArray[Any]
State = Mapping[str, Any]
"""Nested mappings and lists of NumPy arrays, numbers, strings, booleans and None."""


class Counters(NamedTuple):
    """Progress of a training. A family's ``unit`` names the counter that budgets are in."""

    iterations: int = 0
    """Calls of ``iterate``."""
    environment_steps: int = 0
    """Steps of single environments: ``num_envs`` per batched step."""
    episodes: int = 0
    """Episodes that ended."""
    gradient_steps: int = 0
    """Steps of optimisers; networks that step together on one minibatch count once."""
    tokens: int = 0
    """0 where not counted, like ``gradient_steps``."""


class Export(NamedTuple):
    """A trained agent in its saved form: everything that acting needs, and ``extra``."""

    config: Mapping[str, Any]
    """JSON values. The session adds the identity (agent, task, seed, settings, family's kind)."""
    tensors: Mapping[str, Array]
    files: Mapping[str, bytes] = {}
    """Further files by name; hashed like the tensors."""
    extra: Mapping[str, Mapping[str, Array]] = {}
    """Tensors that acting does not read (of a credit model, say), by the name of their file without
    its suffix. They stay in the run folder: bundles and shipped weights do not have them."""
    about: Mapping[str, Any] = {}
    """Facts about the whole training so far, such as its cost: they stand in the saved config
    whichever weights are kept. JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The inputs of a learner."""

    agent: str
    """Name of the preset."""
    task: Task
    settings: Any
    """The preset's config with the user's changes: a frozen dataclass."""
    seed: int
    """Source of all randomness."""
    total: int
    """The budget in the family's unit."""
    device: str = "cpu"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Data, teachers or initial weights by name, as the family's ``Input`` of that name says: read,
    or a path. The session has hashed them."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the environment besides the task's own."""

    def make_env(self, num_envs: int, **kwargs: Any) -> BatchEnv:
        """Make ``num_envs`` copies of the task's environment."""
        settings = {**self.task.env_kwargs, **self.env_kwargs, **kwargs}
        return make_batch(self.task.id, num_envs, **settings)


class Learner(Protocol):
    """One training run: one update at a time, and a state from which it resumes exactly."""

    is_anytime: bool
    """Whether its agent is usable before the budget is spent, whatever the budget: it is saved with
    every checkpoint, and the run may be resumed with another budget."""

    @property
    def counters(self) -> Counters:
        """Progress so far."""
        ...

    @property
    def ended(self) -> str:
        """Why training ended before the budget is spent, in words, or ""."""
        ...

    def iterate(self) -> Mapping[str, float]:
        """Do one update; return named metrics for the curve (NaN where unknown).

        An empty mapping adds no line to the curve. A metric ``seconds`` replaces the session's own
        measurement of the time spent in updates.
        """
        ...

    def state(self) -> State:
        """Return everything that changes, so that ``load_state`` resumes to the same bits.

        Its arrays may be the learner's own: they are read before the next update. Those of an
        anytime learner are copies, since the session restores them when an update is
        interrupted; its iterations draw from their own generators.
        The session saves the global generators of Python, NumPy and torch.
        """
        ...

    def load_state(self, state: State) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of a learner of another shape.
        """
        ...

    def export(self) -> Export:
        """Return the present agent, ready to be saved and to act."""
        ...

    def close(self) -> None:
        """Release environments."""
        ...


class BatchLearner(Protocol):
    """Several training seeds in one process; each can be resumed separately."""

    @property
    def members(self) -> Sequence[Learner]:
        """One per seed; their ``iterate`` is not called."""
        ...

    def iterate(self) -> Sequence[Mapping[str, float]]:
        """Do one update of every seed; return the metrics of each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One training of a pipeline: an ordinary run in ``stages/NN-NAME``."""

    name: str
    agent: str
    task: Task
    total: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
