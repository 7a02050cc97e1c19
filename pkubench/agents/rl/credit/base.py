"""The interface of a credit step: which rewards each agent's advantages are computed from.

A ``Credit`` is the component that users choose: frozen settings. It starts a ``CreditModel``, which
assigns the rewards during a training. A formula (``CreditFormula``) is its own model; a learned
model has networks, which are trained beside the learner and saved in its checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pkubench.agents.components import Component
from pkubench.agents.contract import Array, FloatArray

if TYPE_CHECKING:
    import torch
    from gymnasium import spaces

    from pkubench.agents.learner import State
    from pkubench.agents.rl.credit.episodes import Episodes
    from pkubench.agents.rl.rollout import Rollout


class CreditContext(NamedTuple):
    """What a credit model is made for."""

    agents: tuple[str, ...]
    """Ids, in the order of a rollout's columns."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Agent id -> the shape of an observation, which a rollout has flat."""
    action_spaces: Mapping[str, spaces.Space[Any]]
    """Agent id -> Discrete or Box."""
    state_shape: tuple[int, ...]
    """The shape of a state, which a rollout has flat if critics are of it."""
    device: str
    """Where networks are trained."""
    horizon: int | None = None
    """Most steps of an episode; None where it has no time limit."""
    has_state_critics: bool = True
    """Whether critics are of the state; else they are of own observations, and a rollout has no
    states."""


class CreditModel(ABC):
    """What assigns credit during a training."""

    @abstractmethod
    def __call__(self, rollout: Rollout) -> FloatArray:
        """Return the reward of each agent, float64 (T, N, agents)."""

    @abstractmethod
    def update(self, rollout: Rollout) -> None:
        """Learn from a rollout, before its credit is assigned."""

    @property
    def is_ready(self) -> bool:
        """Whether policies are trained already; until then they only collect episodes."""
        return True

    def awaits(self) -> str:
        """Return what policies wait for until the model is ready, as the end of a sentence."""
        return ""

    def to_imitate(self) -> Iterable[Episodes]:
        """Return the batches of past episodes that policies imitate after this update."""
        return ()

    def metrics(self) -> dict[str, float]:
        """Return figures of the last update for the training curve."""
        return {}

    @abstractmethod
    def learned(self) -> dict[str, Array]:
        """Return what assigning credit reads of what was learned, to be saved with the agent."""

    @abstractmethod
    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore what ``learned`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: it is of another model.
        """

    @abstractmethod
    def state(self) -> State:
        """Return everything that changes, for a checkpoint: nested arrays and plain data."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Restore a state that ``state`` returned.

        Raises:
            KeyError, RuntimeError, ValueError: it is of another model.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Component, ABC, slot="credit", package="pkubench.agents.rl.credit"):
    """Assigns the rewards of a rollout to the agents."""

    is_shared: ClassVar[bool] = False
    """Whether all columns are equal, so that one critic of the state serves all agents."""
    ends_at_death: ClassVar[bool] = False
    """Whether an agent's rewards end with its death, so that no value follows it."""
    info_keys: ClassVar[tuple[str, ...]] = ()
    """Entries of the environment's info that it reads: ``Rollout.extras`` has them."""
    env_settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Settings of training environments, with which they report these."""

    @property
    def is_causal(self) -> bool:
        """Whether the reward of a step is a function of the episode up to that step."""
        return True

    @abstractmethod
    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model at the start of a training.

        Args:
            context: agents, spaces and device.
            generator: the learner's, for initial weights and for every draw later: it is saved in
                checkpoints.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditFormula(Credit, CreditModel):
    """Base of the credit steps that learn nothing: ``__call__`` is the formula."""

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the formula itself."""
        return self

    def update(self, rollout: Rollout) -> None:
        """Learn nothing."""

    def learned(self) -> dict[str, Array]:
        """Return nothing."""
        return {}

    def load_learned(self, learned: Mapping[str, Array]) -> None:
        """Restore nothing."""

    def state(self) -> State:
        """Return nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Restore nothing."""
