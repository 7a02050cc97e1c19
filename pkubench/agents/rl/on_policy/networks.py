"""Shapes of the on-policy networks, from spaces and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.envs.core.batch import BatchEnv


class Seen(NamedTuple):
    """Input of a network: the shape of one observation or state, and whether it is bytes."""

    shape: tuple[int, ...]
    is_bytes: bool = False


def seen_of(space: Any, config: OnPolicyConfig) -> Seen:
    """Return the network input of a space."""
    is_bytes = space.dtype == np.uint8 and not config.encoder.is_flat
    return Seen(tuple(int(size) for size in space.shape), is_bytes)


def state_seen(env: BatchEnv, seen: Mapping[str, Seen], config: OnPolicyConfig) -> Seen:
    """Return the input of a state critic: the observation of a single agent, or all of them."""
    if env.state_space is not None:
        return seen_of(env.state_space, config)
    if len(seen) == 1:
        return next(iter(seen.values()))
    return Seen((sum(int(np.prod(of.shape)) for of in seen.values()),))


def network_of(
    seen: Seen | int,
    outputs: int,
    gain: float,
    config: OnPolicyConfig,
    generator: torch.Generator,
    *,
    for_state: bool = False,
) -> MLP | EncodedNet:
    """Return a network with the settings' encoder and memory (see ``spec_of``)."""
    spec = spec_of(seen, outputs, gain, config, for_state=for_state)
    if isinstance(spec, NetworkSpec):
        return MLP(spec, generator)
    return EncodedNet(spec, generator)


def spec_of(
    seen: Seen | int,
    outputs: int,
    gain: float,
    config: OnPolicyConfig,
    *,
    for_state: bool = False,
) -> NetworkSpec | EncodedSpec:
    """Return the shape of a network with the settings' encoder and memory.

    Args:
        seen: its input (an int: the size of vectors).
        outputs: size of its output.
        gain: of the last layer's initial weights.
        config: the settings.
        for_state: the input is a state, with an MLP where the encoder does not fit.

    Raises:
        ConfigError: the encoder does not fit.
    """
    shape, is_bytes = Seen((seen,)) if isinstance(seen, int) else seen
    encoder = config.encoder
    if for_state and encoder.mismatch(shape):
        encoder = MLPEncoder(activation=encoder.activation, init=encoder.init)
    if encoder.is_plain_mlp and not config.is_recurrent:
        assert isinstance(encoder, MLPEncoder)
        return NetworkSpec(
            inputs=int(np.prod(shape)),
            hidden=encoder.hidden,
            outputs=outputs,
            activation=encoder.activation,
            layer_norm=encoder.layer_norm,
            init=encoder.init,
            head_gain=gain,
        )
    return EncodedSpec(encoder, config.memory, shape, is_bytes, outputs, gain)
