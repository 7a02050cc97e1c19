"""Critics: of reward, and of cost with a constraint, on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from pkubench.agents.nn.fast.trainers import FastCriticTrainer, is_fast
from pkubench.agents.nn.modules import EncodedNet
from pkubench.agents.nn.normalisers import ValueNorm
from pkubench.agents.rl.chunks import Chunks
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.networks import Seen, network_of
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.trainers import (
    AutogradCriticTrainer,
    CriticTrainer,
    Minibatches,
    shuffled,
)


class Sequences(NamedTuple):
    """Order of the steps of a rollout, for networks with memory."""

    first: Array
    """(T, N) bool, whether a step is the first one of its episode."""
    hidden: Array
    """(R, K N, units), the critics' hidden states where training begins: see ``Values.starts``."""


class Values(NamedTuple):
    """A critic's values of a rollout, on its own (normalised) scale."""

    values: Array
    """(T, N), V(s_t)."""
    next_values: Array
    """(T, N), V(s_{t+1}) where needed, else 0."""
    hidden: Array
    """(N, units), the hidden state after the last step; no units without memory."""
    starts: Array
    """(K N, units), the hidden states before each of K chunks; K is 1 for whole rollouts."""


class Critic:
    """A value network and the normaliser of its returns; for reward or cost."""

    def __init__(
        self, seen: Seen | int, config: OnPolicyConfig, device: str, generator: torch.Generator
    ) -> None:
        """Build a critic of states of a shape (an int: the size of vectors)."""
        self.net = network_of(seen, 1, 1.0, config, generator, for_state=True).to(device).eval()
        self.norm = ValueNorm() if config.value_norm else None
        self.chunk_length = config.memory.chunk_length

    @property
    def units(self) -> int:
        """Size of the hidden state, 0 without memory."""
        return self.net.units if isinstance(self.net, EncodedNet) else 0

    def values(self, states: Array, device: str) -> Array:
        """Return values on the network's own (normalised) scale for states (..., s)."""
        with torch.no_grad():
            flat = torch.from_numpy(states.reshape(-1, states.shape[-1])).to(device)
            values: Array = self.net(flat).squeeze(-1).cpu().numpy()
        return values.reshape(states.shape[:-1])

    def of_rollout(
        self,
        states: Array,
        next_states: Array,
        needed: Array,
        first: Array,
        hidden: Array,
        device: str,
    ) -> Values:
        """Return the values of a rollout's states, and of the next ones where ``needed``.

        Args:
            states: (T, N, s).
            next_states: (T, N, s).
            needed: (T, N) bool.
            first: (T, N) bool, whether a step is the first one of its episode.
            hidden: (N, units), before the first step.
            device: of the network.
        """
        raw = np.zeros(needed.shape, np.float32)
        if not isinstance(self.net, EncodedNet) or not self.units:
            values = self.values(states, device)
            raw = np.empty_like(values)
            raw[needed] = self.values(next_states[needed], device)
            return Values(values, raw, hidden, hidden.copy())
        with torch.no_grad():
            x = torch.from_numpy(states).to(device)
            begins, before = torch.from_numpy(first).to(device), torch.from_numpy(hidden).to(device)
            out, after = self.net.sequence(x, begins, before)
            following = torch.from_numpy(next_states[needed]).to(device)[None]
            never = torch.zeros(following.shape[:2], dtype=torch.bool, device=device)
            chosen = torch.from_numpy(needed).to(device)
            ahead, _ = self.net.sequence(following, never, after[chosen])
        raw[needed] = ahead[0, :, 0].cpu().numpy()
        chunks = Chunks.of(len(first), first.shape[1], self.chunk_length or len(first))
        starts = torch.cat(chunks.starts(before, after)).cpu().numpy()
        return Values(out[..., 0].cpu().numpy(), raw, after[-1].cpu().numpy(), starts)

    def denormalise(self, values: Array) -> Array:
        """Return values on the scale of returns."""
        return values if self.norm is None else self.norm.denormalise(values)


class CriticStack:
    """Critics of equal inputs, trained together on the same minibatches."""

    def __init__(
        self,
        seen: Seen | int,
        count: int,
        config: OnPolicyConfig,
        device: str,
        generator: torch.Generator,
        agents: int = 1,
    ) -> None:
        """Build ``count`` critics of states of a shape, trained on the samples of some agents."""
        self.config = config
        self.members = [Critic(seen, config, device, generator) for _ in range(count)]
        nets: list[Any] = [critic.net for critic in self.members]
        samples = -(-config.batch_steps * agents // config.minibatches)
        is_hand_written = config.gradients == "fast" and is_fast(nets[0], samples)
        kind: Any = FastCriticTrainer if is_hand_written else AutogradCriticTrainer
        self.trainer: CriticTrainer = kind(
            nets,
            lr=config.critic_lr,
            epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            l2=config.critic_l2,
            clip=config.value_clip,
            huber_delta=config.huber_delta,
        )
        self.hidden = np.zeros((count, config.num_envs, self.members[0].units), np.float32)
        """(R, N, units), hidden states before the next rollout."""

    def fit(
        self,
        states: Array,
        raw: Array,
        targets: Array,
        generator: torch.Generator,
        usable: Array | None = None,
        sequences: Sequences | None = None,
    ) -> list[float]:
        """Minimise the value loss on all samples, pass by pass; return each critic's mean loss.

        Nothing changes, and nothing is returned, where no sample is usable.

        Args:
            states: (B, s); (T, N, s) with ``sequences``.
            raw: (R, B), values on the networks' scale when the data was collected; (R, T, N).
            targets: (R, B), returns; (R, T, N).
            generator: shuffles the samples.
            usable: (B,) or (T, N) bool; others are excluded from the loss. None: all are usable.
            sequences: for critics with memory.
        """
        if usable is not None and not usable.any():
            return []
        total, count = np.zeros(len(self.members)), 0
        if sequences is not None:
            whole = np.ones(states.shape[:2], bool) if usable is None else usable
            for _ in range(self.config.critic_epochs):
                for losses in self._sequences(states, raw, targets, generator, whole, sequences):
                    total += losses
                    count += 1
            return [float(loss) for loss in total / count]
        if usable is not None:
            states, raw, targets = states[usable], raw[:, usable], targets[:, usable]
        trainer, config = self.trainer, self.config
        samples = {"raw": raw, "targets": targets}
        batches = Minibatches(trainer.prepare(states), samples, config.minibatches, generator)
        for _ in range(config.critic_epochs):
            for part in batches.one_pass():
                wanted = self._normalised(part.samples["targets"])
                total += trainer.descend(part.inputs, part.samples["raw"], wanted)
                count += 1
        return [float(loss) for loss in total / count]

    def _sequences(
        self,
        states: Array,
        raw: Array,
        targets: Array,
        generator: torch.Generator,
        usable: Array,
        sequences: Sequences,
    ) -> Any:
        """Take a step on every minibatch of sequences; yield each critic's loss."""
        trainer, first = self.trainer, sequences.first
        assert isinstance(trainer, AutogradCriticTrainer)
        length = self.config.memory.chunk_length
        if length is not None:
            steps, envs, exists = Chunks.of(len(first), first.shape[1], length)
            states, first = states[steps, envs], first[steps, envs]
            usable = usable[steps, envs] & exists
            raw, targets = raw[:, steps, envs], targets[:, steps, envs]
        for index in shuffled(states.shape[1], self.config.minibatches, generator):
            chosen: Any = slice(None) if index is None else index.numpy()
            part = usable[:, chosen]
            if not part.any():
                continue
            wanted = targets[:, :, chosen].copy()
            wanted[:, part] = self._normalised(wanted[:, part])
            yield trainer.descend_sequences(
                states[:, chosen],
                first[:, chosen],
                sequences.hidden[:, chosen],
                part,
                raw[:, :, chosen],
                wanted,
            )

    def _normalised(self, targets: Array) -> Array:
        """Return targets (R, B) on the networks' scale, after updating the normalisers (HARL)."""
        if self.members[0].norm is None:
            return targets
        wanted = np.empty_like(targets)
        for row, critic in enumerate(self.members):
            assert critic.norm is not None
            critic.norm.update(targets[row])
            wanted[row] = critic.norm.normalise(targets[row])
        return wanted


class Fit(NamedTuple):
    """What the critics of a stack are trained on after a rollout."""

    stack: CriticStack
    states: Array
    """(T, N, s)."""
    raw: Array
    """(R, T, N), values on the networks' scale when the data was collected."""
    targets: Array
    """(R, T, N), returns."""
    usable: Array | None
    """(T, N) bool; None: all are."""
    hidden: Array
    """(R, K N, units), where training begins: see ``Values.starts``."""


def joined(fits: Sequence[Fit]) -> list[Fit]:
    """Return one fit per stack: those of a stack that serves several agents side by side."""
    of_stacks: dict[int, list[Fit]] = {}
    for fit in fits:
        of_stacks.setdefault(id(fit.stack), []).append(fit)
    found = []
    for parts in of_stacks.values():
        one = parts[0]
        if len(parts) == 1:
            found.append(one)
            continue
        usable = [
            np.ones(p.states.shape[:2], bool) if p.usable is None else p.usable for p in parts
        ]
        found.append(
            Fit(
                one.stack,
                np.concatenate([part.states for part in parts], 1),
                np.concatenate([part.raw for part in parts], 2),
                np.concatenate([part.targets for part in parts], 2),
                np.concatenate(usable, 1),
                one.hidden,
            )
        )
    return found
