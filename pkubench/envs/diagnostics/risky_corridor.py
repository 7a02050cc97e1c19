"""RiskyCorridor: planks over pits, and a limit on falls that only a lottery uses up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.diagnostics.drawing import draw_corridor

if TYPE_CHECKING:
    from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP


class Plank(NamedTuple):
    """A way over a pit."""

    start: int
    """Cell in front of it."""
    end: int
    """Cell behind it; walking round the pit takes ``end - start`` steps."""
    risk: float
    """Chance of a fall."""

    @property
    def saves(self) -> int:
        """Steps it is shorter than the way round."""
        return self.end - self.start - 1


PLANKS: Final = (Plank(2, 5, 0.2), Plank(6, 11, 0.8), Plank(12, 16, 0.5), Plank(17, 19, 0.5))
GOAL: Final = 20
STEP_REWARD: Final = -0.1
GOAL_REWARD: Final = 2.0
FALL_COST: Final = 10.0
COST_LIMIT: Final = 5.0
"""Half a fall an episode, on average."""
BACK, ON, LEAP = range(3)


class RiskyCorridor(BatchEnv):
    """A corridor of 20 cells winds round four pits; a plank over each one is shorter, and risky.

    | part        | type                     | meaning                                          |
    |-------------|--------------------------|--------------------------------------------------|
    | observation | Box(0, 1, (21,)) float32 | the cell, one-hot                                |
    | action      | Discrete(3)              | step back, step on, take the plank               |
    | reward      | float64                  | −0.1 a step, and 2 for the goal                  |
    | cost        | 0 or 10                  | 10 for a fall                                    |
    | ends        |                          | in cell 20, the goal; truncated after 50 steps   |

    | plank | from cell | to cell | saves   | risk of a fall | steps saved a fall |
    |-------|-----------|---------|---------|----------------|--------------------|
    | 1     | 2         | 5       | 2 steps | 0.2            | 10                 |
    | 2     | 6         | 11      | 4 steps | 0.8            | 5                  |
    | 3     | 12        | 16      | 3 steps | 0.5            | 6                  |
    | 4     | 17        | 19      | 1 step  | 0.5            | 2                  |

    A plank takes one step, and who falls is across all the same. Where there is no plank, taking
    one is stepping on; cell 0 has none behind it. Falls are the episode's only chance. `info`:
    `cost`.

    **The optimum.** Walking round every pit takes 20 steps and earns 0. Taking plank k with
    probability pₖ earns 0.1 sₖ pₖ more (s the steps it saves) at a cost of 10 qₖ pₖ (q its risk),
    and a step back earns nothing and costs time. So the best policy within a limit d fills a
    knapsack with planks, the most steps a fall first: with d = 5 plank 1 always (cost 2) and plank
    3 with probability 0.6 (cost 3), which earns 0.2 + 0.18 = **0.38**. The multiplier is what one
    more unit of cost would earn at plank 3: λ = 0.3 / 5 = **0.06**. Without a limit all four planks
    pay: return 1 at a cost of 20, four times the limit.

    **What it shows.** The best feasible policy must draw lots, in one cell. Policies that always do
    the same in a cell get at most 0.3 within the limit, by plank 3 alone; the mode of the optimum,
    with plank 3 always, costs 7. A saved agent that is evaluated at its mode is therefore either
    poorer than what it learned or over the limit: look at the cost of training as well, or compute
    its return and cost exactly (`pkubench.envs.diagnostics.constrained_mdp.evaluate`). Given any
    multiplier but 0.06, plank 3 is best taken always or never, so a multiplier and a policy that
    follow each other circle round the optimum: their average is near it, their last state need not
    be. And the plank that saves most is not the one to take: what counts is its ratio to the risk.

    `model` is the environment as a table, and `tests/envs/test_constrained_environments.py` holds
    all of this to a linear program. `scripted:optimum` plays the best feasible policy.

    Source: constrained Markov decision processes and their randomised optima: Altman, "Constrained
    Markov Decision Processes", 1999; the greedy knapsack: Dantzig, "Discrete-Variable Extremum
    Problems", 1957; the environment is ours. Versions: v0 first release.
    """

    default_horizon: ClassVar[int | None] = 50

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (GOAL + 1,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(3)}
        self._random = RandomStreams(num_envs)
        self._cell: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._falls: IntArray = np.zeros(num_envs, dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        self._cell[ids] = 0
        self._falls[ids] = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        indices = self._all if active is None else np.flatnonzero(active)
        move, cell = actions[SOLE_AGENT][indices], self._cell[indices]
        has_fallen = self._random.uniform(indices, 1)[:, 0] < RISKS[cell, move]
        self._cell[indices] = LEADS_TO[cell, move]
        self._falls[indices] += has_fallen
        is_there = self._cell == GOAL
        cost = np.zeros(self.num_envs)
        cost[indices] = FALL_COST * has_fallen
        return (STEP_REWARD + GOAL_REWARD * is_there)[:, None], is_there, {"cost": cost}

    def _info(self) -> Info:
        return {"cost": np.zeros(self.num_envs)}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.eye(GOAL + 1, dtype=np.float32)[self._cell]}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the corridor with its planks and the environment's walker: (320, 480, 3) uint8."""
        counts = f"step {int(self.elapsed[index])}, falls {int(self._falls[index])}"
        planks = [(plank.start, plank.end, plank.risk) for plank in PLANKS]
        return draw_corridor(f"RiskyCorridor   ({counts})", GOAL, planks, int(self._cell[index]))

    @property
    def model(self) -> ConstrainedMDP:
        """The environment as a table; its states are the cells, its horizon is the time limit."""
        from pkubench.envs.diagnostics.constrained_mdp import ConstrainedMDP

        goes_on = np.eye(GOAL + 1)
        goes_on[GOAL] = 0.0
        transitions: FloatArray = goes_on[LEADS_TO]
        transitions[GOAL] = 0.0
        rewards = STEP_REWARD + GOAL_REWARD * (LEADS_TO == GOAL)
        horizon = self.max_episode_steps or self.default_horizon
        assert horizon is not None
        return ConstrainedMDP(rewards, FALL_COST * RISKS, transitions, np.eye(GOAL + 1)[0], horizon)

    @staticmethod
    def choose_optimally(observation: Array, lots: FloatArray) -> Array:
        """Return what the best feasible policy does.

        Args:
            observation: (episodes, 21) float32.
            lots: (episodes,) uniform numbers in [0, 1), which decide where the policy draws.

        Returns:
            Actions (episodes,) int64.
        """
        chances = optimal_policy(COST_LIMIT)[observation.argmax(axis=1)]
        chosen: Array = (lots[:, None] >= chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
        return chosen


def _tables() -> tuple[IntArray, FloatArray]:
    """Return where each action leads from each cell, and its risk of a fall: (cells, 3)."""
    cells = np.arange(GOAL + 1)
    leads_to = np.stack([np.maximum(cells - 1, 0), np.minimum(cells + 1, GOAL)], axis=1)
    leads_to = np.concatenate([leads_to, leads_to[:, [ON]]], axis=1)
    leads_to[GOAL] = GOAL  # the end, where environments wait for their reset
    risks = np.zeros(leads_to.shape)
    for plank in PLANKS:
        leads_to[plank.start, LEAP] = plank.end
        risks[plank.start, LEAP] = plank.risk
    return leads_to, risks


LEADS_TO, RISKS = _tables()


def optimal_policy(cost_limit: float) -> FloatArray:
    """Return the best policy within a limit on cost, (cells, 3): the greedy knapsack of planks."""
    policy = np.zeros(RISKS.shape)
    policy[:, ON] = 1.0
    falls = cost_limit / FALL_COST
    for plank in sorted(PLANKS, key=lambda plank: plank.saves / plank.risk, reverse=True):
        chance = min(1.0, falls / plank.risk)
        policy[plank.start] = (0.0, 1.0 - chance, chance)
        falls -= chance * plank.risk
    return policy
