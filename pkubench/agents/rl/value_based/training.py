"""Training by value decomposition for a session: episodes, replay, updates, export."""

from __future__ import annotations

from typing import Any

import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.rollout import Array, Collector
from pkubench.agents.rl.rows import flat_inputs
from pkubench.agents.rl.trained import tensors_of
from pkubench.agents.rl.value_based.config import DecompositionConfig
from pkubench.agents.rl.value_based.decomposition import DecompositionLearner
from pkubench.agents.rl.value_based.episodes import EpisodeBuffer, episodes_of
from pkubench.errors import WeightsError


class DecompositionTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Make environments, networks and replay.

        Raises:
            ConfigError: the settings do not fit the task.
        """
        config: DecompositionConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config = config
        self.env = context.make_env(config.num_envs)
        try:
            self.learner = DecompositionLearner(self.env, config, context.seed, context.device)
            self.collector = Collector(
                self.env,
                context.seed,
                config.window,
                flat_inputs,
                cost_limit=context.task.cost_limit,
                units=self.learner.units,
                has_states=config.mixer.reads_state,
            )
        except BaseException:
            self.env.close()
            raise
        self.buffer = EpisodeBuffer(config.buffer_episodes)
        self.counters = Counters()

    def iterate(self) -> dict[str, float]:
        """Play an episode in every environment, then update."""
        config, learner, done = self.config, self.learner, self.counters
        learner.epsilon = config.epsilon(done.environment_steps)
        data = self.collector.collect(1, learner.behave, restart=True, whole_episodes=True)
        episodes = episodes_of(data, self.collector.info, learner.shape)
        learner.observe(episodes)
        self.buffer.add(episodes)
        figures: dict[str, float] = {}
        if len(self.buffer) >= config.batch_episodes:
            for _ in range(config.updates):
                batch = self.buffer.sample(config.batch_episodes, learner.generator)
                figures = learner.update(batch)
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + int(data.valid.sum()),
            episodes=done.episodes + config.num_envs,
            gradient_steps=learner.updates,
        )
        figures = {**self.collector.window.curve(), "epsilon": learner.epsilon, **figures}
        return {name: round(value, 6) for name, value in figures.items()}

    def state(self) -> State:
        """Return networks, optimiser, replay, random numbers and counters."""
        return {
            **self.learner.state(),
            "collector": self.collector.freeze(),
            "replay": self.buffer.freeze(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state; no episode is under way between updates."""
        try:
            self.learner.load_state(state)
            self.collector.thaw(state["collector"])
            self.buffer.thaw(state["replay"])
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the networks of the utilities, which act without a mixer."""
        shape, utilities = self.learner.shape, self.learner.utilities
        tensors: dict[str, Array] = {}
        members: dict[str, Any] = {}
        for number, (group, net) in enumerate(zip(shape.groups, utilities.nets, strict=True)):
            name = f"group{number}"
            tensors |= {f"{name}.{key}": value for key, value in tensors_of(net).items()}
            for place, k in enumerate(group):
                spec: Any = net.spec
                members[shape.agents[k]] = {
                    "network": name,
                    "spec": spec.as_config(),
                    "last_action": self.config.last_action,
                    "place": place,
                    "group_size": len(group),
                }
        config = {"settings": as_plain(self.config), "members": members}
        return Export(config, tensors, about=self.collector.window.training_cost_entry())

    def close(self) -> None:
        """Release the environments."""
        self.env.close()
