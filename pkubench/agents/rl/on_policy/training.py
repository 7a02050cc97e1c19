"""On-policy training for a session: collect a rollout, update, export the actors."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.rl.budget import Saute
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.on_policy.start import CRITICS, INPUT, begin_from, critics_of
from pkubench.agents.rl.on_policy.state import load_state_of, state_of
from pkubench.agents.rl.rollout import Array, Collector
from pkubench.errors import PkubenchWarning


class OnPolicyTraining:
    """One training seed of the on-policy learner; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Make environments, networks and collector.

        Raises:
            ConfigError: the settings do not fit the task.
        """
        config: OnPolicyConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config, self.total = config, context.total
        env = context.make_env(config.num_envs, **config.credit.env_settings)
        self.env = config.constraint.wrap(env)
        try:
            self.learner = OnPolicyLearner(self.env, config, context.seed, context.device)
            self.is_continued = INPUT in context.inputs
            if self.is_continued:
                begin_from(self.learner, context.inputs[INPUT])
            self.collector = Collector(
                self.env,
                context.seed,
                config.window,
                self.learner.inputs,
                cost_keys=config.constraint.cost_keys,
                cost_limit=context.task.cost_limit,
                units=self.learner.units,
                info_keys=config.credit.info_keys,
                has_states=config.critic == "state",
            )
        except BaseException:
            self.env.close()
            raise
        self.counters = Counters()

    def iterate(self) -> dict[str, float]:
        """Collect a rollout and update once."""
        config, collector, learner = self.config, self.collector, self.learner
        data = collector.collect(
            config.rollout_steps,
            learner.behave,
            restart=config.reset_each_rollout,
            whole_episodes=config.rollout == "episodes",
        )
        by_source = collector.window.source_means()
        cost, length = collector.window.take_means()
        share_done = self.counters.environment_steps / self.total
        before = _adam_steps(learner)
        if self.counters.iterations < config.critic_warmup:
            diagnostics = learner.fit_critics(data)
        else:
            diagnostics = learner.update(data, by_source or cost, share_done, length)
        done, steps = self.counters, _adam_steps(learner) - before
        if not learner.trainers:  # each actor took one trust-region step
            steps += len(learner.actors)
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + int(data.valid.sum()),
            episodes=done.episodes + int((data.terminated | data.truncated).sum()),
            gradient_steps=done.gradient_steps + steps,
        )
        credit = learner.signals.credit
        if self.counters.environment_steps >= self.total and not credit.is_ready:
            warnings.warn(
                f"the policy is as it began: {credit.awaits()}", PkubenchWarning, stacklevel=2
            )
        figures = {**collector.window.curve(), **diagnostics}
        return {name: round(value, 6) for name, value in figures.items()}

    def state(self) -> State:
        """Return networks, optimisers, normalisers, constraint, rollout and counters."""
        return {
            **state_of(self.learner, self.collector),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state."""
        load_state_of(state, self.learner, self.collector)
        self.counters = Counters(**state["counters"])

    def export(self) -> Export:
        """Return the actors with the moments that normalise their observations, and the credit."""
        learner = self.learner
        tensors: dict[str, Array] = {}
        members: dict[str, Any] = {}
        for name, actor in learner.actors.items():
            for key, tensor in actor.state_dict().items():
                key = key.removeprefix("net.")
                tensors[f"{name}.{key}"] = tensor.cpu().numpy().copy()
        for agent, name in learner.actor_names.items():
            norm = learner.inputs.norms.get(agent)
            if norm is not None:
                tensors[f"{agent}.observation_mean"] = norm.mean.astype("float32")
                tensors[f"{agent}.observation_std"] = norm.std.astype("float32")
            members[agent] = {
                "network": name,
                "spec": learner.actors[name].net.spec.as_config(),
                "std": learner.actors[name].std_kind,
                "action_map": self.config.action_map,
                "observation_norm": norm is not None,
            }
            if isinstance(self.env, Saute):
                members[agent]["budget"] = self.env.budget._asdict()
        about = {"settings": as_plain(learner.config), "members": members}
        learned = learner.signals.credit.learned()
        extra = {"credit": learned} if learned else {}
        if self.is_continued:
            extra[CRITICS] = critics_of(learner)
        return Export(
            about,
            tensors,
            extra=extra,
            about=self.collector.window.training_cost_entry(),
        )

    def close(self) -> None:
        """Release the environments."""
        self.env.close()


def _adam_steps(learner: OnPolicyLearner) -> int:
    """Return the steps of Adam so far, of actors and critics; critics of one stack count once."""
    trainers = [*learner.trainers.values(), *(stack.trainer for stack in learner.stacks)]
    return sum(trainer.adam.count for trainer in trainers)
