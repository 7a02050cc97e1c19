"""How remembered values are read: a component of the learner's settings. Imports no torch."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pkubench.agents.components import Component, register
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.families.retrieval.config import RetrievalConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever(Component, ABC, slot="retrieval", package=__name__):
    """Whether there is a memory that corrects the critic, and how it is read."""

    has_memory: ClassVar[bool] = True
    is_generated: ClassVar[bool] = False
    """Whether the hypernetwork generates its projections."""


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoRetriever(Retriever):
    """No memory: the critic regresses to returns alone."""

    has_memory: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRetriever(Retriever):
    """A memory of states with their discounted Monte-Carlo returns."""

    slots: int = 50
    """States that are remembered."""
    quota: bool = True
    """Each task has as many slots as another, and overwrites its own; otherwise any episode
    overwrites the oldest."""
    centring: Literal["none", "rollout"] = "none"
    """``rollout``: the mean return of the states considered is replaced by their mean value, of all
    tasks together."""
    initial: Literal["empty", "one-task"] = "empty"
    """``one-task``: slots start with states of the last task at a value near 0, as in the released
    data. An empty memory corrects nothing."""
    floor: float = 0.1
    """alpha, the least weight of a memory that is not empty."""
    shuffled: bool = False
    """Values are permuted among the slots after every write: a control."""
    exclude_episode: bool = False
    """A state does not retrieve states of its own episode."""
    writes: bool = True
    """False: the memory stays what the input ``bank`` gives; slots are drawn from it again at every
    update."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("slots",), shares=("floor",))


@register("attention")
@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRetriever(SlotRetriever):
    """Soft attention over all slots."""

    projection: Literal["hypernetwork", "static"] = "hypernetwork"
    """What projects queries and keys: a layer for each task, generated from its mission, or one
    layer for all."""
    keys: Literal["states", "random"] = "states"
    """``random``: a normal vector for each slot, whatever its state: a control."""
    scale: Literal["sqrt", "none"] = "sqrt"
    """``sqrt`` divides dot products by the square root of their size, 8."""
    gradient: Literal["all", "weights", "none"] = "weights"
    """Which of the retrieved value's weights and the confidence the critic's loss has gradients
    for: both (``all``), the weights, or neither."""

    @property
    def is_generated(self) -> bool:  # type: ignore[override]
        """Whether the hypernetwork generates its projections."""
        return self.projection == "hypernetwork"

    def needs(self, config: Any) -> str:
        """Require the hypernetwork's use for the policy, too."""
        made: RetrievalConfig = config
        if self.is_generated and made.task_layer != "hypernetwork":
            return "task_layer=hypernetwork, or projection=static"
        return ""


@register("kernel")
@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRetriever(SlotRetriever):
    """Neural Episodic Control's kernel (Pritzel et al. 2017): the nearest slots of the same task.

    Weights are ``1 / (|e - e_i|^2 + delta)`` of the encoder's features, normalised; nothing of it
    is learned.
    """

    slots: int = 350
    """States that are remembered."""
    neighbours: int = 11
    """k, the slots that are averaged."""
    delta: float = 1e-3
    """Added to squared distances."""

    def __post_init__(self) -> None:
        """Check the domains."""
        SlotRetriever.__post_init__(self)
        check_domains(self, at_least_one=("neighbours",), positive=("delta",))


@register("oracle")
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRetriever(SlotRetriever):
    """A control that knows the answers: of the slots with an optimal action in common, the nearest.

    Nearest is by the optimal value V*. The confidence is 1, and 0 where no slot has such an action.
    It needs a bank with optimal values and actions, and an environment that knows its own.
    """

    writes: bool = False
    """It cannot rate states of other origin than the bank."""

    def needs(self, config: Any) -> str:
        """Require that the memory stays the bank's."""
        return "writes=false" if self.writes else ""
