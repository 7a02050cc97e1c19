"""AliceAndBob: each of two agents holds the key to the other's room, and only the treasure pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.difference_reward import DIFFERENCE_REWARD
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.credit.alice_and_bob_table import (
    ACTIONS,
    BUMPED,
    JOINT_ACTIONS,
    OBSERVED,
    SIDE,
    TREASURE,
    Table,
    best_plan,
    optimal_values,
    random_success,
    random_values,
    table,
)
from pkubench.envs.credit.drawing import draw_grid

VALUE_DISCOUNT: Final = 0.9
"""Of ``AliceAndBob.optimal_values``. Without a discount the value is 100 until it is too late, and
no step towards the treasure changes it."""


class AliceAndBob(BatchEnv):
    """Two locked rooms: Bob's key frees Alice, her key frees Bob, and then a treasure pays both.

    | part        | type               | meaning                                                   |
    |-------------|--------------------|-----------------------------------------------------------|
    | agents      | `alice`, `bob`     | on a grid of 9 × 9 cells                                  |
    | observation | Box(19) float32    | see below                                                 |
    | action      | Discrete(4)        | right, left, up, down                                     |
    | reward      | float64, half each | team: 100 for the treasure, −0.1 for each agent that      |
    |             |                    | walks into a wall; paid when the episode ends             |
    | state       | Box(81) float32    | the code of each cell                                     |
    | ends        |                    | when the treasure is taken; truncated at 40 steps         |

    | map         | A and B are where Alice and Bob start                             |
    |-------------|-------------------------------------------------------------------|
    | `#########` |                                                                   |
    | `#A..#..B#` | First Bob takes the key k, which opens Alice's door a.            |
    | `#...#...#` |                                                                   |
    | `#...#k..#` | Then she takes the key K, which opens his door b.                 |
    | `##a###b##` |                                                                   |
    | `#K......#` | With both outside the upper rooms, one takes the treasure T.      |
    | `#.......#` |                                                                   |
    | `#......T#` |                                                                   |
    | `#########` |                                                                   |

    Alice moves first. Agents may share a cell, and either may take a key, by walking on it. The
    treasure is taken when an agent stands on it while both have left the upper rooms; a door's cell
    is outside. All episodes start alike, and nothing is random.

    An observation has the codes of the 3 × 3 cells around the agent (0 free, 1 wall, 2 and 3 the
    keys, 5 Alice, 6 Bob, 7 the treasure), its row and column, these less the other agent's, its
    place less that of each key (0 once that is taken), 1 if it is in an upper room, and its last
    event: −1 for a bump, 2 or 3 for a key, 7 for the treasure. An agent that moves writes its code
    over its new cell and clears its old one, so that the code of an agent with which it shared the
    cell, or of a treasure that it has walked over too early, is gone.

    The team's return counts the reward once: each agent is paid half. The curves of STAS's
    repository add both agents' rewards, so that a success is 200 there.

    **What it shows.** The first 13 steps of a success pay nothing, and random play finds one in
    1,063 episodes. As registered, the environment pays at the end of an episode only
    (`delay="episode"`), bumps included: `info["dense_reward"]` has what each step earned, for
    scoring; `delay=None` pays it at once. Exact values
    (`pkubench.envs.credit.alice_and_bob_table`):

    | policy                         | return | success |
    |--------------------------------|--------|---------|
    | uniform random actions         | −2.573 | 0.094 % |
    | never walking into a wall      | 0      | 0       |
    | optimum (`scripted:optimum`)   | 100    | 1       |

    The optimum takes 14 steps. Twelve are possible if Alice waits for her door by walking into a
    wall, which costs 0.1: no action does nothing, and without a bump she reaches the door at odd
    steps only.

    `info["success"]` is True where the treasure is taken. With the setting `difference_rewards`,
    `info["difference_reward"]` has for each agent the team's reward of the step less its mean over
    the agent's four actions, given the other's (Wolpert and Tumer 2001): no action does nothing, so
    there is none to compare with.

    Source: Chen et al., "STAS: Spatial-Temporal Return Decomposition for Solving Sparse Rewards
    Problems in Multi-Agent Reinforcement Learning", AAAI 2024, in the version that the authors
    train on. Versions: v0 first release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}
    default_horizon: ClassVar[int | None] = 40

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        *,
        difference_rewards: bool = False,
    ) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.difference_rewards = bool(difference_rewards)
        self.agents = ("alice", "bob")
        seen = spaces.Box(-8.0, 8.0, (OBSERVED,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = {agent: spaces.Discrete(ACTIONS) for agent in self.agents}
        self.state_space = spaces.Box(0.0, 7.0, (SIDE * SIDE,), np.float32)
        self.states: IntArray = np.full(num_envs, self.table.start, dtype=np.int64)
        """(num_envs,): the row of the table that each environment is in."""

    @property
    def table(self) -> Table:
        """The environment as a table."""
        return table()

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected team returns: ``random`` and ``optimum``."""
        horizon = self._horizon
        found = float(random_values(horizon)[horizon, self.table.start])
        return {"random": found, "optimum": 100.0}

    @property
    def exact_success(self) -> dict[str, float]:
        """Probabilities of success: ``random`` and ``optimum``."""
        return {"random": random_success(self._horizon), "optimum": 1.0}

    @property
    def optimal_plan(self) -> dict[str, IntArray]:
        """Agent id -> its actions (steps,) in the shortest episode of the largest return."""
        return dict(zip(self.agents, best_plan().T, strict=True))

    @property
    def lazy_plan(self) -> dict[str, IntArray]:
        """Agent id -> actions (steps,) to repeat, which avoid walls and lead nowhere."""
        return {"alice": np.array([0, 1]), "bob": np.array([1, 0])}

    @property
    def _horizon(self) -> int:
        return self.max_episode_steps or 40

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.states[ids] = self.table.start

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        known = self.table
        outcome = self.states * JOINT_ACTIONS
        outcome += ACTIONS * actions["alice"]
        outcome += actions["bob"]
        # Environments that are not active may hold anything: "clip" keeps those harmless.
        self.states = known.following.take(outcome, mode="clip")
        rewards = known.halves.take(outcome, axis=0, mode="clip")
        is_over = known.is_terminal.take(self.states)
        info: Info = {"success": is_over.copy()}
        if self.difference_rewards:
            info[DIFFERENCE_REWARD] = known.differences.take(outcome, axis=0, mode="clip")
        return rewards, is_over, info

    def _info(self) -> Info:
        info: Info = {"success": self.table.is_terminal[self.states]}
        if self.difference_rewards:
            info[DIFFERENCE_REWARD] = np.zeros((self.num_envs, self.num_agents))
        return info

    def _observe(self) -> dict[str, Array]:
        return {
            agent: seen.take(self.states, axis=0, mode="clip")
            for agent, seen in zip(self.agents, self.table.observations, strict=True)
        }

    def state(self) -> npt.NDArray[np.float32]:
        """Return the code of every cell, (num_envs, 81)."""
        return self.table.occupancy[self.states].astype(np.float32)

    def optimal_values(self) -> FloatArray:
        """Return what optimal play earns from each state before the time limit, (num_envs,).

        Discounted by ``VALUE_DISCOUNT`` a step, so that each step towards the treasure raises it,
        and each other step, or one that makes it too late, lowers it.
        """
        left = np.maximum(self._horizon - self.elapsed, 0)
        found: FloatArray = optimal_values(self._horizon, VALUE_DISCOUNT)[left, self.states]
        return found

    def events(self) -> dict[str, BoolArray]:
        """Return whose key opened a door, who took the treasure, and who walked into a wall."""
        events = self.table.events[self.states]
        return {
            "opens Alice's door": events == 2,
            "opens Bob's door": events == 3,
            "takes the treasure": events == TREASURE,
            "walks into a wall": events == BUMPED,
        }

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw an environment: (432, 432, 3) uint8, keys and doors of one color belong together."""
        known, state = self.table, int(self.states[index])
        return draw_grid(known.cells[state].tolist(), known.is_taken[state].tolist())
