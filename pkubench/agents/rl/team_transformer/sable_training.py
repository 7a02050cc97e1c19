"""Sable's training for a session: MAT's, with a memory of the episode.

Minibatches are of whole environments; each rollout is one chunk, from the memory before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pkubench.agents.rl.rollout import Array, Rollout
from pkubench.agents.rl.team_transformer.sable import Sable
from pkubench.agents.rl.team_transformer.training import TeamTraining


class SableTraining(TeamTraining):
    """One training seed of Sable; see ``pkubench.agents.learner.Learner``."""

    def make_net(self) -> nn.Module:
        """Return the network, with its initial weights."""
        return Sable(self.spec, self.generator)

    def units(self) -> dict[str, int]:
        """Return the size of the team's memory, under the first agent's name."""
        return {self.env.agents[0]: self.net.units}

    @torch.no_grad()
    def behave(  # type: ignore[override]
        self,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
        hidden: Mapping[str, Array],
        first: Array,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act (see ``rl.behaviour.RecurrentBehaviour``)."""
        stacked, name = self.team_of(observations, masks), self.env.agents[0]
        outputs, actions, _, after = self.net.step(
            stacked,
            torch.from_numpy(np.asarray(first)).to(self.device),
            torch.from_numpy(hidden[name]).to(self.device),
            lambda _, found: self.net.distribution.sample(found, self.generator),
        )
        log_probs, _ = self.net.distribution.log_probs(outputs, actions)
        return *self.by_agent(actions, log_probs), {name: after.cpu().numpy()}

    def count(self, data: Rollout) -> int:
        """Return the number of units that minibatches are of: environments."""
        return int(data.first.shape[1])

    def take(self, of: Tensor, rows: Tensor) -> Tensor:
        """Return the environments ``rows`` of something (T, N, ...)."""
        return of[:, rows]

    def evaluate(
        self, data: Rollout, observations: Tensor, actions: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities, entropies and values of some environments of a rollout."""
        first, hidden = self._context(data)
        given = [self.take(of, rows).to(self.device) for of in (observations, actions, first)]
        found: tuple[Tensor, Tensor, Tensor] = self.net.evaluate(*given, hidden[rows])
        return found

    @torch.no_grad()
    def values(self, data: Rollout, observations: Tensor, final: Array) -> tuple[Array, Array]:
        """Return values (T, N, n), and those of the next observations where ``final``, (K, n)."""
        first, hidden = self._context(data)
        following = self._stacked(data.next_observations)
        never = torch.zeros_like(first[:1])
        state, rows, ahead = hidden, [], []
        for t in range(len(first)):  # the state after each step is needed where episodes end
            now = slice(t, t + 1)
            seen = observations[now].to(self.device)
            _, values, encoder = self.net.encode(seen, first[now], state)
            rows.append(values[0].cpu().numpy())
            state = self.net.with_encoder(state, encoder)
            if final[t].any():
                _, values, _ = self.net.encode(following[now].to(self.device), never, state)
                ahead.append(values[0].cpu().numpy()[final[t]])
        return np.stack(rows), np.concatenate(ahead)

    def _context(self, data: Rollout) -> tuple[Tensor, Tensor]:
        """Return where episodes begin (T, N), and the memory before the rollout (N, units)."""
        hidden = torch.from_numpy(data.hidden[self.env.agents[0]]).to(self.device)
        return torch.from_numpy(data.first).to(self.device), hidden
