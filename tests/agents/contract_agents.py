"""Four tiny agents for the contract: memory, a population, a central team, a conversation agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from pkubench.agents.contract import Population
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.registry import EnvSpec, environments, register_environment
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.tasks.task import Metric, Protocol, Task

RETURN = Metric(name="return", higher_is_better=True, unit="reward", describe="sum of rewards")


def task_on(name: str, env: str) -> Task:
    """Return a task on an environment of this module."""
    spec = EnvSpec(id=f"pkubench/{name}-v0", entry_point=f"{__name__}:{env}", horizon=6)
    if spec.id not in environments():
        register_environment(spec)
    protocol = Protocol(episodes=20, horizon=6, budget={"environment_steps": 1}, quick_episodes=4)
    return Task(id=spec.id, suite="test", title=name, metrics=(RETURN,), protocol=protocol)


class Drawing(BatchEnv):
    """Base of the environments here: draws a number 0..3 per agent and step."""

    default_horizon = 6
    players: tuple[str, ...] = (SOLE_AGENT,)

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = self.players
        self.observation_spaces = dict.fromkeys(self.agents, spaces.Box(0, 3, (1,), np.float32))
        self.action_spaces: dict[str, spaces.Space[Any]] = dict.fromkeys(
            self.agents, spaces.Discrete(7)
        )
        self.random = RandomStreams(num_envs)
        self.numbers = np.zeros((num_envs, len(self.agents)), np.int64)
        self.before = self.numbers.copy()

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.random.seed(ids, seeds)
        self.numbers[ids] = self.random.integers(ids, len(self.agents), 4)
        self.before[ids] = 0

    def _advance(self) -> None:
        self.before = self.numbers
        self.numbers = self.random.integers(self._all, len(self.agents), 4)

    def _goal(self) -> Array:
        raise AssertionError("subclasses implement this")

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        given = np.stack([actions[a] for a in self.agents], 1)
        rewards = (given == self._goal()).astype(np.float64)
        self._advance()
        return rewards, np.zeros(self.num_envs, np.bool_), {}

    def _observe(self) -> dict[str, Array]:
        return {a: self.numbers[:, i : i + 1].astype(np.float32) for i, a in enumerate(self.agents)}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


class RecallEnv(Drawing):
    """Reward for naming the number shown one step earlier (0 at first)."""

    def _goal(self) -> Array:
        return self.before


class SumEnv(Drawing):
    """Two agents; each must name the sum of both numbers, of which it observes one."""

    players = ("left", "right")

    def _goal(self) -> Array:
        return self.numbers.sum(axis=1, keepdims=True)


class TextEnv(Drawing):
    """A conversation: asked "double 3?", the answer "6" is worth 1."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.action_spaces = {SOLE_AGENT: spaces.Text(20)}
        self.observation_spaces = {SOLE_AGENT: spaces.Sequence(spaces.Text(200))}  # type: ignore[dict-item]
        self.talks: list[list[dict[str, str]]] = [[] for _ in range(num_envs)]

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        super()._reset(ids, seeds)
        for index in ids.tolist():
            self.talks[index] = [{"role": "system", "content": "answer in digits"}]
            self._ask(index)

    def _ask(self, index: int) -> None:
        content = f"double {self.numbers[index, 0]}?"
        self.talks[index].append({"role": "user", "content": content})

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        rewards = np.zeros((self.num_envs, 1))
        for index, text in enumerate(actions[SOLE_AGENT]):
            rewards[index, 0] = text == str(2 * self.numbers[index, 0])
            self.talks[index].append({"role": "assistant", "content": text})
        self._advance()
        for index in range(self.num_envs):
            self._ask(index)
        return rewards, np.zeros(self.num_envs, np.bool_), {}

    def _observe(self) -> dict[str, Array]:
        observed = np.empty(self.num_envs, dtype=object)
        observed[:] = self.talks
        return {SOLE_AGENT: observed}


class Remembering:
    """Memory: the state is what it saw last."""

    def begin(self, seeds: Any) -> Any:
        return np.zeros(len(seeds), np.int64)

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        return state, observation[:, 0].astype(np.int64)


class SeeingAll:
    """A centralised team: adds up what its members see."""

    centralised = True

    def begin(self, seeds: Any) -> None:
        return None

    def act(self, observations: Any, state: Any, active: Any) -> tuple[Any, Any]:
        total = sum(o[:, 0] for o in observations.values()).astype(np.int64)
        return dict.fromkeys(observations, total), state


class Doubling:
    """Reads the last question and writes the answer; spoils the conversation it was given."""

    def begin(self, seeds: Any) -> None:
        return None

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        answers = []
        for talk in observation:
            assert talk[0]["role"] == "system"
            answers.append(str(2 * int(talk[-1]["content"].split()[1].rstrip("?"))))
            talk[-1]["content"] = "spoilt"
            talk.clear()
        return answers, state


def kuhn_population(weight: float = 1.0) -> Population:
    """Kuhn poker's equilibrium family at alpha 0, as a mixture of two policies per player.

    Player 1's two members differ where the mixture randomises (Kuhn 1950): with a king always,
    with a jack a third of the time it bets; with a queen it calls a third of the time.
    """

    def bets(chance: float) -> dict[int, float]:
        return {0: 1.0 - chance, 1: chance}

    # OpenSpiel: action 0 passes, 1 bets; "0" is the jack's information state, "0pb" after pass-bet.
    first = {
        "0": bets(0.0), "1": bets(0.0), "2": bets(0.0),
        "0pb": bets(0.0), "1pb": bets(1 / 3), "2pb": bets(1.0),
    }  # fmt: skip
    plain = {
        "0p": bets(0.0), "0b": bets(0.0), "1p": bets(0.0),
        "1b": bets(0.0), "2p": bets(1.0), "2b": bets(1.0),
    }  # fmt: skip
    bold = {**plain, "0p": bets(1.0), "1b": bets(1.0)}
    third = weight / 3
    return Population(([first], [plain, bold]), (np.array([1.0]), np.array([1.0 - third, third])))
