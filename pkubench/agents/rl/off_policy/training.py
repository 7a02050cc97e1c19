"""Off-policy training for a session: a batch of seeds, each with its own replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.episode_window import EpisodeWindow
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.off_policy.batch import Batch
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.off_policy.state import load_state_of, state_of
from pkubench.agents.rl.replay import Array, ReplayBuffer, rows_of
from pkubench.agents.rl.rollout import Behaviour, Collector, Rollout, masks_of
from pkubench.agents.rl.rows import flat_inputs
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError, WeightsError


class OffPolicySeed:
    """One training seed of a batch; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, batch: OffPolicyBatch, row: int, context: Context, env: BatchEnv) -> None:
        """Make the collector and the replay of the ``row``-th seed of ``batch``."""
        config: OffPolicyConfig = context.settings
        self.batch, self.learner, self.row, self.env = batch, batch.learner, row, env
        self.config = config
        self.collector = Collector(
            env, context.seed, config.window, flat_inputs, cost_limit=context.task.cost_limit
        )
        self.replay = ReplayBuffer(self.learner.layout, env.num_envs, config.buffer_size)
        self.costs = ObservationNorm(1) if config.constraint.cost_norm else None
        """Moments of the costs, where they are standardised."""
        self.counters = Counters()

    def iterate(self) -> Mapping[str, float]:
        """Do one update of the only seed in the batch."""
        return self.batch.iterate()[0]

    def collect(self, act: Behaviour) -> None:
        """Take a training interval's steps and store them."""
        data = self.collector.collect(self.config.train_interval, act, restart=False)
        self._store(data)
        done = self.counters
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + self.config.interval_steps,
            episodes=done.episodes + int((data.terminated | data.truncated).sum()),
        )

    def _store(self, data: Rollout) -> None:
        """Add a rollout to the replay."""
        costs = data.costs if self.costs is None else self.costs.in_steps(data.costs)
        rows = rows_of(data, costs, self.learner.layout, self.env.action_spaces)
        self.replay.add(*rows, data.terminated, data.truncated)

    def state(self) -> State:
        """Return networks, optimisers, constraint, collector, replay and counters."""
        return {
            **state_of(self.learner, self.row),
            "collector": self.collector.freeze(),
            "replay": self.replay.freeze(),
            "costs": None if self.costs is None else self.costs.freeze(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state; unfinished episodes are replayed."""
        load_state_of(state, self.learner, self.row)
        try:
            self.collector.thaw(state["collector"])
            self.replay.thaw(state["replay"])
            if self.costs is not None:
                self.costs.thaw(state["costs"])
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the actors' networks."""
        learner = self.learner
        tensors: dict[str, Array] = {}
        members: dict[str, Any] = {}
        for agent in self.env.agents:
            g, m = learner.place[agent]
            group = learner.groups[g]
            name = "shared" if group.shared and len(group.agents) > 1 else agent
            name = f"{name}{g}" if name == "shared" and len(learner.groups) > 1 else name
            network = group.network_of(m, self.row)
            last = len(group.net.layers) - 1
            for k, (weight, bias) in enumerate(group.net.layers):
                part = "head" if k == last else f"linears.{k}"
                tensors[f"{name}.{part}.weight"] = weight[network].t().cpu().numpy().copy()
                tensors[f"{name}.{part}.bias"] = bias[network, 0].cpu().numpy().copy()
            inputs, *hidden, outputs = group.net.sizes
            members[agent] = {
                "network": name,
                "spec": {
                    "inputs": inputs,
                    "hidden": hidden,
                    "outputs": outputs,
                    "activation": "relu",
                    "last_activation": "tanh" if group.net.is_last_tanh else "relu",
                    "layer_norm": False,
                },
                "head": group.head.kind,
                "bounds": self.config.bounds,
            }
        about = {"settings": as_plain(learner.config), "members": members}
        return Export(about, tensors, about=self.collector.window.training_cost_entry())

    def close(self) -> None:
        """Release the environments."""
        self.env.close()


class OffPolicyBatch:
    """A batch of training seeds; see ``pkubench.agents.learner.BatchLearner``."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        """Make environments, networks and replays of contexts that differ in their seeds.

        Raises:
            ConfigError: the settings do not fit the task.
        """
        config: OffPolicyConfig = contexts[0].settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config = config
        envs: list[BatchEnv] = []
        try:
            for context in contexts:
                envs.append(context.make_env(config.num_envs))
            env = envs[0]
            if masks_of(env.reset(np.arange(env.num_envs))[1], env.agents):
                raise ConfigError(
                    "off-policy agents train in environments where every action is always legal"
                )
            seeds = [context.seed for context in contexts]
            self.learner = OffPolicyLearner(env, config, seeds, contexts[0].device)
            self.members = [
                OffPolicySeed(self, row, context, envs[row]) for row, context in enumerate(contexts)
            ]
        except BaseException:
            for made in envs:
                with suppress(Exception):
                    made.close()
            raise
        shape = (2, len(contexts), config.batch_size, self.learner.layout.width)
        self._rows: Array = np.empty(shape, dtype=np.float32)
        """Buffers for the rows of a batch and their successors."""

    @property
    def _steps(self) -> int:
        return self.members[0].counters.environment_steps

    def iterate(self) -> list[dict[str, float]]:
        """Take a training interval's steps in every seed, and a burst of updates."""
        is_warm = self._steps >= self.config.warmup_steps
        for member in self.members:
            member.collect(partial(self._act, member.row, is_warm))
        found = self._update() if self._steps > self.config.warmup_steps else {}
        figures = []
        for row, member in enumerate(self.members):
            member.counters = member.counters._replace(gradient_steps=self.learner.updates)
            named = {
                **member.collector.window.curve(),
                **{name: float(values[row]) for name, values in found.items()},
            }
            figures.append({name: round(value, 6) for name, value in named.items()})
        return figures

    def _act(
        self,
        row: int,
        is_warm: bool,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act for one training seed (see ``rollout.Behaviour``)."""
        if is_warm:
            actions = self.learner.act(row, observations)
        else:
            actions = self.learner.act_randomly(row, self.config.num_envs)
        return actions, actions, {}

    def _update(self) -> dict[str, torch.Tensor]:
        """Do a burst of updates; return the diagnostics of the last."""
        config, learner = self.config, self.learner
        is_omnisafe = config.constraint.is_as_omnisafe
        if not is_omnisafe:
            self._update_constraints(EpisodeWindow.take_means)
        drawn = [
            member.replay.draw(
                config.updates, config.batch_size, config.n_step, config.gamma, generator
            )
            for member, generator in zip(self.members, learner.generators, strict=True)
        ]
        sums = [
            torch.from_numpy(np.stack([getattr(d, name) for d in drawn], 1)).to(learner.device)
            for name in ("rewards", "costs", "discounts")
        ]
        found: dict[str, torch.Tensor] = {}
        for k in range(config.updates):
            for row, member in enumerate(self.members):
                member.replay.gather(drawn[row].rows[k], self._rows[0, row])
                member.replay.gather(drawn[row].next_rows[k], self._rows[1, row])
            rows, next_rows = torch.from_numpy(self._rows).to(learner.device)
            batch = Batch(rows, next_rows, *(values[k] for values in sums))
            # TD3's last update may be one without actors; SAC's always has them
            found = learner.update(batch, is_reported=k + 1 == config.updates)
            if is_omnisafe:
                self._update_constraints(EpisodeWindow.means)
        return found

    def _update_constraints(self, measured: Callable[[EpisodeWindow], tuple[float, float]]) -> None:
        """Update the constraints with the mean cost and length of recent episodes."""
        if (
            not self.learner.constraints
            or self._steps <= self.config.constraint.lambda_warmup_steps
        ):
            return
        for member, constraint in zip(self.members, self.learner.constraints, strict=True):
            constraint.update(*measured(member.collector.window))
