"""Policies of the present state, saved in the form that NumPy acts with."""

from __future__ import annotations

from typing import Any

import torch

from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.rl.offline.data import Array, Prepared
from pkubench.agents.rl.trained import tensors_of


def network(inputs: int, hidden: tuple[int, ...], outputs: int, generator: torch.Generator) -> MLP:
    """Return a network with ReLU and torch's initial weights."""
    spec = NetworkSpec(
        inputs=inputs,
        hidden=hidden,
        outputs=outputs,
        activation="relu",
        layer_norm=False,
        init="kaiming",
        head_gain=1.0,
    )
    return MLP(spec, generator)


def exported(net: MLP, head: str, data: Prepared) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the description and the tensors of a policy of normalised states.

    Its outputs are logits (``categorical``), actions before tanh (``deterministic``), or means and
    log-deviations of actions before tanh (``gaussian``).
    """
    described = {"form": "mlp", "head": head, "spec": net.spec.as_config()}
    tensors = {f"net.{name}": value for name, value in tensors_of(net).items()}
    return described, tensors | {"mean": data.mean, "std": data.std}
