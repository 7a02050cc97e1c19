"""Training on a data set for a session: gradient steps of a method, and the agent it exports."""

from __future__ import annotations

import numpy as np
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.nn.precision import check_precision
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.offline.config import OfflineConfig
from pkubench.agents.rl.offline.data import prepare
from pkubench.agents.rl.offline.learners.base import MethodLearner
from pkubench.agents.rl.offline.learners.online import OnlineLearner
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.data.episodes import Episodes
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError, WeightsError


class OfflineTraining:
    """One training seed on a data set; see ``pkubench.agents.learner.Learner``.

    Batches are drawn from a new generator for every ``iterate``, from the seed and the number
    of gradient steps; dropout uses torch's global one, which the session saves.
    """

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Read the data and make the networks.

        Args:
            context: its input ``data`` is the data set.

        Raises:
            ConfigError: the settings do not fit the task.
            DataError: the data are of other spaces.
        """
        config: OfflineConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        check_precision(config.precision, context.device)
        self.config, self.seed, self.total = config, context.seed, context.total
        self.env = context.make_env(1)
        try:
            if self.env.agents != (SOLE_AGENT,):
                raise ConfigError(
                    f"{context.agent} trains one agent, and {context.task.id} has "
                    f"{self.env.num_agents}"
                )
            spaces = self.env.observation_spaces[SOLE_AGENT], self.env.action_spaces[SOLE_AGENT]
            episodes: Episodes = context.inputs["data"]
            data = prepare(episodes, *spaces)
            setup = Setup(
                data=data,
                batch_size=config.batch_size,
                seed=context.seed,
                total=context.total,
                horizon=context.task.protocol.horizon or int(data.episodes.lengths.max()),
                precision=config.precision,
                device=context.device,
            )
            self.learner: MethodLearner = config.method.start(setup)
        except BaseException:
            self.env.close()
            raise
        self.counters = Counters()

    def iterate(self) -> dict[str, float]:
        """Take some gradient steps; play an episode before them where the method does."""
        done, learner = self.counters, self.learner
        rng = np.random.default_rng([self.seed, done.gradient_steps])
        figures: dict[str, float] = {}
        if isinstance(learner, OnlineLearner) and learner.plays(done.gradient_steps):
            played = learner.play(self.env, self.seed, done.episodes)
            figures |= {"return": played.returns[0], "length": float(played.num_steps)}
            done = done._replace(
                episodes=done.episodes + 1,
                environment_steps=done.environment_steps + played.num_steps,
            )
        sums: dict[str, torch.Tensor] = {}
        steps = min(self.config.updates, max(self.total - done.gradient_steps, 1))
        for _ in range(steps):
            for name, value in learner.update(rng).items():
                sums[name] = sums[name] + value if name in sums else value
        self.counters = done._replace(
            iterations=done.iterations + 1, gradient_steps=done.gradient_steps + steps
        )
        figures |= {name: float(value) / steps for name, value in sums.items()}
        return {name: round(value, 6) for name, value in figures.items()}

    def state(self) -> State:
        """Return networks, optimisers, counters and what was played."""
        return {"learner": self.learner.state(), "counters": dict(self.counters._asdict())}

    def load_state(self, state: State) -> None:
        """Restore a state."""
        self.learner.load_state(state["learner"])
        try:
            self.counters = Counters(**state["counters"])
        except TypeError as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the policy."""
        described, tensors = self.learner.export()
        config = {"settings": as_plain(self.config), "policy": described}
        return Export(config, tensors)

    def close(self) -> None:
        """Release the environment."""
        self.env.close()
