"""Critics: of reward, and of cost where a constraint is held, on the same inputs."""

from __future__ import annotations

import numpy as np
import torch

from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.nn.normalisers import ValueNorm
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.trainers import CriticTrainer, Minibatches


class Critic:
    """A value network and the normaliser of its returns; for reward or for cost."""

    def __init__(
        self, inputs: int, config: OnPolicyConfig, device: str, generator: torch.Generator
    ) -> None:
        """Build a critic of ``inputs`` features."""
        self.net = MLP(spec_of(inputs, 1, 1.0, config), generator).to(device)
        self.norm = ValueNorm() if config.value_norm else None

    def values(self, states: Array, device: str) -> Array:
        """Return values on the network's own (normalised) scale for states (..., s)."""
        with torch.no_grad():
            flat = torch.from_numpy(states.reshape(-1, states.shape[-1])).to(device)
            values: Array = self.net(flat).squeeze(-1).cpu().numpy()
        return values.reshape(states.shape[:-1])

    def denormalise(self, values: Array) -> Array:
        """Return values on the scale of returns."""
        return values if self.norm is None else self.norm.denormalise(values)


class CriticStack:
    """Critics of equal inputs, trained together: every minibatch is theirs in common."""

    def __init__(
        self,
        inputs: int,
        count: int,
        config: OnPolicyConfig,
        device: str,
        generator: torch.Generator,
    ) -> None:
        """Build ``count`` critics of ``inputs`` features."""
        self.config = config
        self.members = [Critic(inputs, config, device, generator) for _ in range(count)]
        self.trainer = CriticTrainer(
            [critic.net for critic in self.members],
            -(-config.batch_steps // config.minibatches),
            lr=config.critic_lr,
            epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            l2=config.critic_l2,
            clip=config.clip if config.value_clip else None,
            huber_delta=config.huber_delta,
        )

    def fit(
        self, states: Array, raw: Array, targets: Array, generator: torch.Generator
    ) -> list[float]:
        """Descend the value loss on all samples, pass by pass; return each critic's mean loss.

        Args:
            states: (B, s).
            raw: (R, B), values on the networks' scale when the data was collected.
            targets: (R, B), returns.
            generator: puts the samples in order.
        """
        trainer, config = self.trainer, self.config
        samples = {"raw": raw, "targets": targets}
        batches = Minibatches(trainer.prepare(states), samples, config.minibatches, generator)
        total, count = np.zeros(len(self.members)), 0
        for _ in range(config.critic_epochs):
            for part in batches.one_pass():
                wanted = self._normalised(part.samples["targets"])
                total += trainer.descend(part.inputs, part.samples["raw"], wanted)
                count += 1
        return [float(loss) for loss in total / count]

    def _normalised(self, targets: Array) -> Array:
        """Return targets (R, B) on the networks' scale; the normalisers hear them first (HARL)."""
        if self.members[0].norm is None:
            return targets
        wanted = np.empty_like(targets)
        for row, critic in enumerate(self.members):
            assert critic.norm is not None
            critic.norm.update(targets[row])
            wanted[row] = critic.norm.normalise(targets[row])
        return wanted


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
