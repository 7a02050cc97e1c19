"""The Agent contract: what the harness asks of anything it scores.

Everything is batched over episodes and carries explicit state, so recurrent networks,
transformers' contexts and retrieval banks fit without an exception:

* an ``Agent`` acts for one agent id of a world (or converses, in a text world);
* a ``Team`` gives each agent id its own ``Agent``; the harness hands each one only its own
  observation, so decentralised execution is enforced;
* a ``CentralisedTeam`` sees all observations and must say so by its type; boards label it;
* a ``Population`` is a set of game policies with a meta-strategy for each player.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pkubench.errors import AgentError

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
State = Any
"""Whatever an agent remembers between steps; the harness keeps it and hands it back."""


class MaskedObservation(NamedTuple):
    """The observation where a world says which actions are legal."""

    observation: Array
    """(episodes, ...)."""
    action_mask: Array
    """(episodes, actions) int8, 1 where the action is legal."""


@runtime_checkable
class Agent(Protocol):
    """Acts for one agent id in many episodes at once."""

    def begin(self, seeds: IntArray) -> State:
        """Start ``len(seeds)`` episodes.

        Args:
            seeds: int64 (episodes,), the source of all randomness the agent may use in each
                episode, so that an episode does not depend on the batch it runs in.

        Returns:
            The state before the first step (None for an agent without memory).
        """
        ...

    def act(self, observation: Any, state: State, active: BoolArray) -> tuple[Any, State]:
        """Choose the next action of every episode.

        Args:
            observation: (episodes, ...) array; a ``MaskedObservation`` where actions may be
                illegal; a list of conversations (lists of ``{"role", "content"}``) in text worlds.
            state: what ``begin`` or the previous call returned.
            active: bool (episodes,); episodes that are over stay in the batch as False, and what
                is returned for them is ignored.

        Returns:
            Actions (episodes, ...) of the world's action space (a list of strings in text worlds)
            and the new state.
        """
        ...


@runtime_checkable
class CostObserver(Protocol):
    """An Agent that is told each step's cost, as one that keeps a budget must be (Saute).

    A world with a cost gives it to whoever acts, beside the observation; most agents need not know.
    """

    def observe_cost(self, cost: FloatArray, state: State) -> State:
        """Take in what the last step cost.

        Args:
            cost: float64 (episodes,); what comes for episodes that are over means nothing.
            state: what ``act`` returned.

        Returns:
            The new state.
        """
        ...


@runtime_checkable
class StochasticPolicy(Protocol):
    """An Agent without memory that can tell its action probabilities, so games score it exactly."""

    def action_probabilities(self, observation: Array, action_mask: Array) -> FloatArray:
        """Return (batch, actions) probabilities, 0 where ``action_mask`` is 0."""
        ...


@dataclass(frozen=True)
class Team:
    """One Agent for each agent id; each sees its own observation only."""

    members: Mapping[str, Agent]

    def __post_init__(self) -> None:
        """Check that each member honours the contract."""
        for name, member in self.members.items():
            if not isinstance(member, Agent):
                raise AgentError(f"team member {name!r} ({type(member).__name__}) has no begin/act")


@runtime_checkable
class CentralisedTeam(Protocol):
    """Acts for all agents from all observations: centralised execution, labelled as such."""

    centralised: bool
    """Must be True."""

    def begin(self, seeds: IntArray) -> State:
        """As ``Agent.begin``."""
        ...

    def act(
        self, observations: Mapping[str, Any], state: State, active: BoolArray
    ) -> tuple[Mapping[str, Any], State]:
        """As ``Agent.act`` with a mapping from agent id to observations, and to actions."""
        ...


GamePolicy = Callable[[str], Mapping[int, float]] | Mapping[str, Mapping[int, float]]
"""Information-state string -> {action: probability}."""


@dataclass(frozen=True)
class Population:
    """K policies a player and the probability of playing each: what a game task scores."""

    policies: tuple[Sequence[GamePolicy], Sequence[GamePolicy]]
    meta_strategy: tuple[FloatArray, FloatArray]

    def __post_init__(self) -> None:
        """Check that both meta-strategies are distributions over their policies."""
        for player, (members, weights) in enumerate(
            zip(self.policies, self.meta_strategy, strict=True)
        ):
            weights = np.asarray(weights)
            if weights.shape != (len(members),) or len(members) == 0:
                raise AgentError(
                    f"player {player}: {len(members)} policies but a meta-strategy of shape "
                    f"{weights.shape}"
                )
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise AgentError(f"player {player}: the meta-strategy has a negative or NaN entry")
            if abs(float(weights.sum()) - 1.0) > 1e-6:
                raise AgentError(f"player {player}: the meta-strategy sums to {weights.sum():.6g}")


Entrant = Agent | Team | CentralisedTeam | Population
"""Anything the harness can score."""
