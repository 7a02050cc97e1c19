"""What steps many environments at once: tables of states, or grids where there are too many states.

An engine plays levels of one or several families. It makes *records* of levels from seeds, rows of
integers that are cheap to keep, and starts environments from them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.batch import BoolArray
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells, tables, view
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.draws import Draws, agrees_with_numpy
from pkubench.envs.minigrid.levels import Drawn

CHANNELS = 3


class Scene(NamedTuple):
    """One environment's state, to be drawn."""

    grid: Codes
    """(height, width) codes."""
    x: int
    y: int
    direction: int
    carried: int
    """A code, ``NOTHING`` if nothing is carried."""

    def within(self, shape: tuple[int, int], left: int, top: int) -> Scene:
        """Return the scene in a larger grid (height, width), empty but for this piece at a place.

        What lies outside of the larger grid is cut off.
        """
        height, width = shape
        rows, columns = np.arange(self.grid.shape[0]) + top, np.arange(self.grid.shape[1]) + left
        in_y, in_x = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        whole = np.full(shape, cells.EMPTY, dtype=np.uint8)
        whole[np.ix_(rows[in_y], columns[in_x])] = self.grid[np.ix_(in_y, in_x)]
        return self._replace(grid=whole, x=self.x + left, y=self.y + top)


class Engine(Protocol):
    """Steps ``num_envs`` environments; ``tasks`` are indices into its level names."""

    record_width: int
    """How many numbers a level's record has."""

    def records(self, tasks: IntArray, seeds: IntArray) -> IntArray:
        """Return levels (n, record_width) of the families ``tasks`` from ``seeds``, (n,) each."""
        ...

    def start(self, ids: IntArray, tasks: IntArray, records: IntArray) -> None:
        """Put the environments ``ids`` at the start of levels."""
        ...

    def step(self, actions: IntArray) -> tuple[BoolArray, BoolArray]:
        """Advance by actions (num_envs,); return what succeeds and what ends, (num_envs,) each."""
        ...

    def observe(self) -> Codes:
        """Return new images, (num_envs, 7, 7, 3), or (num_envs, 7, 7, 4) with the task."""
        ...

    def directions(self) -> IntArray:
        """Return where agents look, a new array (num_envs,): 0 right, 1 down, 2 left, 3 up."""
        ...

    def scene(self, index: int) -> Scene:
        """Return one environment's state."""
        ...

    def steps_after(self) -> IntArray:
        """Return ``tables.steps_after`` of the present states, (num_envs, actions)."""
        ...


def make_engine(names: tuple[str, ...], num_envs: int, with_task: bool) -> Engine:
    """Return the fastest engine for levels ``names``: tables, if all of them are listed."""
    if not agrees_with_numpy():
        from pkubench.envs.minigrid.minigrid_levels import OriginalLevels

        return OriginalLevels(names, num_envs, with_task)
    if all(FAMILIES[name].is_listed for name in names):
        return TableEngine(names, num_envs, with_task)
    return GridEngine(names, num_envs, with_task)


def by_task(tasks: IntArray) -> dict[int, IntArray]:
    """Return the places of each task that occurs."""
    if len(tasks) and (tasks == tasks[0]).all():
        return {int(tasks[0]): np.arange(len(tasks))}
    return {int(task): np.flatnonzero(tasks == task) for task in np.unique(tasks)}


def draw(name: str, seeds: IntArray) -> Drawn:
    """Return levels of one family from seeds (n,)."""
    family = FAMILIES[name]
    return family.draw(Draws(seeds, family.words))


class _Joined(NamedTuple):
    """The tables of several families in one numbering of states."""

    moves: npt.NDArray[np.int32]
    """(states * 8,)."""
    look: npt.NDArray[np.int32]
    images: Codes
    first: IntArray
    """(families + 1,): the first state of each family, and the number of states."""


@functools.cache
def _joined(names: tuple[str, ...], with_task: bool) -> _Joined:
    parts = [tables.family_tables(name) for name in names]
    first = np.cumsum([0, *(part.size for part in parts)])
    first_image = np.cumsum([0, *(len(part.images) for part in parts)])
    images = []
    for task, part in enumerate(parts):
        image = part.images.reshape(-1, view.VIEW, CHANNELS)
        if with_task:
            image = np.pad(image, ((0, 0), (0, 0), (0, 1)), constant_values=task)
        images.append(image.reshape(len(image), -1))
    moves = [part.moves + np.int32(at << 2) for part, at in zip(parts, first, strict=False)]
    look = [part.look + np.int32(at) for part, at in zip(parts, first_image, strict=False)]
    return _Joined(
        np.concatenate(moves).reshape(-1), np.concatenate(look), np.concatenate(images), first
    )


class TableEngine:
    """Looks everything up; a level's record is its first state."""

    def __init__(self, names: tuple[str, ...], num_envs: int, with_task: bool) -> None:
        """Make or take the tables of the families ``names``."""
        self.names = names
        self.record_width = 1
        self._with_task = with_task
        self._state: npt.NDArray[np.int32] = np.zeros(num_envs, dtype=np.int32)
        self._tables = _joined(names, with_task)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables out: they follow from the names."""
        return {k: v for k, v in self.__dict__.items() if k != "_tables"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tables = _joined(self.names, self._with_task)

    def records(self, tasks: IntArray, seeds: IntArray) -> IntArray:
        """Return levels; see :class:`Engine`."""
        found = np.empty((len(seeds), 1), dtype=np.int64)
        for task, places in by_task(tasks).items():
            name = self.names[task]
            states = tables.start_states(name, draw(name, seeds[places]))
            found[places, 0] = states + self._tables.first[task]
        return found

    def start(self, ids: IntArray, tasks: IntArray, records: IntArray) -> None:
        """Start levels; see :class:`Engine`."""
        self._state[ids] = records[:, 0]

    def step(self, actions: IntArray) -> tuple[BoolArray, BoolArray]:
        """Advance; see :class:`Engine`."""
        # "clip", since the actions of environments that are not active may be anything
        moves = self._tables.moves.take((self._state << 3) + actions, mode="clip")
        self._state = moves >> 2
        succeeds: BoolArray = (moves & tables.SUCCEEDS).astype(np.bool_)
        ends: BoolArray = (moves & tables.ENDS).astype(np.bool_)
        return succeeds, ends

    def observe(self) -> Codes:
        """Return images; see :class:`Engine`."""
        look = self._tables.look.take(self._state, mode="clip")
        rows = self._tables.images.take(look, axis=0, mode="clip")
        return rows.reshape(len(rows), view.SIDE, view.SIDE, -1)

    def directions(self) -> IntArray:
        """Return directions; see :class:`Engine`."""
        return (self._state & 3).astype(np.int64)

    def _located(self, index: int) -> tuple[str, int]:
        """Return the level of an environment, and its state in the level's own tables."""
        state = int(self._state[index])
        task = int(np.searchsorted(self._tables.first, state, side="right")) - 1
        return self.names[task], state - int(self._tables.first[task])

    def scene(self, index: int) -> Scene:
        """Return a state; see :class:`Engine`."""
        name, state = self._located(index)
        own = tables.family_tables(name)
        layout, setting, item, cell = own.parts[state >> 2].tolist()
        height, width = FAMILIES[name].shape
        grid = own.scenes[layout, setting].copy()
        has_item = own.numbers.shape[2] > 1
        carries = has_item and item == height * width
        if has_item and not carries:
            grid[item] = cells.KEY
        carried = cells.KEY if carries else cells.NOTHING
        return Scene(grid.reshape(height, width), cell % width, cell // width, state & 3, carried)

    def steps_after(self) -> IntArray:
        """Return what is left after each action; see :class:`Engine`."""
        steps = np.concatenate([tables.family_steps(name) for name in self.names])
        moves = self._tables.moves.reshape(-1, tables.ROW)[self._state]
        return tables.steps_after(moves, steps).astype(np.int64)


_START = ("x", "y", "direction", "item")
"""The parts of a drawn level that come before its layout's parameters in a record on grids."""


class GridEngine:
    """Moves cells in padded grids; a level's record has its parameters."""

    def __init__(self, names: tuple[str, ...], num_envs: int, with_task: bool) -> None:
        """Make empty grids, as large as the largest family's."""
        self.names = names
        self.record_width = self._record_width()
        self._with_task = with_task
        shapes = [self._shape(name) for name in names]
        self._height = max(height for height, _ in shapes) + 2 * view.PADDING
        self._width = max(width for _, width in shapes) + 2 * view.PADDING
        self._grids = np.zeros((num_envs, self._height * self._width), dtype=np.uint8)
        self._first = np.arange(num_envs, dtype=np.int64) * self._grids.shape[1]
        self._cell: IntArray = np.zeros(num_envs, dtype=np.int64) + view.PADDING * self._width
        self._direction: IntArray = np.zeros(num_envs, dtype=np.int64)
        self._carried: Codes = np.zeros(num_envs, dtype=np.uint8)
        self._task: IntArray = np.zeros(num_envs, dtype=np.int64)

    def _shape(self, name: str) -> tuple[int, int]:
        return FAMILIES[name].shape

    def _record_width(self) -> int:
        return len(_START) + max(FAMILIES[name].parameters for name in self.names)

    def records(self, tasks: IntArray, seeds: IntArray) -> IntArray:
        """Return levels; see :class:`Engine`."""
        found = np.zeros((len(seeds), self.record_width), dtype=np.int64)
        for task, places in by_task(tasks).items():
            drawn = draw(self.names[task], seeds[places])
            start = [getattr(drawn, part) for part in _START]
            rows = np.concatenate([np.stack(start, axis=1), drawn.layout], axis=1)
            found[places, : rows.shape[1]] = rows
        return found

    def start(self, ids: IntArray, tasks: IntArray, records: IntArray) -> None:
        """Start levels; see :class:`Engine`."""
        for task, places in by_task(tasks).items():
            name = self.names[task]
            grids, x, y, direction = self._levels(name, records[places])
            own, pad = ids[places], view.PADDING
            wide = np.full((len(own), self._height, self._width), FAMILIES[name].border, np.uint8)
            wide[:, pad : pad + grids.shape[1], pad : pad + grids.shape[2]] = grids
            self._grids[own] = wide.reshape(len(own), -1)
            self._cell[own] = (y + pad) * self._width + x + pad
            self._direction[own] = direction
            self._carried[own] = cells.NOTHING
            self._task[own] = task

    def _levels(self, name: str, records: IntArray) -> tuple[Codes, IntArray, IntArray, IntArray]:
        """Return grids, columns, rows and directions of levels of one family."""
        family = FAMILIES[name]
        first = len(_START)
        x, y, direction, item = records[:, :first].T
        grids = family.paint(records[:, first : first + family.parameters])
        if family.has_item:
            grids.reshape(len(grids), -1)[np.arange(len(grids)), item] = cells.KEY
        return grids, x, y, direction

    def step(self, actions: IntArray) -> tuple[BoolArray, BoolArray]:
        """Advance; see :class:`Engine`."""
        actions = actions.clip(0, cells.ACTIONS - 1)
        ahead = view.steps(self._width).take(self._direction)
        place = self._first + self._cell + ahead
        flat = self._grids.reshape(-1)
        index = cells.effect_index(self._carried, flat.take(place, mode="clip"), actions)
        flat[place] = cells.FRONT.take(index)
        self._carried = cells.CARRIED.take(index)
        self._cell = self._cell + ahead * cells.MOVES.take(index)
        self._direction = (self._direction + cells.TURNS.take(actions)) & 3
        succeeds, ends = cells.SUCCEEDS.take(index), cells.ENDS.take(index)
        last = np.flatnonzero(cells.OPENS_LAST.take(index))
        if len(last):
            succeeds[last] = (self._grids[last] == cells.RED_OPEN).any(axis=1)
        return succeeds, ends

    def observe(self) -> Codes:
        """Return images; see :class:`Engine`."""
        places = (self._first + self._cell)[:, None] + view.offsets(self._width)[self._direction]
        views = self._grids.reshape(-1).take(places, mode="clip")
        view.shade(views, self._carried)
        images = view.seen_cells(views)
        if self._with_task:
            task = np.broadcast_to(self._task[:, None, None, None], (*images.shape[:3], 1))
            images = np.concatenate([images, task.astype(np.uint8)], axis=3)
        return images

    def directions(self) -> IntArray:
        """Return directions; see :class:`Engine`."""
        return self._direction.copy()

    def scene(self, index: int) -> Scene:
        """Return a state; see :class:`Engine`."""
        pad = view.PADDING
        height, width = self._shape(self.names[int(self._task[index])])
        grid = self._grids[index].reshape(self._height, self._width)
        y, x = divmod(int(self._cell[index]), self._width)
        return Scene(
            grid[pad : pad + height, pad : pad + width].copy(),
            x - pad,
            y - pad,
            int(self._direction[index]),
            int(self._carried[index]),
        )

    def steps_after(self) -> IntArray:
        """Return what is left after each action, by the tables of each level as it stands."""
        found = [self._search(index) for index in range(len(self._grids))]
        return np.concatenate(found).astype(np.int64)

    def _search(self, index: int) -> npt.NDArray[np.int32]:
        family = FAMILIES[self.names[int(self._task[index])]]
        scene = self.scene(index)
        lies = np.flatnonzero(scene.grid == cells.KEY)
        grid = np.where(scene.grid == cells.KEY, cells.EMPTY, scene.grid).astype(np.uint8)
        own, steps = _searched(grid.tobytes(), grid.shape, family.border, family.has_item)
        item = int(lies[0]) if len(lies) else own.numbers.shape[2] - 1
        state = own.numbers[0, 0, item, scene.y * grid.shape[1] + scene.x] + scene.direction
        return tables.steps_after(own.moves[[state]], steps)


@functools.lru_cache(maxsize=256)
def _searched(
    codes: bytes, shape: tuple[int, int], border: int, has_item: bool
) -> tuple[tables.Tables, npt.NDArray[np.int32]]:
    """Return the tables of one grid, and the steps to success from each of its states.

    Kept for the last grids: an episode is in the same one most of the time.
    """
    grid = np.frombuffer(codes, dtype=np.uint8).reshape(1, *shape)
    own = tables.compile_tables(grid, border, has_item)
    return own, tables.steps_to_success(own)
