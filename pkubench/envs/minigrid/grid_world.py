"""MiniGrid levels as a BatchEnv: one family, or several in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.options import Option
from pkubench.envs.core.seeding import IntArray, evaluation_seeds
from pkubench.envs.minigrid import cells, view
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.drawing import TILE, draw_scene
from pkubench.envs.minigrid.engines import CHANNELS, make_engine
from pkubench.envs.minigrid.supply import LevelSupply
from pkubench.envs.minigrid.tables import NEVER
from pkubench.errors import UnknownName

OPTIMUM_LEVELS = 10_000
"""Levels, those of the first evaluation seeds, over which the mean optimum is taken."""
FROM_SEED = -1
"""The task of an episode is its seed modulo the number of tasks."""


class GridWorld(BatchEnv):
    """Equal to MiniGrid 3.2.0, and fast.

    Images, directions, rewards, ends and pictures are those of MiniGrid to the bit, and
    `reset(seed=s)` starts the level that MiniGrid makes of the seed, without its objects.

    Environments look their next state and image up in tables, where a family has few enough
    layouts; other families (DoorKey-16x16, MultiRoom-N6 and the like) are stepped on grids.
    `steps_to_success` and `best_returns` are exact: the shortest way for an agent that knows the
    level.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    no_op_action: ClassVar[int] = cells.DONE
    """It does nothing."""
    optimum_by_search: ClassVar[bool] = True
    """No agent plays the optimum: it knows the whole level, and agents see a part of it."""

    def __init__(
        self, num_envs: int, max_episode_steps: int | None, levels: Sequence[str], with_task: bool
    ) -> None:
        """Make ``num_envs`` environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; None for none, -1 for MiniGrid's own. Rewards are those
                of MiniGrid's own limit in any case.
            levels: names of the families.
            with_task: whether observations have the task as a fourth channel.

        Raises:
            UnknownName: a level that is not made here.
        """
        for name in levels:
            if name not in FAMILIES:
                raise UnknownName("MiniGrid level with a fast engine", name, FAMILIES)
        self.levels = tuple(levels)
        limits = [FAMILIES[name].max_steps for name in levels]
        self._max_steps: IntArray = np.array(limits, dtype=np.int64)
        super().__init__(num_envs, max(limits) if max_episode_steps == -1 else max_episode_steps)
        shape = (view.SIDE, view.SIDE, CHANNELS + with_task)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(0, 255, shape, np.uint8)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(cells.ACTIONS)}
        self._engine = make_engine(self.levels, num_envs, with_task)
        self._supply = LevelSupply(
            num_envs, self._engine.record_width, self._engine.records, self._task_of
        )
        self._task: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._seed: IntArray = np.zeros(num_envs, dtype=np.int64)

    @property
    def missions(self) -> tuple[str, ...]:
        """What is asked in each family, in MiniGrid's words."""
        return tuple(FAMILIES[name].mission for name in self.levels)

    def _task_of(self, seeds: IntArray) -> IntArray:
        """Return the tasks that episodes have where a reset chooses none."""
        return seeds % len(self.levels)

    def _tasks_of(self, ids: IntArray, seeds: IntArray) -> IntArray:
        """Return the tasks of new episodes."""
        return self._task_of(seeds)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        tasks = self._tasks_of(ids, seeds)
        self._engine.start(ids, tasks, self._supply.take(ids, tasks, seeds))
        self._task[ids] = tasks
        self._seed[ids] = seeds

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        succeeds, ends = self._engine.step(actions[SOLE_AGENT])
        rewards = np.zeros((self.num_envs, 1))
        won = succeeds.nonzero()[0]
        if len(won):
            limit = self._max_steps[self._task[won]]
            rewards[won, 0] = 1 - 0.9 * ((self.elapsed[won] + 1) / limit)
        return rewards, ends, self._infos(succeeds)

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._engine.observe()}

    def _info(self) -> Info:
        return self._infos(np.zeros(self.num_envs, dtype=np.bool_))

    def _infos(self, success: BoolArray) -> Info:
        return {"direction": self._engine.directions(), "success": success}

    @property
    def reward_limits(self) -> IntArray:
        """T of the reward 1 - 0.9 t / T: MiniGrid's limit in each environment's task, (num_envs,).

        It does not change with ``max_episode_steps``.
        """
        return self._max_steps[self._task]

    def steps_to_success(self) -> IntArray:
        """Return the least number of steps from the present states to success, (num_envs,) int64.

        It is ``tables.NEVER`` where success cannot be reached. The search knows the whole level;
        an agent has to find out.
        """
        steps: IntArray = np.minimum(self.steps_after().min(axis=1) + 1, NEVER)
        return steps

    def steps_after(self) -> IntArray:
        """Return the steps to success that are left after each action, (num_envs, actions) int64.

        It is 0 where the action succeeds, and ``tables.NEVER`` where it ends the episode otherwise.
        Best are the actions that leave the fewest.
        """
        return self._engine.steps_after()

    def best_returns(self) -> FloatArray:
        """Return what the shortest way pays from the present states, (num_envs,); 0 if too long."""
        steps, limit = self.elapsed + self.steps_to_success(), self.reward_limits
        return np.where(steps <= limit, 1 - 0.9 * (steps / limit), 0.0)

    @property
    def exact_returns(self) -> dict[str, float]:
        """Mean returns of waiting and of the shortest way, over the protocol's first levels."""
        seeds, means = evaluation_seeds(0, OPTIMUM_LEVELS), []
        for name in self.levels:
            env = GridWorld(OPTIMUM_LEVELS, None, (name,), False)
            env.reset(seeds)
            means.append(env.best_returns().mean())
        return {"no-op": 0.0, "optimum": float(np.mean(means))}

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment as MiniGrid does: (32 * height, 32 * width, 3) uint8."""
        family = FAMILIES[self.levels[int(self._task[index])]]
        scene = self._engine.scene(index)
        if scene.grid.shape != family.full_shape:
            left, top = family.origin(int(self._seed[index]))
            scene = scene.within(family.full_shape, left, top)
        return draw_scene(scene, family.border)


class OneLevel(GridWorld):
    """A view has 7 x 7 cells, the agent at `[3, 6]` with what it carries; those out of sight are 0.

    `info`: `direction` (0 right, 1 down, 2 left, 3 up) and `success`.
    """

    level: ClassVar[str]
    """Its name; a subclass's own."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        """Make ``num_envs`` environments; ``max_episode_steps`` is MiniGrid's limit by default."""
        super().__init__(num_envs, max_episode_steps, (self.level,), False)


class MixedLevels(GridWorld):
    """The first three channels are those of the task's own environment, the fourth is constant.

    An episode's option `task` chooses its task, as in `reset(options={"task": 2})`; otherwise it is
    the seed modulo the number of tasks. Time limits are the tasks' own. `info`: `direction` (0
    right, 1 down, 2 left, 3 up), `success` and `task_id`. The setting `levels` takes other tasks,
    by MiniGrid's names: `["DoorKey-8x8-v0", "LavaGapS7-v0"]`.
    """

    members: ClassVar[tuple[str, ...]] = ()
    """The families of a subclass."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        levels: Sequence[str] | None = None,
    ) -> None:
        """Make ``num_envs`` environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: a further limit; each task has MiniGrid's own in any case.
            levels: names of other families than ``members``.

        Raises:
            UnknownName: a level that is not made here.
        """
        names = self.members if levels is None else tuple(levels)
        tasks = spaces.Discrete(len(names) + 1, start=FROM_SEED)
        meaning = f"its index among the tasks; {FROM_SEED}: the seed modulo their number"
        self.episode_options = {"task": Option(FROM_SEED, tasks, meaning)}  # type: ignore[misc]
        super().__init__(num_envs, max_episode_steps, names, True)

    def _tasks_of(self, ids: IntArray, seeds: IntArray) -> IntArray:
        chosen = self.options["task"][ids]
        return np.where(chosen == FROM_SEED, self._task_of(seeds), chosen)

    def _limits(self) -> IntArray:
        own = self._max_steps[self._task]
        return own if self.max_episode_steps is None else np.minimum(own, self.max_episode_steps)

    def render(self, index: int = 0) -> npt.NDArray[np.uint8]:
        """Draw one environment, in the middle of a black picture as large as the largest task's."""
        picture = super().render(index)
        largest = np.max([FAMILIES[name].full_shape for name in self.levels], axis=0) * TILE
        room = largest - picture.shape[:2]
        before = room // 2
        margins = [*zip(before.tolist(), (room - before).tolist(), strict=True), (0, 0)]
        return np.pad(picture, margins)

    def _infos(self, success: BoolArray) -> Info:
        return {**super()._infos(success), "task_id": self._task.copy()}
