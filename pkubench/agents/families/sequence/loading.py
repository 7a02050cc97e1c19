"""Loads saved agents that learned from data; a policy of the present state acts without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Agent
from pkubench.agents.nn.fast.policy import Layers, NetworkPolicy, NetworkSettings, saved_floats
from pkubench.agents.nn.fast.squashed_policy import SquashedPolicy
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

DEFAULTS: Mapping[str, Any] = {
    "mode": "mode",
    "target_return": None,
    "beam": None,
    "horizon": None,
}
"""Settings of acting; None: what the saved agent has."""
HEADS = ("categorical", "deterministic", "gaussian")
"""Heads of policies of the present state."""


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the agent that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: ``mode``; of a Decision Transformer ``target_return``, of a Trajectory Transformer
            ``beam`` and ``horizon``.

    Raises:
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other spaces.
        ConfigError: a setting of acting has no effect here, or is out of range.
    """
    chosen = {**DEFAULTS, **(acting or {})}
    policy = saved.config.get("policy")
    if not isinstance(policy, dict) or not isinstance(saved.config.get("task"), str):
        raise WeightsError("config.json of an agent that learned from data needs a 'policy'")
    env = make_batch(saved.config["task"] if task is None else task.id, 1)
    try:
        if env.agents != (SOLE_AGENT,):
            raise AgentError(f"it is one agent, and the task has {env.num_agents}")
        observation = env.observation_spaces[SOLE_AGENT]
        action = env.action_spaces[SOLE_AGENT]
    finally:
        env.close()
    form = str(policy.get("form"))
    if form not in _FORMS:
        raise WeightsError(f"config.json describes a policy of unknown form {form!r}")
    read, used = _FORMS[form]
    for name, value in chosen.items():
        if name != "mode" and name not in used and value is not None:
            raise ConfigError(f"{name} has no effect here: this agent does not act with it")
    try:
        return read(policy, saved.tensors, observation, action, chosen)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error


def _check_fit(inputs: int, outputs: int, observation: Any, wanted: int | None) -> None:
    numbers = int(np.prod(observation.shape or (1,)))
    if inputs != numbers or outputs != wanted:
        raise AgentError(
            f"the policy maps {inputs} numbers to {outputs} outputs, and the task has "
            f"{numbers} numbers and {wanted} outputs to act with"
        )


def _read_mlp(
    policy: Mapping[str, Any],
    tensors: Mapping[str, Any],
    observation: spaces.Space[Any],
    space: spaces.Space[Any],
    acting: Mapping[str, Any],
) -> Agent:
    head, spec = policy["head"], policy["spec"]
    if head not in HEADS:
        raise WeightsError(f"unknown head {head!r}")
    wanted: int | None = None
    if isinstance(space, spaces.Discrete) and head == "categorical":
        wanted = int(space.n)
    elif isinstance(space, spaces.Box) and len(space.shape) == 1 and head != "categorical":
        wanted = space.shape[0] * (2 if head == "gaussian" else 1)
    _check_fit(spec["inputs"], spec["outputs"], observation, wanted)
    layers = _normalising(Layers.read(tensors, "net", spec), tensors)
    settings = NetworkSettings(space, None, "affine", None, None)
    is_sampled = acting["mode"] == "sampled"
    if head == "categorical":
        return NetworkPolicy(layers, settings, stochastic=is_sampled)
    return SquashedPolicy(layers, settings, head, stochastic=is_sampled)


def _normalising(layers: Layers, tensors: Mapping[str, Any]) -> Layers:
    """Return layers that take states as they are, in the double precision in which they act.

    ``W ((x - m) / s) + b = (W / s) x + b - (W / s) m``.
    """
    (weight, bias), *rest = layers.linears
    mean, std = (
        saved_floats(tensors, name, (len(weight),)).astype(np.float64) for name in ("mean", "std")
    )
    scaled = weight / std[:, None]
    return Layers(((scaled, bias - mean @ scaled), *rest), layers.norms, layers.activation)


def _read_decision(
    policy: Mapping[str, Any],
    tensors: Mapping[str, Any],
    observation: spaces.Space[Any],
    space: spaces.Space[Any],
    acting: Mapping[str, Any],
) -> Agent:
    from pkubench.agents.nn.torch_policy import read_module
    from pkubench.agents.rl.offline.acting import DecisionPolicy, DecisionSettings
    from pkubench.agents.rl.offline.models.decision import DecisionSpec, DecisionTransformer

    spec = DecisionSpec.from_config(dict(policy["spec"]))
    is_discrete = isinstance(space, spaces.Discrete)
    head = policy["head"]
    if head not in ("tanh", "squashed", "categorical") or (head == "categorical") != is_discrete:
        raise AgentError(f"it has a {head!r} head, and the task's action space is {space}")
    wanted = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or ()))
    if (spec.actions, spec.is_discrete) != (wanted, is_discrete):
        raise AgentError(f"it acts with {spec.actions} numbers, and the action space is {space}")
    outputs = wanted * (2 if head == "squashed" else 1)
    _check_fit(spec.states, spec.outputs, observation, outputs)
    net = read_module(DecisionTransformer, spec, tensors)
    low, high = (float(value) for value in policy["returns"])
    settings = DecisionSettings(
        space=space,
        head=str(head),
        context=int(policy["context"]),
        return_scale=float(policy["return_scale"]),
        mean=saved_floats(tensors, "mean", (spec.states,)),
        std=saved_floats(tensors, "std", (spec.states,)),
    )
    if settings.context < 1 or not settings.return_scale > 0.0:
        raise WeightsError("context and return_scale of a saved agent must be positive")
    target = target_return(acting["target_return"], low, high)
    return DecisionPolicy(net, settings, target, stochastic=acting["mode"] == "sampled")


def _read_trajectory(
    policy: Mapping[str, Any],
    tensors: Mapping[str, Any],
    observation: spaces.Space[Any],
    space: spaces.Space[Any],
    acting: Mapping[str, Any],
) -> Agent:
    from pkubench.agents.nn.torch_policy import read_module
    from pkubench.agents.rl.offline.acting_by_plans import TrajectoryPolicy
    from pkubench.agents.rl.offline.models.discretiser import Discretiser
    from pkubench.agents.rl.offline.models.trajectory import TrajectorySpec, TrajectoryTransformer
    from pkubench.agents.rl.offline.planning import PlanSettings

    spec = TrajectorySpec.from_config(dict(policy["spec"]))
    is_discrete = isinstance(space, spaces.Discrete)
    if policy["is_discrete"] is not is_discrete:
        raise AgentError(f"it has other actions than the task's action space {space}")
    wanted = 1 if is_discrete else int(np.prod(space.shape or ()))
    _check_fit(spec.states, spec.actions, observation, wanted)
    net = read_module(TrajectoryTransformer, spec, tensors)
    shape = (spec.width, spec.bins)
    bins = Discretiser(
        saved_floats(tensors, "edges", (spec.width, spec.bins - 1)),
        saved_floats(tensors, "values", shape),
    )
    sizes = {}
    for name in ("beam", "horizon", "expand"):
        sizes[name] = int(policy[name] if acting.get(name) is None else acting[name])
        if sizes[name] < 1:
            raise ConfigError(f"{name} must be at least 1, got {sizes[name]}")
    settings = PlanSettings(**sizes, cdf=float(policy["cdf"]), gamma=float(policy["gamma"]))
    return TrajectoryPolicy(net, bins, space, settings, int(policy["context"]))


_FORMS = {
    "mlp": (_read_mlp, ()),
    "decision": (_read_decision, ("target_return",)),
    "trajectory": (_read_trajectory, ("beam", "horizon")),
}
"""Form of a policy -> what reads it, and the settings of acting that it has."""


def target_return(asked: float | None, low: float, high: float) -> float:
    """Return what an agent is asked for: by default the best return of its data.

    Args:
        asked: the user's choice.
        low: the worst return of the data.
        high: the best one.

    Raises:
        ConfigError: it is further from the returns of the data than these are from each other, and
            than the largest of them is from 0: a scale that the network has not seen.
    """
    if asked is None:
        return high
    room = max(high - low, abs(high), abs(low))
    if not math.isfinite(asked) or not low - room <= asked <= high + room:
        raise ConfigError(
            f"target_return={asked:g} is out of range: the returns of the data are {low:g} to "
            f"{high:g}, and {low - room:g} to {high + room:g} can be asked for"
        )
    return asked
