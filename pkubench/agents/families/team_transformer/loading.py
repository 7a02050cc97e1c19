"""Loads saved Multi-Agent Transformers: a centralised team, or a team of local actors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import CentralisedTeam, Team
from pkubench.agents.nn.fast.policy import NetworkPolicy, NetworkSettings
from pkubench.agents.nn.torch_policy import LocalNetwork, read_module
from pkubench.agents.rl.team_transformer.acting import SablePolicy, TeamPolicy
from pkubench.agents.rl.team_transformer.networks import TeamSpec, TeamTransformer
from pkubench.agents.rl.team_transformer.sable import Sable
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.saved.team import is_sampled
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> CentralisedTeam | Team:
    """Return the team that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``{"mode": "sampled"}`` samples from the policy instead of taking its mode.

    Raises:
        ConfigError: unknown acting setting or mode.
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other agents or spaces.
    """
    stochastic = is_sampled(acting or {})
    try:
        spec = TeamSpec(**saved.config["spec"])
        agents = tuple(map(str, saved.config["agents"]))
        trained_on = str(saved.config["task"])
        if len(agents) != spec.agents:
            raise WeightsError(f"a network of {spec.agents} agents is not one of {agents}")
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
    env = make_batch(trained_on if task is None else task.id, 1)
    try:
        if set(env.agents) != set(agents):
            raise AgentError(f"the team is {sorted(agents)}, the task has {sorted(env.agents)}")
        action_spaces = {a: env.action_spaces[a] for a in agents}
        for agent, space in action_spaces.items():
            _check(agent, spec, env.observation_spaces[agent], space)
    finally:
        env.close()
    net = read_module(Sable if spec.has_memory else TeamTransformer, spec, saved.tensors)
    if not spec.is_decentralised:
        kind = SablePolicy if spec.has_memory else TeamPolicy
        return kind(net, action_spaces, stochastic=stochastic)
    std = None if spec.is_discrete else net.distribution.std().detach().double().numpy()
    members = {}
    for k, (agent, space) in enumerate(action_spaces.items()):
        network = LocalNetwork(net.actors[0 if spec.shared else k], spec.observations)
        settings = NetworkSettings(space, std, "clip", None, None)
        members[agent] = NetworkPolicy(network, settings, stochastic=stochastic)
    return Team(members)


def _check(
    agent: str, spec: TeamSpec, observation: spaces.Space[Any], space: spaces.Space[Any]
) -> None:
    is_discrete = isinstance(space, spaces.Discrete)
    size = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or ()))
    seen = int(np.prod(observation.shape or (1,)))
    if (seen, size, is_discrete) != (spec.observations, spec.actions, spec.is_discrete):
        raise AgentError(
            f"{agent}: the network maps {spec.observations} numbers to {spec.actions} outputs, the "
            f"task's observation has {seen} and its action space is {space}"
        )
