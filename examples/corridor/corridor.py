"""A package that adds an environment, a task and a learning agent to pkubench, by declaration."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from pkubench import register_environment, register_family, register_suite
from pkubench.agents.learner import Counters, Export
from pkubench.agents.registry import AgentFamily, Preset
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv, Option
from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.seeding import TrainingSeeds, mix64
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task


class Corridor(BatchEnv):
    """Eight cells; the episode starts in the fourth, or where its option ``start`` says.

    One end pays 1, and which one is seen.

    | part        | type           | meaning                                 |
    |-------------|----------------|-----------------------------------------|
    | observation | Box(2) float32 | cell / 7, and 1 if the right end pays   |
    | action      | Discrete(2)    | left, right                             |
    | reward      | float64        | 1 at the end that pays, otherwise -0.01 |
    | ends        |                | at either end; truncated at 20 steps    |

    Optimum: 0.98 to the left, 0.97 to the right. Versions: v0 first release.
    """

    default_horizon = 20
    episode_options: ClassVar = {"start": Option(3, spaces.Discrete(6, start=1), "first cell")}

    def __init__(self, num_envs=1, max_episode_steps=-1):
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (2,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self.cell, self.pays_right = np.full(num_envs, 3), np.zeros(num_envs, dtype=bool)

    def _reset(self, ids, seeds):
        self.cell[ids] = self.options["start"][ids]
        self.pays_right[ids] = mix64(seeds.astype(np.uint64)) % 2 == 1

    def _step(self, actions, active):
        self.cell = np.clip(self.cell + 2 * actions[SOLE_AGENT] - 1, 0, 7)
        is_paid = self.cell == np.where(self.pays_right, 7, 0)
        return np.where(is_paid, 1.0, -0.01)[:, None], self.cell % 7 == 0, {}

    def _observe(self):
        return {SOLE_AGENT: np.stack([self.cell / 7, self.pays_right], 1).astype(np.float32)}

    def render(self, index=0):
        cells = np.where(np.arange(8) == self.cell[index], 0, 200).astype(np.uint8)
        return np.tile(cells.repeat(16)[None, :, None], (16, 1, 3))


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float = 0.1
    """Share of an error that the table takes in."""
    epsilon: float = 0.3
    """Probability of a random action in training."""


class QLearning:
    """Q(s, a) += rate (r + 0.95 max_b Q(s', b) - Q(s, a)), on eight episodes side by side."""

    ended, is_anytime = "", False

    def __init__(self, context):
        self.settings, self.env = context.settings, context.make_env(8)
        self.q, self.rng = np.zeros((16, 2)), np.random.default_rng(context.seed)
        self.seeds, self.counters = TrainingSeeds(context.seed, 8), Counters()

    def iterate(self):
        at, is_on = (
            rows(self.env.reset(self.seeds.next(np.arange(8)))[0][SOLE_AGENT]),
            np.ones(8) > 0,
        )
        returns, steps = np.zeros(8), 0
        while is_on.any():
            is_random = self.rng.random(8) < self.settings.epsilon
            action = np.where(is_random, self.rng.integers(2, size=8), self.q[at].argmax(1))
            step = self.env.step({SOLE_AGENT: action}, is_on)
            after, reward = rows(step.observations[SOLE_AGENT]), step.rewards[:, 0]
            target = reward + 0.95 * self.q[after].max(1) * ~step.terminated
            change = is_on * self.settings.rate * (target - self.q[at, action])
            np.add.at(self.q, (at, action), change)
            returns, steps = returns + is_on * reward, steps + int(is_on.sum())
            at, is_on = after, is_on & ~(step.terminated | step.truncated)
        self.counters = Counters(self.counters[0] + 1, self.counters[1] + steps)
        return {"return": float(returns.mean())}

    def state(self):
        rng, begun = self.rng.bit_generator.state, self.seeds.episode
        return {"q": self.q, "rng": rng, "begun": begun, "done": list(self.counters)}

    def load_state(self, state):
        self.q, self.rng.bit_generator.state = state["q"].copy(), state["rng"]
        self.seeds.episode, self.counters = state["begun"].copy(), Counters(*state["done"])

    def export(self):
        return Export({}, {"q": self.q})

    def close(self):
        self.env.close()


class Greedy:
    def __init__(self, saved, task, acting):
        self.q = saved.tensors["q"]

    def begin(self, seeds):
        return None

    def act(self, observation, state, active):
        return self.q[rows(observation)].argmax(1), state


def rows(observation):
    return np.rint(observation[:, 0] * 7).astype(int) + 8 * (observation[:, 1] > 0.5)


def configure(name, task):
    return Settings()


ENV = EnvSpec(id="corridor/Corridor-v0", entry_point="corridor:Corridor", horizon=20)
TASK = Task(
    id=ENV.id,
    suite="corridor",
    title="walk to the end that pays",
    metrics=(Metric(name="return", higher_is_better=True, unit="reward", describe="summed"),),
    protocol=Protocol(
        episodes=200, horizon=20, budget={"environment_steps": 20_000}, quick_episodes=20
    ),
)
FAMILY = AgentFamily(
    name="q-learning",
    summary="tabular Q-learning",
    kind="q-table",
    configure="corridor:configure",
    learner="corridor:QLearning",
    load="corridor:Greedy",
)
register_environment(ENV)
register_suite(Suite(name="corridor", title="A corridor", tasks=(TASK,)))
PRESET = Preset(name="q-learning", family=FAMILY.name, summary="Watkins 1989", suites=("corridor",))
register_family(FAMILY, [PRESET])
