"""The Agent contract: the interface of everything that the harness scores.

Everything is batched over episodes and carries explicit state, so recurrent networks,
transformers' contexts and retrieval banks need no special case:

** an ``Agent`` acts for one agent id of an environment (or converses, in a text environment);
* a ``Team`` gives each agent id its own ``Agent``; the harness passes each one only its own
  observation, so decentralised execution is enforced;
* a ``CentralisedTeam`` receives all observations and must declare this by its type; boards label
  it;
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
"""What an agent remembers between steps; the harness stores it and passes it back."""


class MaskedObservation(NamedTuple):
    """The observation where an environment has action masks."""

    observation: Array
    """(episodes, ...)."""
    action_mask: Array
    """(episodes, actions) int8, 1 where the action is legal."""


@runtime_checkable
class Agent(Protocol):
    """Acts for one agent id in a batch of episodes."""

    def begin(self, seeds: IntArray) -> State:
        """Start ``len(seeds)`` episodes.

        Args:
            seeds: int64 (episodes,), the only source of randomness the agent may use in each
                episode, so that an episode does not depend on the batch it runs in.

        Returns:
            The state before the first step (None for an agent without memory).
        """
        ...

    def act(self, observation: Any, state: State, active: BoolArray) -> tuple[Any, State]:
        """Choose the next action of every episode.

        Args:
            observation: (episodes, ...) array; a ``MaskedObservation`` where actions may be
                illegal; a list of conversations (lists of ``{"role", "content"}``) in text
                environments.
            state: the state that ``begin`` or the previous call returned.
            active: bool (episodes,); finished episodes stay in the batch as False, and their
                actions are ignored.

        Returns:
            Actions (episodes, ...) of the environment's action space (a list of strings in text
            environments) and the new state.
        """
        ...


@runtime_checkable
class TextAgent(Protocol):
    """An Agent that answers in words, in every environment that can be asked in words.

    It is given a list of conversations and returns a list of texts. The last message of a
    conversation is the user's where a reply is asked for, and has the allowed ``answers`` (a list
    of texts) if it is a question; where it is the assistant's, the reply is not read. It may also
    have ``prompting`` (a mapping, how it wants to be prompted: ``pkubench.envs.core.text_view``),
    ``one_at_a_time`` (True: it is asked about one episode after another), and ``waits`` (True: it
    waits for something outside this process, within its own limits, so that calls are not timed).
    """

    converses: bool
    """Must be True."""

    def begin(self, seeds: IntArray) -> State:
        """As ``Agent.begin``."""
        ...

    def act(
        self, observation: Sequence[Any], state: State, active: BoolArray
    ) -> tuple[Sequence[str], State]:
        """As ``Agent.act``, with conversations and replies."""
        ...


def converses(entrant: Any) -> bool:
    """Return whether an agent answers in words."""
    return getattr(entrant, "converses", False) is True


class Outcome(NamedTuple):
    """What a step brought in each episode; meaningless for finished ones."""

    reward: FloatArray
    """float64 (episodes,): the agent's own; all agents' together for a centralised team."""
    cost: FloatArray | None
    """float64 (episodes,); None where the task counts no costs."""


@runtime_checkable
class Observer(Protocol):
    """An Agent that observes what each step brought, as one with a target return must.

    The harness passes it to agents with this method after each step but the last of an episode.
    """

    def observe(self, outcome: Outcome, state: State) -> State:
        """Observe the outcome of the last step; return the new state.

        Args:
            outcome: reward and cost.
            state: the state that ``act`` returned.
        """
        ...


@runtime_checkable
class Illustrator(Protocol):
    """An Agent that shows in films what it looked at, beside the frames of the environment."""

    def beside(self, observation: Any, state: State) -> npt.NDArray[np.uint8]:
        """Return a picture, (height, width, 3) uint8, of the same shape at every step.

        Args:
            observation: of one episode, (1, ...), as ``act`` received it.
            state: the state that ``act`` returned.
        """
        ...


@runtime_checkable
class StochasticPolicy(Protocol):
    """An Agent without memory that returns action probabilities, so games can score it exactly."""

    def action_probabilities(self, observation: Array, action_mask: Array) -> FloatArray:
        """Return (batch, actions) probabilities, 0 where ``action_mask`` is 0."""
        ...


@dataclass(frozen=True)
class Team:
    """One Agent for each agent id; each receives only its own observation."""

    members: Mapping[str, Agent]

    def __post_init__(self) -> None:
        """Check that each member implements the contract."""
        for name, member in self.members.items():
            if not isinstance(member, Agent):
                raise AgentError(f"team member {name!r} ({type(member).__name__}) has no begin/act")


@runtime_checkable
class CentralisedTeam(Protocol):
    """Acts for all agents from all observations: centralised execution, labeled as such."""

    centralised: bool
    """Must be True."""

    def begin(self, seeds: IntArray) -> State:
        """As ``Agent.begin``."""
        ...

    def act(
        self, observations: Mapping[str, Any], state: State, active: BoolArray
    ) -> tuple[Mapping[str, Any], State]:
        """As ``Agent.act``, with mappings from agent id to observations and to actions."""
        ...


GamePolicy = Callable[[str], Mapping[int, float]] | Mapping[str, Mapping[int, float]]
"""Information-state string -> {action: probability}."""


@dataclass(frozen=True)
class Population:
    """K policies per player and the probability of playing each: what a game task scores."""

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
