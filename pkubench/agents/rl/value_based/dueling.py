"""HAD3QN: a critic of joint actions, which the agents' own values follow one after another.

Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25(32), 2024, and its code. The
critic has an output for every joint action, so teams must be small.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from pkubench.agents.nn.networks import initialise
from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.replay import RowLayout
from pkubench.agents.rl.rollout import Array
from pkubench.agents.rl.trained import Trained
from pkubench.agents.rl.value_based.dueling_config import DuelingConfig
from pkubench.agents.settings import check_domains
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError

MAX_JOINT_ACTIONS = 20_000
"""More outputs than this are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelingSpec:
    """Shape of a dueling network."""

    inputs: int
    hidden: tuple[int, ...]
    head: int
    outputs: int

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("inputs", "head", "outputs"))
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"a network has no layers of {list(self.hidden)} units")

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return asdict(self)


class Dueling(nn.Module):
    """``Q = V + A - mean A`` (Wang et al. 2016)."""

    def __init__(self, spec: DuelingSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        sizes = (spec.inputs, *spec.hidden)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.value = _head(sizes[-1], spec.head, 1)
        self.advantage = _head(sizes[-1], spec.head, spec.outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise(module, "orthogonal", math.sqrt(2.0), generator)
        for last in (self.value[-1], self.advantage[-1]):
            assert isinstance(last, nn.Linear)
            initialise(last, "orthogonal", 1.0, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to values (B, outputs)."""
        for linear in self.linears:
            x = functional.relu(linear(x))
        advantage: Tensor = self.advantage(x)
        found: Tensor = self.value(x) + advantage - advantage.mean(-1, keepdim=True)
        return found


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Hardswish(), nn.Linear(hidden, outputs))


class DuelingLearner(Trained):
    """Networks and their update, independent of episodes, files and progress."""

    def __init__(
        self, env: BatchEnv, config: DuelingConfig, seed: int, device: str = "cpu"
    ) -> None:
        """Build all networks for ``env``'s spaces from ``seed``.

        Raises:
            ConfigError: an action space is not Discrete, or there are too many joint actions.
        """
        self.config, self.device, self.agents = config, device, env.agents
        found = [env.action_spaces[a] for a in env.agents]
        acted = [space for space in found if isinstance(space, spaces.Discrete)]
        if len(acted) < len(found):
            raise ConfigError(f"this learner acts in Discrete spaces, not in {found}")
        self.counts = [int(space.n) for space in acted]
        self.starts = [int(space.start) for space in acted]
        joint = math.prod(self.counts)
        if joint > MAX_JOINT_ACTIONS:
            raise ConfigError(
                f"this learner has an output for every joint action, at most "
                f"{MAX_JOINT_ACTIONS:,}, and the team has {joint:,}"
            )
        seen = {a: int(np.prod(env.observation_spaces[a].shape or (1,))) for a in self.agents}
        state = None if env.state_space is None else int(np.prod(env.state_space.shape))
        self.layout = RowLayout.of(seen, dict(zip(self.agents, self.counts, strict=True)), state)
        self.generator = torch.Generator().manual_seed(seed)
        self.actors = [self._network(seen[a], n) for a, n in zip(seen, self.counts, strict=True)]
        self.critic = self._network(self.layout.state_size, joint)
        self.target_actors = [copy.deepcopy(net).requires_grad_(False) for net in self.actors]
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        named = dict(zip(self.agents, self.actors, strict=True))
        targets = dict(zip(self.agents, self.target_actors, strict=True))
        self.modules = {
            **{f"actor.{a}": net for a, net in named.items()},
            **{f"target_actor.{a}": net for a, net in targets.items()},
            "critic": self.critic,
            "target_critic": self.target_critic,
        }
        self.optimisers = {
            a: Optimiser(adam(config.actor_lr), net.parameters()) for a, net in named.items()
        }
        self.critic_optimiser = Optimiser(adam(config.critic_lr), self.critic.parameters())
        self.optimisers["critic of joint actions"] = self.critic_optimiser
        self.strides = [math.prod(self.counts[:k]) for k in range(len(self.counts))]
        """Steps of an agent's action in the number of the joint action; the first one's is 1."""

    def _network(self, inputs: int, outputs: int) -> Dueling:
        config = self.config
        spec = DuelingSpec(inputs=inputs, hidden=config.hidden, head=config.head, outputs=outputs)
        return Dueling(spec, self.generator).to(self.device)

    @torch.no_grad()
    def act(self, observations: Mapping[str, Array], epsilon: float) -> dict[str, Array]:
        """Return environment actions, random with probability ``epsilon`` each."""
        actions = {}
        for k, agent in enumerate(self.agents):
            x = torch.from_numpy(observations[agent]).to(self.device)
            greedy = self.actors[k](x).argmax(-1)
            drawn = torch.randint(self.counts[k], greedy.shape, generator=self.generator)
            explores = torch.rand(greedy.shape, generator=self.generator) < epsilon
            actions[agent] = torch.where(explores, drawn, greedy.cpu()).numpy() + self.starts[k]
        return actions

    def update(
        self, rows: Tensor, next_rows: Tensor, rewards: Tensor, discounts: Tensor
    ) -> dict[str, float]:
        """Step the critic, then the agents in a random order; return diagnostics.

        Args:
            rows: (B, width), in the layout.
            next_rows: (B, width), n steps later.
            rewards: (B,), n-step sums.
            discounts: (B,), gamma^n, 0 after termination.
        """
        layout = self.layout
        state = slice(layout.joint.start, layout.joint.start + layout.state_size)
        taken = [rows[:, layout.actions[a]].argmax(-1) for a in self.agents]
        with torch.no_grad():
            following = self._greedy(self.target_actors, next_rows)
            ahead = self._of(self.target_critic(next_rows[:, state]), following)
            target = rewards + discounts * ahead
        value = self._of(self.critic(rows[:, state]), taken)
        critic_loss = functional.mse_loss(value, target)
        self.critic_optimiser.step(critic_loss)
        with torch.no_grad():
            joint = self.critic(rows[:, state])
            actions = self._greedy(self.actors, rows)
        losses = []
        for k in torch.randperm(len(self.agents), generator=self.generator).tolist():
            agent = self.agents[k]
            own = self.actors[k](rows[:, layout.observations[agent]])
            own = own.gather(-1, actions[k][:, None])[:, 0]
            loss = functional.mse_loss(own, self._of(joint, actions))
            self.optimisers[agent].step(loss)
            losses.append(float(loss.detach()))
            actions[k] = self._best(joint, actions, k)
        self._follow()
        figures = {"value_loss": float(critic_loss.detach()), "value": float(value.detach().mean())}
        return {**figures, "actor_loss": float(np.mean(losses))}

    def _greedy(self, actors: list[Dueling], rows: Tensor) -> list[Tensor]:
        """Return each agent's greedy actions (B,)."""
        pairs = zip(self.agents, actors, strict=True)
        return [net(rows[:, self.layout.observations[a]]).argmax(-1) for a, net in pairs]

    def _of(self, joint: Tensor, actions: list[Tensor]) -> Tensor:
        """Return the values (B,) of joint actions, of those of all (B, joint actions)."""
        number = sum(a * stride for a, stride in zip(actions, self.strides, strict=True))
        assert isinstance(number, Tensor)
        return joint.gather(-1, number[:, None])[:, 0]

    def _best(self, joint: Tensor, actions: list[Tensor], k: int) -> Tensor:
        """Return the best actions (B,) of an agent, given the others'."""
        rest = [torch.zeros_like(a) if i == k else a for i, a in enumerate(actions)]
        base = sum(a * stride for a, stride in zip(rest, self.strides, strict=True))
        assert isinstance(base, Tensor)
        every = torch.arange(self.counts[k], device=joint.device) * self.strides[k]
        return joint.gather(-1, base[:, None] + every).argmax(-1)

    @torch.no_grad()
    def _follow(self) -> None:
        """Soft-update the targets."""
        pairs = zip(
            (*self.target_actors, self.target_critic), (*self.actors, self.critic), strict=True
        )
        for target, online in pairs:
            for old, new in zip(target.parameters(), online.parameters(), strict=True):
                old.lerp_(new, self.config.tau)

    def state(self) -> dict[str, Any]:
        """Return everything that changes."""
        return {**super().state(), "generator": self.generator.get_state().numpy().copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of networks of other shapes.
        """
        super().load_state(state)
        self.generator.set_state(torch.from_numpy(state["generator"].copy()))
