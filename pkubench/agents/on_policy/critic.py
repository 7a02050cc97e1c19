"""Critics, and what they share with actors: the networks' shape and one optimiser step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pkubench.agents.on_policy.collector import Array
from pkubench.agents.on_policy.config import OnPolicyConfig
from pkubench.agents.parts.networks import MLP, NetworkSpec
from pkubench.agents.parts.normalisers import ValueNorm
from pkubench.agents.parts.update_rules import value_loss


class Critic:
    """A value network, its normaliser and its optimiser; for reward or for cost."""

    def __init__(
        self, inputs: int, config: OnPolicyConfig, device: str, generator: torch.Generator
    ) -> None:
        """Build a critic of ``inputs`` features."""
        self.config = config
        self.net = MLP(spec_of(inputs, 1, 1.0, config), generator).to(device)
        self.norm = ValueNorm() if config.value_norm else None
        self.optimiser = adam(self.net, config.critic_lr, config)

    def __call__(self, states: Tensor) -> Tensor:
        """Return values on the network's own (normalised) scale, (B,)."""
        values: Tensor = self.net(states).squeeze(-1)
        return values

    def values(self, states: Array, device: str) -> Array:
        """Return values on the network's scale for states (..., s)."""
        with torch.no_grad():
            flat = torch.from_numpy(states.reshape(-1, states.shape[-1])).to(device)
            return self(flat).cpu().numpy().reshape(states.shape[:-1])

    def denormalise(self, values: Array) -> Array:
        """Return values on the scale of returns."""
        return values if self.norm is None else self.norm.denormalise(values)

    def loss(self, states: Tensor, old_values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one minibatch; updates the normaliser first, as HARL does."""
        if self.norm is not None:
            self.norm.update(targets)
            targets = self.norm.normalise(targets)
        loss = value_loss(
            self(states),
            old_values,
            targets,
            clip=self.config.clip if self.config.value_clip else None,
            huber_delta=self.config.huber_delta,
        )
        if self.config.critic_l2:
            squares = torch.stack([p.pow(2).sum() for p in self.net.parameters()])
            loss = loss + self.config.critic_l2 * squares.sum()
        return loss


def adam(module: nn.Module, learning_rate: float, config: OnPolicyConfig) -> torch.optim.Adam:
    """Return the optimiser of a network."""
    return torch.optim.Adam(
        module.parameters(), lr=learning_rate, eps=config.adam_epsilon, fused=True
    )


def descend(
    loss: Tensor, module: nn.Module, optimiser: torch.optim.Optimizer, max_norm: float
) -> None:
    """Take one optimiser step down ``loss``, its gradient cut to ``max_norm``."""
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimiser.step()


def spec_of(inputs: int, outputs: int, gain: float, config: OnPolicyConfig) -> NetworkSpec:
    """Return the shape of a network with the settings' hidden layers."""
    return NetworkSpec(
        inputs=inputs,
        hidden=config.hidden,
        outputs=outputs,
        activation=config.activation,
        layer_norm=config.layer_norm,
        init=config.init,
        head_gain=gain,
    )
