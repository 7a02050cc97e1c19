"""Stable-Baselines3 policies of dense layers as ONNX graphs.

A policy is rebuilt only if each part of it is exactly a class of Stable-Baselines3: a subclass may
compute anything. The caller still compares the graph with ``predict``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    SquashedDiagGaussianDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy

from pkubench.agents.adapters.fitting import Rescaling
from pkubench.agents.adapters.onnx_export import (
    Activation,
    Affine,
    Clip,
    Layer,
    Linear,
    Round,
    Standardise,
    mlp_bytes,
)
from pkubench.agents.adapters.predicting import Statistics
from pkubench.errors import PkubenchError

_ACTIVATIONS: dict[type, str] = {
    torch.nn.Tanh: "tanh",
    torch.nn.ReLU: "relu",
    torch.nn.ELU: "elu",
    torch.nn.Sigmoid: "sigmoid",
}


class NotDense(PkubenchError):
    """The policy is not known to consist of dense layers only; the message says why."""


class _Path(NamedTuple):
    """The layers from an observation to the mode of the action."""

    extractor: Any
    modules: Sequence[Any]
    is_squashed: bool


def dense_graph(
    policy: Any, statistics: Statistics | None = None, rescaling: Rescaling | None = None
) -> bytes:
    """Return the ONNX model of a policy of dense layers.

    Args:
        policy: A Stable-Baselines3 policy.
        statistics: Applied to observations before it.
        rescaling: Applied to its actions.

    Raises:
        NotDense: it has parts that are not plain dense layers.
        MissingExtra: onnx is not installed.
    """
    seen, acted = policy.observation_space, policy.action_space
    if type(seen) is not spaces.Box or np.dtype(seen.dtype).kind != "f":
        raise NotDense(f"its observations are {type(seen).__name__} of {seen.dtype}")
    path = _path(policy)
    _exactly(path.extractor, FlattenExtractor)
    layers: list[Layer] = []
    if statistics is not None:
        layers.append(Standardise(statistics.mean, statistics.std, statistics.bound))
    width = 0
    for module in path.modules:
        kind = type(module)
        if kind is torch.nn.Linear:
            weight = module.weight.detach().numpy()
            bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().numpy()
            layers.append(Linear(weight.T, bias))
            width = len(bias)
        elif kind in _ACTIVATIONS:
            if kind is torch.nn.ELU and module.alpha != 1.0:
                raise NotDense(f"its ELU has alpha {module.alpha:g}")
            layers.append(Activation(_ACTIVATIONS[kind]))
        else:
            raise NotDense(f"it has a layer {kind.__name__}")
    inputs = int(np.prod(seen.shape))
    is_wide = statistics is not None
    if type(acted) is spaces.Discrete:
        return mlp_bytes(layers, inputs, width, "logits", wide_input=is_wide)
    if type(acted) is not spaces.Box:
        raise NotDense(f"its actions are {type(acted).__name__}")
    low, high = np.float64(acted.low).reshape(-1), np.float64(acted.high).reshape(-1)
    if path.is_squashed:
        layers.append(Affine((high - low) / 2, low + (high - low) / 2))
    layers += [Round(), Clip(low, high)]
    if rescaling is not None:
        layers.append(Affine(rescaling.half.reshape(-1), rescaling.centre.reshape(-1)))
        layers.append(Clip(rescaling.low.reshape(-1), rescaling.high.reshape(-1)))
    return mlp_bytes(layers, inputs, width, "action", wide_input=is_wide)


def _path(policy: Any) -> _Path:
    kind = type(policy)
    if kind is ActorCriticPolicy:  # PPO, A2C, TRPO
        _exactly(policy.action_dist, DiagGaussianDistribution, CategoricalDistribution)
        _exactly(policy.mlp_extractor, MlpExtractor)
        if policy.squash_output:
            raise NotDense("it squashes its outputs")
        modules = [*_chain(policy.mlp_extractor.policy_net), policy.action_net]
        return _Path(policy.pi_features_extractor, modules, False)
    if kind is DQNPolicy:  # the greedy action
        _exactly(policy.q_net, QNetwork)
        return _Path(policy.q_net.features_extractor, _chain(policy.q_net.q_net), False)
    if kind is SACPolicy:  # tanh of the mean
        actor = policy.actor
        _exactly(actor, SACActor)
        _exactly(actor.action_dist, SquashedDiagGaussianDistribution)
        modules = [*_chain(actor.latent_pi), actor.mu, torch.nn.Tanh()]
        return _Path(actor.features_extractor, modules, True)
    if kind is TD3Policy:  # TD3, DDPG: the network ends in tanh
        _exactly(policy.actor, TD3Actor)
        return _Path(policy.actor.features_extractor, _chain(policy.actor.mu), True)
    raise NotDense(f"its policy is {kind.__module__}.{kind.__qualname__}")


def _exactly(part: Any, *kinds: type) -> None:
    if type(part) not in kinds:
        raise NotDense(f"it has a {type(part).__module__}.{type(part).__qualname__}")


def _chain(sequential: Any) -> list[Any]:
    _exactly(sequential, torch.nn.Sequential)
    return list(sequential)
