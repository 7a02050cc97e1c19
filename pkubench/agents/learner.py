"""What trains: the contract between a training session and the learner of a family.

A session (``pkubench.training``) owns folders, logs, checkpoints, validation and interruption; a
learner owns environments, networks and its one update. Neither knows the other's insides.
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
"""Nested mappings and lists of NumPy arrays, numbers, texts, booleans and None."""


class Counters(NamedTuple):
    """What a training has done so far. A family's ``unit`` names the one that budgets count."""

    iterations: int = 0
    """Calls of ``iterate``."""
    environment_steps: int = 0
    """Steps of single environments: ``num_envs`` a batched step."""
    episodes: int = 0
    """Episodes that ended."""
    gradient_steps: int = 0
    """0 where they are not counted, as ``tokens``."""
    tokens: int = 0


class Export(NamedTuple):
    """A trained agent as it is saved: everything that acting needs and nothing else."""

    config: Mapping[str, Any]
    """JSON values. The session adds who it is (agent, task, seed, settings, the family's kind)."""
    tensors: Mapping[str, Array]
    files: Mapping[str, bytes] = {}
    """Further files by name; hashed like the tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a learner is made from."""

    agent: str
    """Name of the preset."""
    task: Task
    settings: Any
    """The preset's config with the user's changes: a frozen dataclass."""
    seed: int
    """Everything random derives from it."""
    total: int
    """The budget in the family's unit."""
    device: str = "cpu"
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Data, teachers or initial weights by name; the session has hashed them."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the environment besides the task's own."""

    def make_env(self, num_envs: int, **kwargs: Any) -> BatchEnv:
        """Make ``num_envs`` copies of the task's environment."""
        settings = {**self.task.env_kwargs, **self.env_kwargs, **kwargs}
        return make_batch(self.task.id, num_envs, **settings)


class Learner(Protocol):
    """One training run: an update at a time, and a state from which it resumes exactly."""

    is_anytime: bool
    """Whether its agent is good before the budget is spent, whatever the budget: it is saved with
    every checkpoint, and the run may be resumed with another budget."""

    @property
    def counters(self) -> Counters:
        """What has been done so far."""
        ...

    @property
    def ended(self) -> str:
        """Why nothing is left to train before the budget is spent, in words, or ""."""
        ...

    def iterate(self) -> Mapping[str, float]:
        """Do one update; return named figures for the curve (NaN where unknown).

        None at all where this update is not to be a line of the curve. ``seconds`` among them takes
        the place of the session's own count of the time spent in updates.
        """
        ...

    def state(self) -> State:
        """Return everything that changes, so that ``load_state`` resumes to the same bits.

        Its arrays may be the learner's own: they are read before the next update. Those of an
        anytime learner are copies, since the session goes back to them when an update is
        interrupted; its iterations draw from generators of their own.
        The global generators of Python, NumPy and torch are the session's to save.
        """
        ...

    def load_state(self, state: State) -> None:
        """Go back to a state.

        Raises:
            WeightsError: it is of a learner of another shape.
        """
        ...

    def export(self) -> Export:
        """Return the agent as it stands, ready to be saved and to act."""
        ...

    def close(self) -> None:
        """Release environments."""
        ...


class BatchLearner(Protocol):
    """Several training seeds side by side in one process, each of which resumes by itself."""

    @property
    def members(self) -> Sequence[Learner]:
        """One a seed; their ``iterate`` is not called."""
        ...

    def iterate(self) -> Sequence[Mapping[str, float]]:
        """Do one update of every seed; return the figures of each."""
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
