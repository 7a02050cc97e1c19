"""Q-learning of one seat's decisions: network, target network, replay (DQN, Mnih et al. 2015).

Decisions are named by *rows* of a table of observations and legal actions, as ``GameBatch.row``
numbers information states, so a replay holds numbers and not tensors. The last row means that
the play is over. Payoffs come at the end of a play and are not discounted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.families.psro.oracles.learned import LearnedOracle
from pkubench.agents.nn.fast.stacked import Adam, StackedMLP, layers_of
from pkubench.envs.games.forest import Ints

Singles = NDArray[np.float32]
Masks = NDArray[np.integer]


class Decisions(NamedTuple):
    """Decisions of one seat and their outcomes, ``(decisions,)`` each.

    Attributes:
        rows: int64; where the seat acted.
        actions: int64; the actions taken.
        rewards: float64; the payoff if the play then ended, otherwise 0.
        next_rows: int64; where it acted next, the end row if the play ended.
    """

    rows: Ints
    actions: Ints
    rewards: Floats
    next_rows: Ints


class Replay:
    """The newest decisions."""

    def __init__(self, size: int) -> None:
        """Allocate ``size`` decisions."""
        self._columns = Decisions(
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.float64),
            np.zeros(size, np.int64),
        )
        self.seen = 0
        """Decisions added so far."""

    def __len__(self) -> int:
        return min(self.seen, len(self._columns.rows))

    def add(self, new: Decisions) -> None:
        """Add decisions in place of the oldest ones."""
        size = len(self._columns.rows)
        places = (self.seen + np.arange(len(new.rows)))[-size:] % size
        for column, values in zip(self._columns, new, strict=True):
            column[places] = values[-size:]
        self.seen += len(new.rows)

    def draw(self, count: int, rng: np.random.Generator) -> Decisions:
        """Sample decisions uniformly without replacement."""
        chosen = rng.choice(len(self), count, replace=False)
        rows, actions, rewards, next_rows = self._columns
        return Decisions(rows[chosen], actions[chosen], rewards[chosen], next_rows[chosen])

    def state(self) -> Tensors:
        """Return what ``restore`` needs."""
        kept = {name: column.copy() for name, column in self._columns._asdict().items()}
        return {**kept, "seen": np.array([self.seen], np.int64)}

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        for name, column in self._columns._asdict().items():
            column[:] = state[name]
        self.seen = int(state["seen"][0])


class Anchor(NamedTuple):
    """The member of the population from which a network is pushed away.

    Attributes:
        log_policy: float64 ``(rows, actions)``; logarithms of its probabilities.
        weight: Value of a nat, in units of the game's payoffs.
        temperature: Of the network's policy.
    """

    log_policy: Floats
    weight: float
    temperature: float


class DQN:
    """Action values of one seat.

    Attributes:
        replay: The decisions it learns from.
    """

    def __init__(
        self,
        observations: Singles,
        masks: Masks,
        config: LearnedOracle,
        rng: np.random.Generator,
    ) -> None:
        """Make an untrained network.

        Args:
            observations: ``(rows, size)``; referenced, not copied.
            masks: ``(rows, actions)``; not 0 where an action is legal; likewise.
            config: The settings.
            rng: Source of the initial weights, orthogonal as in published code.
        """
        self._observations = torch.from_numpy(observations)
        self._masks = masks
        self._end_row = len(masks) - 1
        self.config, self.replay = config, Replay(config.replay_size)
        self._sizes = (observations.shape[1], *config.hidden, masks.shape[1])
        # Row 0 is trained, row 1 is the target network.
        self._networks = StackedMLP(2, self._sizes)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._networks.initialise(0, generator)
        for layer in self._networks.layers:
            torch.nn.init.orthogonal_(layer.weight[0], generator=generator)
        self._net, self._target = self._networks.rows(0, 1), self._networks.rows(1, 2)
        self._target.flat.copy_(self._net.flat)
        self._adam = Adam(self._net.flat, config.learning_rate)
        self._gradients = layers_of(self._adam.gradient, self._sizes)
        self.updates = 0
        """Gradient steps so far."""

    def values(self, rows: Ints | slice) -> Floats:
        """Return the value of every action at some rows, float64 ``(rows, actions)``."""
        return _forward(self._net, self._observations[rows])

    def act(
        self,
        rows: Ints,
        rng: np.random.Generator,
        *,
        is_greedy: bool,
        temperature: float,
        exploration: float | None = None,
    ) -> tuple[Ints, Floats]:
        """Return legal actions, and the distributions that bonuses treat them as samples of.

        Args:
            rows: Where to act.
            rng: Draws the actions.
            is_greedy: Play the best action, not the softmax.
            temperature: Of the softmax, in units of the game's payoffs.
            exploration: Probability of a random action; None takes the setting.

        Returns:
            int64 ``(rows,)``, and float64 ``(rows, actions)``: as in published code the softmax,
            also where the best action is played, or uniform where a random one was chosen.
        """
        values, legal = self.values(rows), self._legal(rows)
        soft = np.exp(log_policy(values / temperature, legal))
        share = self.config.exploration if exploration is None else exploration
        is_random = rng.random(len(rows)) < share
        soft[is_random] = (legal / legal.sum(axis=1, keepdims=True))[is_random]
        running = np.cumsum(soft, axis=1)
        running /= running[:, -1:]
        drawn = (rng.random((len(rows), 1)) >= running).sum(axis=1)
        if is_greedy:
            best = np.where(legal, values, -np.inf).argmax(axis=1)
            drawn = np.where(is_random, drawn, best)
        return drawn, soft

    def _legal(self, rows: Ints) -> NDArray[np.bool_]:
        return self._masks[rows].astype(np.bool_)

    def update(self, rng: np.random.Generator, anchor: Anchor | None = None) -> float:
        """Take a gradient step on drawn decisions; return the mean squared error before it.

        Args:
            rng: Draws the decisions.
            anchor: Also ascend ``weight`` times the mean divergence of the network's policy from
                this one's, as in PSD-PSRO's code.
        """
        drawn = self.replay.draw(self.config.batch_size, rng)
        x = self._observations[drawn.rows][None]
        outputs, hidden = self._net.forward(x)
        values = outputs[0].numpy().astype(np.float64)
        after = _forward(self._target, self._observations[drawn.next_rows])
        legal = self._legal(drawn.next_rows) if self.config.masked_targets else None
        wanted = targets(drawn.rewards, after, legal, drawn.next_rows == self._end_row)
        slope, error = squared_error(values, drawn.actions, wanted)
        if anchor is not None:
            slope -= (
                anchor.weight
                * divergence_slope(
                    values / anchor.temperature,
                    anchor.log_policy[drawn.rows],
                    self._legal(drawn.rows),
                )
                / (len(values) * anchor.temperature)
            )
        self._net.backward(
            x, hidden, torch.from_numpy(slope.astype(np.float32))[None], self._gradients
        )
        self._adam.step()
        self.updates += 1
        if self.updates % self.config.target_updates == 0:
            self._target.flat.copy_(self._net.flat)
        return error

    def state(self) -> Tensors:
        """Return what ``restore`` needs to resume bit for bit."""
        adam = self._adam
        return {
            "networks": self._networks.flat.numpy().copy(),
            "adam": torch.cat([adam.first, adam.second]).numpy(),
            "counters": np.array([adam.count, self.updates], np.int64),
            **{f"replay_{name}": value for name, value in self.replay.state().items()},
        }

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self._networks.flat.copy_(torch.from_numpy(state["networks"]))
        self._adam.first.copy_(torch.from_numpy(state["adam"][:1]))
        self._adam.second.copy_(torch.from_numpy(state["adam"][1:]))
        self._adam.count, self.updates = (int(count) for count in state["counters"])
        self.replay.restore(
            {k.removeprefix("replay_"): v for k, v in state.items() if k.startswith("replay_")}
        )


def targets(
    rewards: Floats, next_values: Floats, legal: NDArray[np.bool_] | None, is_end: NDArray[np.bool_]
) -> Floats:
    """Return ``reward + max over a of next_values[a]``, without the second part at the end.

    Args:
        rewards: ``(decisions,)``.
        next_values: ``(decisions, actions)``, of the target network.
        legal: bool ``(decisions, actions)``; None takes the best of all actions.
        is_end: bool ``(decisions,)``.
    """
    among = next_values if legal is None else np.where(legal, next_values, -np.inf)
    return np.asarray(rewards + np.where(is_end, 0.0, among.max(axis=1)))


def squared_error(values: Floats, actions: Ints, wanted: Floats) -> tuple[Floats, float]:
    """Return the gradient by ``values`` of the mean squared error of the taken actions, and it."""
    own = np.arange(len(values))
    misses = values[own, actions] - wanted
    slope = np.zeros_like(values)
    slope[own, actions] = 2.0 * misses / len(values)
    return slope, float((misses**2).mean())


def log_policy(logits: Floats, legal: NDArray[np.bool_]) -> Floats:
    """Return logarithms of the softmax over legal actions; minus infinity where illegal."""
    kept = np.where(legal, logits, -np.inf)
    kept = kept - kept.max(axis=-1, keepdims=True)
    return np.asarray(kept - np.log(np.exp(kept).sum(axis=-1, keepdims=True)))


def divergences_from(probabilities: Floats, log_other: Floats) -> Floats:
    """Return ``sum_a p(a) (log p(a) - log q(a))`` over the last axis; 0 log 0 is 0."""
    played = probabilities > 0.0
    logs = np.log(np.where(played, probabilities, 1.0))
    gaps = np.where(played, logs - np.where(played, log_other, 0.0), 0.0)
    return np.asarray((probabilities * gaps).sum(axis=-1))


def divergence_slope(logits: Floats, log_other: Floats, legal: NDArray[np.bool_]) -> Floats:
    """Return the gradient by ``logits`` of the divergence of their policy p from another's, q.

    ``p(a) (log p(a) - log q(a) - KL)``, for each row separately.
    """
    logs = log_policy(logits, legal)
    p = np.exp(logs)
    divergence = divergences_from(p, log_other)
    gaps = np.where(legal, np.where(legal, logs, 0.0) - np.where(legal, log_other, 0.0), 0.0)
    return np.asarray(p * (gaps - divergence[:, None]))


def _forward(net: StackedMLP, x: torch.Tensor) -> Floats:
    return net.forward(x[None])[0][0].numpy().astype(np.float64)
