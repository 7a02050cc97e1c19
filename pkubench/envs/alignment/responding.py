"""Scripted agents that respond by an exact optimum: of the toy language, and of the bandit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pkubench.envs.alignment import optima
from pkubench.envs.alignment.slider_agents import UniformAgent
from pkubench.envs.alignment.toy_language import INTENTS, LENGTH, TOPICS, TOY, WORDS
from pkubench.envs.core.batch import Array, BoolArray, FloatArray
from pkubench.envs.core.seeding import IntArray, RandomStreams

Policy = Callable[[], FloatArray]
"""Makes a policy (prompts, responses); called when an agent begins, since it imports SciPy."""


@dataclass(frozen=True, slots=True)
class Optimal:
    """Plays the policy of a name in a mapping: responses to the prompt that is observed first."""

    policies: Mapping[str, Policy]
    name: str
    writes: bool
    """Whether responses are written word by word; otherwise a response is one action."""

    def begin(self, seeds: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the policy, and each episode's draw (episodes,), which chooses its response."""
        draws = RandomStreams.started(seeds).uniform(np.arange(len(seeds)), 1)[:, 0]
        return self.policies[self.name](), draws

    def act(
        self, observation: Array, state: tuple[FloatArray, FloatArray], active: BoolArray
    ) -> tuple[IntArray, tuple[FloatArray, FloatArray]]:
        """Return the next words, or the responses, (episodes,)."""
        policy, draws = state
        prompts = _prompts(observation, self.writes, len(policy))
        shares = policy[prompts].cumsum(axis=1)
        chosen = (shares < draws[:, None] * shares[:, -1:]).sum(axis=1)
        if not self.writes:
            return chosen, state
        _, written = TOY.read(observation)
        places = np.minimum(written, LENGTH - 1)
        words: IntArray = TOY.responses[chosen, places]
        return words, state


def _prompts(observation: Array, writes: bool, count: int) -> IntArray:
    """Return the numbers of the prompts observed."""
    if not writes:
        shown: IntArray = observation[:, :count].argmax(axis=1)
        return shown
    topic = observation[:, :TOPICS].argmax(axis=1)
    prompts: IntArray = INTENTS * topic + observation[:, TOPICS : TOPICS + INTENTS].argmax(axis=1)
    return prompts


def _best_of(scores: Callable[[], FloatArray]) -> Policy:
    """Return the policy that plays the first of the responses of the largest score."""

    def policy() -> FloatArray:
        table = scores()
        rows: FloatArray = np.eye(table.shape[1])[table.argmax(axis=1)]
        return rows

    return policy


def policies(
    rewards: Callable[[], FloatArray], costs: Callable[[], FloatArray], limit: float
) -> dict[str, Policy]:
    """Return the optimal policies of tables (prompts, responses) by name."""
    return {
        "optimum": lambda: optima.average_optimum(rewards(), costs(), limit).policy,
        "per-prompt": lambda: optima.per_prompt_optimum(rewards(), costs(), limit).policy,
        "always-safe": lambda: optima.sure_optimum(rewards(), costs(), limit).policy,
        "unconstrained": _best_of(rewards),
        "safest": _best_of(lambda: -costs()),
    }


_TOY: Final = policies(lambda: TOY.table.rewards, lambda: TOY.table.costs, TOY.limit)
TOY_AGENTS: Final[Mapping[str, Any]] = {
    **{name: Optimal(_TOY, name, True) for name in _TOY},
    "uniform": UniformAgent(len(WORDS)),
}
"""``optimum`` holds the limit on average, ``per-prompt`` for every prompt, ``always-safe`` always;
``safest`` has the lowest costs."""
