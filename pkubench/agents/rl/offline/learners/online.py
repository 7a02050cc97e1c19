"""Online Decision Transformer's update, buffer and episodes (Zheng et al., ICML 2022).

Two departures from the published code: the entropy is averaged over the same unpadded steps as the
log-likelihood, where that code includes the padding; and the gradient of the norm-clipped loss is
taken by the LAMB of ``lamb.py``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.contract import Outcome
from pkubench.agents.rl.offline.acting import (
    MAX_UNIT,
    DecisionPolicy,
    DecisionSettings,
    log_std_of,
)
from pkubench.agents.rl.offline.data import Array, Prepared
from pkubench.agents.rl.offline.learners.decision import DecisionLearner
from pkubench.agents.rl.offline.learners.lamb import Lamb
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.methods.odt import OnlineDecisionMethod
from pkubench.agents.rl.optimiser import Optimiser, adam, warmed_up
from pkubench.data.episodes import Episodes, EpisodesBuilder, joined
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.errors import WeightsError

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class OnlineLearner(DecisionLearner):
    """A stochastic Decision Transformer, its temperature, and a buffer of episodes.

    Windows are drawn from all data until the first episode is played, then from the buffer.
    """

    head = "squashed"
    method: OnlineDecisionMethod

    def __init__(self, method: OnlineDecisionMethod, setup: Setup) -> None:
        """Build the network and fill the buffer with the best episodes."""
        super().__init__(method, setup)
        if not setup.data.is_discrete:
            for rows in self.net.head.weight.detach().chunk(2):
                nn.init.orthogonal_(rows, generator=self.generator)
            nn.init.zeros_(self.net.head.bias)
        self.optimisers["net"] = Optimiser(
            partial(Lamb, lr=method.lr, weight_decay=method.weight_decay),
            self.net.parameters(),
            schedule=warmed_up(method.warmup_steps),
            max_grad_norm=method.max_grad_norm,
        )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(method.temperature)))
        self.modules["temperature"] = nn.ParameterList([self.log_temperature])
        self.optimisers["temperature"] = Optimiser(
            adam(method.temperature_lr), [self.log_temperature]
        )
        ascending = np.argsort(self.returns, kind="stable")[-method.buffer_size :]
        given = replace(setup.data.episodes, costs=None, task="", name="")
        self.buffer = [given.select([k]) for k in ascending]
        """Episodes; at first ascending by return."""
        self.played: dict[int, int] = {}
        """Place in the buffer -> number of the played episode there."""
        self.next_place = 0

    def outputs(self, data: Prepared) -> int:
        """Return the number of the head's outputs: logits, or means and log-deviations."""
        return data.num_actions * (1 if data.is_discrete else 2)

    def times(self, setup: Setup) -> int:
        """Return 0: no embeddings of time."""
        return 0

    @property
    def acting_context(self) -> int:
        """Steps that acting looks back on, the present one included."""
        return min(self.method.acting_context, self.method.context)

    # The buffer

    def plays(self, gradient_steps: int) -> bool:
        """Return whether an episode is due after that many gradient steps."""
        return gradient_steps >= self.method.pretrain_steps

    def play(self, env: BatchEnv, seed: int, number: int) -> Episodes:
        """Play an episode with sampled actions, put it into the buffer, and return it.

        Args:
            env: a single environment.
            seed: of the training.
            number: of the episode in the training.
        """
        settings = DecisionSettings(
            space=self.data.space,
            head="categorical" if self.data.is_discrete else self.head,
            context=self.acting_context,
            return_scale=self.scale,
            mean=self.data.mean,
            std=self.data.std,
        )
        best = float(self.returns.max())
        asked = best + (self.method.exploration - 1.0) * abs(best)
        policy = DecisionPolicy(copy.deepcopy(self.net), settings, asked, stochastic=True)
        seeds = TrainingSeeds(seed, 1)
        seeds.episode[:] = number
        found = _played(env, policy, seeds.next(np.zeros(1, np.int64)))
        self.store(found, number)
        return found

    def store(self, episode: Episodes, number: int) -> None:
        """Let an episode take the next place: the worst of the data first, then the oldest."""
        self.buffer[self.next_place] = episode
        self.played[self.next_place] = number
        self.next_place = (self.next_place + 1) % len(self.buffer)
        self._take_buffer()

    def _take_buffer(self) -> None:
        self.take_data(self.setup.data.like(joined(self.buffer)))

    # Updates

    def update(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Take a step on a batch of windows and one of the temperature."""
        likelihood, entropy = self.likelihood(*self.unpadded(rng))
        temperature = self.log_temperature.detach().exp()
        self.optimisers["net"].step(-likelihood - temperature * entropy)
        gap = entropy.detach() - self.target_entropy
        self.optimisers["temperature"].step(self.log_temperature.exp() * gap)
        return {
            "loss": -likelihood.detach(),
            "entropy": entropy.detach(),
            "temperature": temperature,
        }

    @property
    def target_entropy(self) -> float:
        """Entropy that the temperature aims at: minus the dimensions; half the largest if discrete.

        The paper has continuous actions only.
        """
        if self.data.is_discrete:
            return 0.5 * math.log(self.data.num_actions)
        return -float(self.data.num_actions)

    def likelihood(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean log-likelihood and entropy of N steps, given outputs (N, n) and actions.

        Of the tanh-transformed Gaussian the entropy is estimated by one sample, through which
        gradients flow.
        """
        if self.data.is_discrete:
            log_p = outputs.log_softmax(-1)
            return (
                log_p.gather(-1, actions[:, None]).mean(),
                -(log_p.exp() * log_p).sum(-1).mean(),
            )
        mean, raw = outputs.chunk(2, -1)
        log_std = log_std_of(raw)
        given = torch.atanh(actions.clamp(-MAX_UNIT, MAX_UNIT))
        drawn = mean + log_std.exp() * torch.randn_like(mean)
        return (
            squashed_log_prob(mean, log_std, given).mean(),
            -squashed_log_prob(mean, log_std, drawn).mean(),
        )

    # State

    def state(self) -> dict[str, Any]:
        """Return everything that changes, with the played episodes in the buffer."""
        played = [
            {
                "place": place,
                "number": number,
                "observations": self.buffer[place].observations,
                "final_observations": self.buffer[place].final_observations,
                "actions": self.buffer[place].actions,
                "rewards": self.buffer[place].rewards,
                "terminated": bool(self.buffer[place].terminated[0]),
            }
            for place, number in self.played.items()
        ]
        return {**super().state(), "played": played, "next_place": self.next_place}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state(state)
        try:
            for kept in state["played"]:
                seen = np.concatenate([kept["observations"], kept["final_observations"]])
                parts = seen, kept["actions"], kept["rewards"], kept["terminated"]
                self.buffer[kept["place"]] = _episode(*parts)
                self.played[kept["place"]] = kept["number"]
            self.next_place = int(state["next_place"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error
        if self.played:
            self._take_buffer()


def _episode(observations: Array, actions: Array, rewards: Array, terminated: bool) -> Episodes:
    builder = EpisodesBuilder()
    builder.add(observations, actions, rewards, terminated)
    return builder.build()


def _played(env: BatchEnv, policy: DecisionPolicy, seeds: Array) -> Episodes:
    """Play one episode in a single environment."""
    observations, _ = env.reset(seeds)
    state, active = policy.begin(seeds), np.ones(1, np.bool_)
    seen, taken, earned = [observations[SOLE_AGENT].copy()], [], []
    while True:
        actions, state = policy.act(seen[-1], state, active)
        step = env.step({SOLE_AGENT: actions})
        taken.append(actions)
        earned.append(step.rewards[:, 0].copy())
        seen.append(step.observations[SOLE_AGENT].copy())
        if step.terminated[0] or step.truncated[0]:
            break
        state = policy.observe(Outcome(earned[-1], None), state)
    arrays = [np.concatenate(part) for part in (seen, taken, earned)]
    return _episode(arrays[0], arrays[1], arrays[2], bool(step.terminated[0]))


def squashed_log_prob(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    """Return log-densities (N,) of actions tanh(u), with u normally distributed."""
    z = (u - mean) * (-log_std).exp()
    correction = 2.0 * (math.log(2.0) - u - functional.softplus(-2.0 * u))
    return (-0.5 * z * z - log_std - _LOG_SQRT_2PI - correction).sum(-1)
