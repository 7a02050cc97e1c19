"""Acting with saved torch modules: in double precision on one thread.

Outputs are rounded to single precision like those of ``fast/policy.py``, for the same reason:
kernels of other processors then give the same action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pkubench.agents.contract import BoolArray, FloatArray, IntArray, MaskedObservation
from pkubench.agents.nn.fast.policy import Array, NetworkPolicy, NetworkSettings, saved_floats
from pkubench.agents.nn.modules import EncodedNet, EncodedSpec
from pkubench.envs.core.seeding import RandomStreams
from pkubench.errors import ConfigError, UnknownName, WeightsError


class TorchNetwork:
    """An ``EncodedNet`` without memory, from arrays to arrays."""

    def __init__(self, net: EncodedNet) -> None:
        """Take over ``net`` and widen it to double precision."""
        self.net = net.double().eval()

    @property
    def inputs(self) -> int:
        """Size of one observation."""
        return self.net.spec.inputs

    def __call__(self, x: Array) -> Array:
        """Map (B, inputs) float64 to (B, outputs) float64."""
        with one_thread(), torch.no_grad():
            outputs: Array = self.net(torch.from_numpy(x)).numpy()
        return outputs

    def step(self, x: Array, hidden: Array) -> tuple[Array, Array]:
        """Return outputs (B, outputs) and hidden states (B, units) after one step."""
        with one_thread(), torch.no_grad():
            never = torch.zeros(1, len(x), dtype=torch.bool)
            before = torch.from_numpy(hidden)
            out, states = self.net.sequence(torch.from_numpy(x)[None], never, before)
        return out[0].numpy(), states[0].numpy()


class LocalNetwork:
    """A torch module of one agent's observation, from arrays to arrays."""

    def __init__(self, module: nn.Module, inputs: int) -> None:
        """Take over ``module`` and widen it."""
        self.module, self.inputs = module.double().eval(), inputs

    def __call__(self, x: FloatArray) -> FloatArray:
        """Map (B, inputs) to (B, outputs)."""
        with one_thread(), torch.no_grad():
            found: FloatArray = self.module(torch.from_numpy(x)).numpy()
        return found


class Remembered(NamedTuple):
    """The state of a recurrent policy between steps."""

    hidden: FloatArray
    """(episodes, units)."""
    random: RandomStreams | None


class RecurrentPolicy:
    """An Agent on a saved network with memory. Deterministic unless ``stochastic``."""

    def __init__(
        self, network: TorchNetwork, settings: NetworkSettings, *, stochastic: bool = False
    ) -> None:
        """Make the policy."""
        self.network = network
        self.policy = NetworkPolicy(network, settings, stochastic=stochastic)

    def begin(self, seeds: IntArray) -> Remembered:
        """Start episodes with hidden states of zero."""
        hidden = np.zeros((len(seeds), self.network.net.units))
        return Remembered(hidden, self.policy.begin(seeds))

    def act(
        self, observation: Any, state: Remembered, active: BoolArray
    ) -> tuple[Array, Remembered]:
        """Return actions (B,) int64 or (B, d) of the space's dtype."""
        mask = None
        if isinstance(observation, MaskedObservation):
            observation, mask = observation
        x = self.policy.inputs_of(observation)
        out, hidden = self.network.step(x, state.hidden)
        actions, random = self.policy.choose(out, mask, state.random)
        return actions, Remembered(hidden, random)


def read_network(
    tensors: Mapping[str, Array], prefix: str, spec: Mapping[str, Any]
) -> TorchNetwork:
    """Read the network ``prefix`` from saved tensors (see ``read_module``).

    Raises:
        WeightsError: ``spec`` describes no network, or a tensor does not fit it.
    """
    try:
        described = EncodedSpec.from_config(dict(spec))
        wrong = described.encoder.mismatch(described.shape)
        if not wrong and described.inputs != spec["inputs"]:
            wrong = f"{spec['inputs']} inputs are not those of shape {described.shape}"
        if wrong:
            raise ConfigError(wrong)
    except _NO_NETWORK as error:
        raise WeightsError(f"network {prefix!r} cannot be rebuilt: {error}") from error
    return TorchNetwork(read_module(EncodedNet, described, tensors, prefix))


def read_module(
    make: Callable[[Any, torch.Generator], Any],
    spec: Any,
    tensors: Mapping[str, Array],
    prefix: str = "net",
) -> Any:
    """Return the module that ``make(spec, generator)`` builds, with saved tensors.

    Memory is allocated after the shapes are compared: a description may come from anywhere, and
    say anything.

    Raises:
        WeightsError: no such module can be built, or a tensor does not fit it.
    """
    try:
        with torch.device("meta"):
            shapes = make(spec, torch.Generator()).state_dict()
    except _NO_NETWORK as error:
        text = str(error).partition("\n")[0]
        raise WeightsError(f"network {prefix!r} cannot be rebuilt: {text}") from error
    state = {
        key: torch.from_numpy(saved_floats(tensors, f"{prefix}.{key}", tuple(value.shape)))
        for key, value in shapes.items()
    }
    # built again, with memory, for buffers that are not saved
    module = make(spec, torch.Generator())
    module.load_state_dict(state)
    return module


_NO_NETWORK = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ConfigError,
    LookupError,
    RuntimeError,
    TypeError,
    UnknownName,
    ValueError,
)
"""What encoders and memories raise where a description is of no network."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, so that the order of summation is fixed."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
