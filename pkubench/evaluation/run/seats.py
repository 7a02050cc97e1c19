"""Seats: each member of an entrant, and exactly the observations it may see."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pkubench.agents.contract import (
    Agent,
    Array,
    BoolArray,
    CentralisedTeam,
    Entrant,
    FloatArray,
    IntArray,
    MaskedObservation,
    Observer,
    Outcome,
    Population,
    State,
    Team,
)
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.seeding import agent_seeds
from pkubench.envs.core.traits import ACTION_MASK
from pkubench.errors import AgentError
from pkubench.evaluation.run.actions import ActionCheck, ActionFault


class View:
    """One agent id's own observation, copied, so that it leads to nothing else."""

    def __init__(self, env: BatchEnv, agent: str) -> None:
        """Make the view of ``agent`` in ``env``."""
        self.agent = agent
        self._keys = [f"{ACTION_MASK}:{agent}"]
        if env.num_agents == 1:  # with several agents, each mask has a name
            self._keys.append(ACTION_MASK)

    def mask(self, info: Mapping[str, Any]) -> Array | None:
        """Return the agent's (num_envs, actions) mask, None where all actions are legal."""
        for key in self._keys:
            if key in info:
                return np.asarray(info[key])
        return None

    def __call__(self, observations: Mapping[str, Any], mask: Array | None) -> Any:
        """Return what the agent is shown."""
        own = observations[self.agent]
        if isinstance(own, np.ndarray) and own.dtype.kind != "O":
            seen: Any = own.copy()
        else:  # conversations: lists of messages
            seen = [copy.deepcopy(conversation) for conversation in own]
        return seen if mask is None else MaskedObservation(seen, mask.astype(np.int8))


class Seat:
    """One acting object: a team member with its own view, or a centralised team with all."""

    def __init__(
        self, name: str, actor: Any, views: Sequence[View], joint: bool, columns: Sequence[int]
    ) -> None:
        """Seat ``actor``.

        Args:
            name: of the seat, in messages and for seeds.
            actor: who acts.
            views: of its agent ids.
            joint: it gets and gives mappings over agent ids.
            columns: its agents' places in the environment's rewards.
        """
        self.name, self.actor, self.views, self.joint = name, actor, views, joint
        self.is_observer = isinstance(actor, Observer)
        self.columns = list(columns)
        self.state: State = None

    def begin(self, seeds: IntArray) -> None:
        """Start the block's episodes; the actor receives hashes of the environment's ``seeds``."""
        self.state = self.actor.begin(agent_seeds(seeds, self.name))

    def act(
        self,
        observations: Mapping[str, Any],
        masks: Mapping[str, Array | None],
        active: BoolArray,
        answers: dict[str, Any],
    ) -> None:
        """Ask for actions; put the raw answers into ``answers``, by agent id.

        Raises:
            ActionFault: the answer is not a pair, or lacks an agent id.
        """
        view = self.views[0]
        if self.joint:
            shown: Any = {v.agent: v(observations, masks[v.agent]) for v in self.views}
        else:
            shown = view(observations, masks[view.agent])
        answer = self.actor.act(shown, self.state, active.copy())
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise ActionFault(
                f"wrong-shape: act of {self.name} must return (actions, state), "
                f"got {type(answer).__name__}"
            )
        actions, self.state = answer
        if not self.joint:
            answers[view.agent] = actions
        elif isinstance(actions, Mapping) and all(v.agent in actions for v in self.views):
            answers.update(actions)
        else:
            raise ActionFault(f"wrong-shape: {self.name} must return actions for every agent id")

    def observe(self, rewards: FloatArray, cost: FloatArray | None) -> None:
        """Report the last step to an observer: rewards (num_envs, agents) and cost (num_envs,)."""
        own = rewards[:, self.columns].sum(1)  # copies, so that nothing of the harness is shared
        outcome = Outcome(own, None if cost is None else cost.copy())
        self.state = self.actor.observe(outcome, self.state)


def seats_of(entrant: Entrant, env: BatchEnv) -> list[Seat]:
    """Assign the agents of an environment to the members of an entrant.

    Raises:
        AgentError: it is not an entrant, or not one for this environment.
    """
    ids = env.agents
    views = {agent: View(env, agent) for agent in ids}
    if isinstance(entrant, Population):
        raise AgentError("a population is scored on game tasks, not in episodes")
    if isinstance(entrant, Team):
        missing = [agent for agent in ids if agent not in entrant.members]
        if missing:
            raise AgentError(
                f"the team has no member for {_listed(missing)}; it has "
                f"{_listed(entrant.members)}, and the environment's agents are {_listed(ids)}"
            )
        return [
            Seat(a, entrant.members[a], (views[a],), joint=False, columns=[k])
            for k, a in enumerate(ids)
        ]
    if isinstance(entrant, CentralisedTeam) and entrant.centralised is True:
        return [Seat("team", entrant, tuple(views.values()), joint=True, columns=range(len(ids)))]
    if not isinstance(entrant, Agent):
        raise AgentError(f"{type(entrant).__name__} is not an agent: it has no begin and act")
    if len(ids) > 1:
        raise AgentError(
            f"the environment has agents {list(ids)}, so it takes a Team with a member for each "
            "(or a CentralisedTeam), not a single Agent"
        )
    return [Seat(ids[0], entrant, (views[ids[0]],), joint=False, columns=[0])]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def checks_of(env: BatchEnv) -> dict[str, ActionCheck]:
    """Return the action check of each agent id of an environment."""
    return {a: ActionCheck(a, env.action_spaces[a], env.num_envs) for a in env.agents}
