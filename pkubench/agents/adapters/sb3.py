"""Stable-Baselines3 models as agents.

Reading a zip of Stable-Baselines3 runs whatever code its pickles hold, so nothing here is called
without the user's explicit trust (``agents/loading.py``).

Policies of dense layers (``MlpPolicy`` of PPO, A2C, DQN, SAC, TD3, DDPG) are turned into an ONNX
graph and run as such, so that the file ``export --onnx`` writes gives the very same scores. All
others act through ``model.predict(deterministic=True)``. ``VecNormalize`` statistics are not part
of the zip: train without, or export the policy together with them as your own ``module:factory``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.adapters.onnx import OnnxPolicy
from pkubench.agents.adapters.onnx_export import (
    Activation,
    Affine,
    Clip,
    Layer,
    Linear,
    mlp_bytes,
)
from pkubench.agents.agent import Agent, Array, BoolArray, IntArray, MaskedObservation
from pkubench.envs.registry import make_batch
from pkubench.errors import AgentError, MissingExtra, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "ELU": "elu", "Sigmoid": "sigmoid"}


class PredictingPolicy:
    """An Agent that asks ``model.predict`` for the deterministic action."""

    def __init__(self, model: Any) -> None:
        """Wrap a loaded model."""
        self.policy = model.policy
        self.policy.set_training_mode(False)

    def begin(self, seeds: IntArray) -> tuple[Any, BoolArray]:
        """Start episodes: no recurrent state yet, and every episode at its start."""
        return None, np.ones(len(seeds), dtype=np.bool_)

    def act(
        self, observation: Any, state: tuple[Any, BoolArray], active: BoolArray
    ) -> tuple[Array, tuple[Any, BoolArray]]:
        """Return the mode of the policy and the recurrent state, if it has one."""
        if isinstance(observation, MaskedObservation):
            observation = observation.observation
        memory, starts = state
        actions, memory = self.policy.predict(observation, memory, starts, deterministic=True)
        return np.asarray(actions), (memory, np.zeros_like(starts))


def load_policy(path: Path, task: Task) -> Agent:
    """Return the agent of a zip. Runs code that the file holds.

    Raises:
        WeightsError: the zip is damaged or of no known algorithm.
        AgentError: its spaces are not the task's.
        MissingExtra: stable-baselines3 is not installed.
    """
    model = load_model(path)
    world = make_batch(task.id, 1, **task.env_kwargs)
    try:
        if world.num_agents > 1:
            raise AgentError(
                f"{path.name} is a policy of one agent, the task has {list(world.agents)}"
            )
        seen, acted = (
            next(iter(s.values())) for s in (world.observation_spaces, world.action_spaces)
        )
    finally:
        world.close()
    if model.observation_space.shape != seen.shape or not _same_actions(model.action_space, acted):
        raise AgentError(
            f"{path.name} was trained for observations {model.observation_space} and actions "
            f"{model.action_space}; the task has {seen} and {acted}"
        )
    graph = dense_graph(model)
    if graph is None:
        return PredictingPolicy(model)
    return OnnxPolicy(graph, acted, int(np.prod(seen.shape or (1,))), path.name)


def load_model(path: Path) -> Any:
    """Load a zip with the algorithm that wrote it. Runs code that the file holds.

    Raises:
        WeightsError: the zip is damaged or of no known algorithm.
        MissingExtra: stable-baselines3 is not installed.
    """
    try:
        import stable_baselines3 as sb3
        from stable_baselines3.common.save_util import load_from_zip_file
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "a Stable-Baselines3 model") from error
    try:
        data, parameters, _ = load_from_zip_file(path, device="cpu")
    except Exception as error:  # zip, JSON and pickle each raise their own types
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is no Stable-Baselines3 model: {text:.200}") from error
    if not isinstance(data, dict) or not isinstance(parameters, dict):
        raise WeightsError(f"{path} is no Stable-Baselines3 model: it lacks data or parameters")
    for algorithm in _candidates(sb3, data, parameters):
        try:
            return algorithm.load(path, device="cpu")
        except Exception:
            continue
    raise WeightsError(f"{path} was written by no algorithm of Stable-Baselines3 {sb3.__version__}")


def _candidates(sb3: Any, data: dict[str, Any], parameters: dict[str, Any]) -> Iterable[Any]:
    """Return the algorithms a zip may be of, judged by the settings only they have."""
    if "clip_range" in data:
        return (sb3.PPO,)
    if "exploration_rate" in data:
        return (sb3.DQN,)
    if "ent_coef_optimizer" in parameters or "target_entropy" in data:
        return (sb3.SAC,)
    if "policy_delay" in data:
        return (sb3.TD3, sb3.DDPG)
    return (sb3.A2C,)


def dense_graph(model: Any) -> bytes | None:
    """Return the ONNX model of a policy of dense layers; None if it is anything else."""
    if not isinstance(model.observation_space, spaces.Box):
        return None
    parts = (
        model.policy,
        getattr(model.policy, "actor", None),
        getattr(model.policy, "q_net", None),
    )
    extractors = [getattr(part, "features_extractor", None) for part in parts]
    if any(type(e).__name__ not in ("FlattenExtractor", "NoneType") for e in extractors):
        return None
    space = model.action_space
    found = _modules(model.policy)
    if found is None:
        return None
    modules, is_squashed = found
    layers: list[Layer] = []
    width = 0
    for module in modules:
        name = type(module).__name__
        if name == "Linear":
            weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
            layers.append(Linear(weight.T, bias))
            width = len(bias)
        elif name in _ACTIVATIONS:
            layers.append(Activation(_ACTIVATIONS[name]))
        else:
            return None
    inputs = int(np.prod(model.observation_space.shape))
    if isinstance(space, spaces.Discrete):
        return mlp_bytes(layers, inputs, width, "logits")
    if not isinstance(space, spaces.Box):
        return None
    if is_squashed:  # networks answer in [-1, 1]
        half = (space.high - space.low) / 2
        layers.append(Affine(half.reshape(-1), (space.low + half).reshape(-1)))
    layers.append(Clip(space.low.reshape(-1), space.high.reshape(-1)))
    return mlp_bytes(layers, inputs, width, "action")


def _modules(policy: Any) -> tuple[list[Any], bool] | None:
    """Return the modules from observation to the mode of the action, and whether it is squashed."""
    import torch

    if hasattr(policy, "mlp_extractor") and hasattr(policy, "action_net"):  # PPO, A2C
        if getattr(policy, "use_sde", False) or policy.squash_output:
            return None
        return [*policy.mlp_extractor.policy_net, policy.action_net], False
    if hasattr(policy, "q_net"):  # DQN: the greedy action
        return list(policy.q_net.q_net), False
    actor = getattr(policy, "actor", None)
    if actor is None:
        return None
    if hasattr(actor, "latent_pi"):  # SAC: tanh of the mean
        if actor.use_sde:
            return None
        return [*actor.latent_pi, actor.mu, torch.nn.Tanh()], True
    return list(actor.mu), True  # TD3, DDPG: the network ends in tanh


def _same_actions(a: spaces.Space[Any], b: spaces.Space[Any]) -> bool:
    if isinstance(a, spaces.Discrete) and isinstance(b, spaces.Discrete):
        return bool(a.n == b.n and a.start == b.start)
    return type(a) is type(b) and a.shape == b.shape
