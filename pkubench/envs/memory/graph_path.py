"""GraphPath: the shortest way through a graph, to be learned from random walks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import (
    SOLE_AGENT,
    Array,
    BatchEnv,
    BoolArray,
    FloatArray,
    Info,
    Option,
)
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.memory.drawing import draw_graph
from pkubench.envs.memory.policies import TableAgent

NODES: Final = 20
GOAL: Final = 0
SUCCESSORS: Final[tuple[tuple[int, ...], ...]] = (
    (2, 3, 11, 13),
    (0,),
    (8, 13, 19),
    (2,),
    (12,),
    (8, 11, 13, 17, 19),
    (),
    (6, 10, 12, 19),
    (),
    (13, 16),
    (7, 12, 14),
    (2, 3, 14),
    (8, 17),
    (9,),
    (9, 11),
    (2,),
    (3, 13),
    (0, 5),
    (4, 5, 16),
    (0, 17),
)
"""The nodes that each node leads to, in ascending order. Drawn once: of the 380 pairs of different
nodes each is an edge with probability 0.1, by ``numpy.random.default_rng(0)``."""
ACTIONS: Final = max(len(nodes) for nodes in SUCCESSORS)
DRAWN: Final = -1
"""The option ``start`` that draws the first node."""


def distances() -> IntArray:
    """Return the number of steps from each node to the goal, (20,); −1 where there is no way."""
    found = np.full(NODES, -1, dtype=np.int64)
    found[GOAL] = 0
    queue = deque([GOAL])
    while queue:
        node = queue.popleft()
        for before in range(NODES):
            if node in SUCCESSORS[before] and found[before] < 0:
                found[before] = found[node] + 1
                queue.append(before)
    return found


def _table() -> IntArray:
    """Return where each action leads from each node, (20, actions)."""
    table = np.repeat(np.arange(NODES)[:, None], ACTIONS, axis=1)
    for node, nodes in enumerate(SUCCESSORS):
        table[node, : len(nodes)] = nodes
    table[GOAL] = GOAL
    return table


LEADS_TO, DISTANCES = _table(), distances()
STARTS: Final = tuple(int(node) for node in np.flatnonzero(DISTANCES > 0))
"""The nodes from which the goal can be reached."""


class GraphPath(BatchEnv):
    """A fixed directed graph of 20 nodes: reach node 0 in as few steps as possible.

    | part        | type                     | meaning                                           |
    |-------------|--------------------------|---------------------------------------------------|
    | observation | Box(0, 1, (20,)) float32 | the node, one-hot                                 |
    | action      | Discrete(5)              | the k-th of the node's successors, in their order; |
    |             |                          | an action beyond their number stays               |
    | reward      | float64                  | −1 for each step, 0 for the one that reaches node 0 |
    | ends        |                          | in node 0; truncated after 10 steps               |

    The first node is drawn uniformly from the 17 from which there is a way; the option `start` of a
    reset chooses it, and evaluations play every one equally often, so that the score of an agent
    without chance is exact. A way of d steps earns 1 − d, and no way −10. The optimum is the mean
    of 1 − d over the first nodes, by breadth-first search: **−31/17 = −1.8235**
    (`scripted:optimum`). `info["success"]`: node 0 is reached.

    **What it shows.** Whether an agent that has seen only random walks finds ways that are shorter
    than any that it saw, by joining parts of them.

    Source: Chen et al., "Decision Transformer: Reinforcement Learning via Sequence Modeling",
    NeurIPS 2021, figure 1, whose graphs are not published; the graph is ours. Versions: v0 first
    release.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 3}
    default_horizon: ClassVar[int | None] = 10
    episode_options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {
            "start": Option(
                DRAWN, spaces.Discrete(NODES + 1, start=DRAWN), "the first node; -1: drawn"
            )
        }
    )

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments."""
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0.0, 1.0, (NODES,), np.float32)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(ACTIONS)}
        self._random = RandomStreams(num_envs)
        self._node: IntArray = np.full(num_envs, STARTS[0], dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        drawn = np.array(STARTS)[self._random.integers(ids, 1, len(STARTS))[:, 0]]
        chosen = self.options["start"][ids]
        self._node[ids] = np.where(chosen == DRAWN, drawn, chosen)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        at = self._all if active is None else np.flatnonzero(active)
        self._node[at] = LEADS_TO[self._node[at], actions[SOLE_AGENT][at]]
        is_there = self._node == GOAL
        return np.where(is_there, 0.0, -1.0)[:, None], is_there, {"success": is_there.copy()}

    def _info(self) -> Info:
        return {"success": self._node == GOAL}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: np.eye(NODES, dtype=np.float32)[self._node]}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw the graph and the present node: (480, 480, 3) uint8."""
        title = f"GraphPath   (step {int(self.elapsed[index])})"
        return draw_graph(title, SUCCESSORS, GOAL, int(self._node[index]))

    @property
    def exact_returns(self) -> dict[str, float]:
        """Expected returns over all first nodes: ``random``, ``staying`` and ``optimum``."""
        horizon = self.max_episode_steps or 10
        away = np.zeros(NODES)  # the return from each node with a number of steps left
        for _ in range(horizon):
            away = (np.where(LEADS_TO == GOAL, 0.0, -1.0) + away[LEADS_TO]).mean(axis=1)
            away[GOAL] = 0.0
        return {
            "random": float(away[list(STARTS)].mean()),
            "staying": -float(horizon),
            "optimum": float(np.maximum(1.0 - DISTANCES[list(STARTS)], -horizon).mean()),
        }

    def scripted_agents(self) -> dict[str, TableAgent]:
        """Return the agents that step to the successor nearest the goal, and that stay."""
        away = np.where(DISTANCES < 0, NODES, DISTANCES)
        stay = (np.arange(NODES)[:, None] == LEADS_TO).argmax(axis=1)
        return {
            "optimum": TableAgent(away[LEADS_TO].argmin(axis=1)),
            "staying": TableAgent(stay),
        }
