"""Levels as one table: every state of every layout, and where each action leads.

A state is a layout, how the doors are, where the key is, and the agent's cell and direction. States
that differ in the direction alone have consecutive numbers, so ``state & 3`` is the direction. A
step is then one look-up, and so is an observation: states that look alike share one. How many steps
the shortest way to success takes follows for all states at once, by dynamic programming.
"""

from __future__ import annotations

import functools
import itertools
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.seeding import IntArray
from pkubench.envs.minigrid import cells, view
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.cells import Codes
from pkubench.envs.minigrid.levels import NO_ITEM, Drawn, Family

SUCCEEDS: Final = 1
ENDS: Final = 2
"""Bits of a move; the other bits are the next state."""
NEVER: Final = 10**6
"""Steps to success from where it cannot be reached."""
ROW: Final = 8
"""Moves a state has in the table; the last one is no action's."""
_CHUNK = 1 << 13


class Tables(NamedTuple):
    """Every state of some layouts."""

    moves: npt.NDArray[np.int32]
    """(states, 8): next state * 4 + ENDS + SUCCEEDS, by action."""
    look: npt.NDArray[np.int32]
    """(states,) the number of its image."""
    images: Codes
    """(images, 147): what is seen, without repetition."""
    numbers: npt.NDArray[np.int32]
    """(layouts, door settings, key places, cells) -> the state of direction 0, or -1. Door setting
    0 is that of the start; the last key place is the agent's hand, the only one without a key."""
    parts: npt.NDArray[np.int16]
    """(states / 4, 4): layout, door setting, key place and cell of each four states."""
    scenes: Codes
    """(layouts, door settings, cells): the grids, without the key."""

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.look)


class _Layouts(NamedTuple):
    """Layouts in every setting of their doors."""

    scenes: Codes
    """(layouts, settings, cells)."""
    doors: IntArray
    """(layouts, doors) cells of the doors."""
    variants: Codes
    """(layouts, doors, 3): the codes of each door, that of the start first."""
    choices: IntArray
    """(settings, doors): which of its codes each door has."""
    strides: IntArray
    """(doors,): what the following code of a door adds to the number of the setting."""
    shape: tuple[int, int]
    border: int
    has_item: bool


def compile_tables(grids: Codes, border: int, has_item: bool) -> Tables:
    """Return the tables of layouts.

    Args:
        grids: (layouts, height, width) codes without the key. All have equally many doors.
        border: code of what is seen outside.
        has_item: whether there is a key.
    """
    layouts = _layouts(grids, border, has_item)
    area = grids.shape[1] * grids.shape[2]
    free = cells.WALKABLE[layouts.scenes][:, :, None]
    if has_item:  # it lies on an empty cell that is not the agent's, or is carried
        lies = (layouts.scenes == cells.EMPTY)[..., None] & ~np.eye(area, dtype=np.bool_)
        free = np.concatenate([free & lies, free], axis=2)
    found = np.stack(np.nonzero(free))  # (4, groups): layout, setting, key place, cell
    groups = found.shape[1]
    numbers = np.full(free.shape, -1, dtype=np.int32)
    numbers[free] = 4 * np.arange(groups, dtype=np.int32)
    moves = np.zeros((groups, 4, ROW), dtype=np.int32)
    images = np.empty((groups, 4, view.VIEW * 3), dtype=np.uint8)
    for first in range(0, groups, _CHUNK):
        some = slice(first, first + _CHUNK)
        for direction in range(4):
            moves[some, direction, : cells.ACTIONS] = _moves(
                layouts, numbers, found[:, some], direction
            )
            images[some, direction] = _images(layouts, found[:, some], direction)
    look, unique = _without_repetition(images.reshape(4 * groups, -1))
    parts = found.T.astype(np.int16)
    return Tables(moves.reshape(-1, ROW), look, unique, numbers, parts, layouts.scenes)


def _layouts(grids: Codes, border: int, has_item: bool) -> _Layouts:
    count, area = len(grids), grids.shape[1] * grids.shape[2]
    flat = grids.reshape(count, area)
    doors = np.nonzero(cells.IS_DOOR[flat])[1].reshape(count, -1)
    variants = np.zeros((count, doors.shape[1], 3), dtype=np.uint8)
    sizes = [0] * doors.shape[1]
    for layout, number in np.ndindex(doors.shape):
        codes = _door_variants(int(flat[layout, doors[layout, number]]))
        variants[layout, number, : len(codes)] = codes
        sizes[number] = len(codes)
    choices = np.array(list(itertools.product(*map(range, sizes))), dtype=np.int64)
    scenes = np.repeat(flat[:, None], len(choices), axis=1)
    every = np.arange(count)
    for setting, choice in enumerate(choices):
        for number, variant in enumerate(choice):
            scenes[every, setting, doors[:, number]] = variants[:, number, variant]
    strides = [int(np.prod(sizes[number + 1 :])) for number in range(len(sizes))]
    return _Layouts(
        scenes,
        doors,
        variants,
        choices,
        np.array(strides, dtype=np.int64),
        (grids.shape[1], grids.shape[2]),
        border,
        has_item,
    )


def _door_variants(code: int) -> list[int]:
    """Return what toggling makes of a door: itself first."""
    found = [code]
    while (following := cells.effect(cells.KEY, found[-1], cells.TOGGLE).front) not in found:
        found.append(following)
    return found


def _moves(
    layouts: _Layouts, numbers: npt.NDArray[np.int32], states: IntArray, direction: int
) -> npt.NDArray[np.int32]:
    """Return the moves of states (4, n) in one direction, (n, actions)."""
    layout, setting, item, cell = (column[:, None] for column in states)
    front = cell + view.steps(layouts.shape[1])[direction]
    hand = numbers.shape[2] - 1
    carries = (item == hand) & layouts.has_item
    code = layouts.scenes[layout, setting, front]
    if layouts.has_item:
        code = np.where(item == front, cells.KEY, code).astype(np.uint8)
    carried = np.where(carries, cells.KEY, cells.NOTHING).astype(np.uint8)
    actions = np.arange(cells.ACTIONS)[None]
    index = cells.effect_index(carried, code, actions)
    turned = (direction + cells.TURNS[actions]) & 3
    next_cell = np.where(cells.MOVES[index], front, cell)
    next_setting = np.broadcast_to(setting, index.shape).copy()
    succeeds, becomes = cells.SUCCEEDS[index], cells.FRONT[index]
    for number in range(layouts.doors.shape[1]):
        toggled = np.nonzero((layouts.doors[layout, number] == front) & (becomes != code))
        rows = states[0, toggled[0]], states[1, toggled[0]]
        variants = layouts.variants[rows[0], number]
        new = (variants == becomes[toggled][:, None]).argmax(axis=1)
        old = layouts.choices[rows[1], number]
        next_setting[toggled] += (new - old) * layouts.strides[number]
    is_red_open = (layouts.scenes == cells.RED_OPEN).any(axis=2)[layout, setting]
    succeeds = succeeds | (cells.OPENS_LAST[index] & is_red_open)
    next_item = np.broadcast_to(item, index.shape)
    if layouts.has_item:
        now = cells.CARRIED[index] == cells.KEY
        next_item = np.where(now, hand, np.where(carries, front, item))
    number = numbers[layout, next_setting, next_item, next_cell]
    assert (number >= 0).all(), "an action leads out of the states"
    moves: npt.NDArray[np.int32] = (
        (number + turned) << 2 | (cells.ENDS[index] | succeeds) * ENDS | succeeds * SUCCEEDS
    ).astype(np.int32)
    return moves


def _images(layouts: _Layouts, states: IntArray, direction: int) -> Codes:
    """Return what is seen in states (4, n) in one direction, (n, 147)."""
    layout, setting, item, cell = states
    (height, width), pad = layouts.shape, view.PADDING
    wide = width + 2 * pad
    scenes = layouts.scenes.reshape(*layouts.scenes.shape[:2], height, width)
    scenes = view.padded(scenes, layouts.border).reshape(*layouts.scenes.shape[:2], -1)

    def in_padded(flat: IntArray) -> IntArray:
        return (flat // width + pad) * wide + flat % width + pad

    places = in_padded(cell)[:, None] + view.offsets(wide)[direction]
    views = scenes[layout[:, None], setting[:, None], places]
    carried = np.full(len(cell), cells.NOTHING, dtype=np.uint8)
    if layouts.has_item:
        is_carried = item == height * width
        carried[is_carried] = cells.KEY
        views[(places == in_padded(item)[:, None]) & ~is_carried[:, None]] = cells.KEY
    view.shade(views, carried)
    return view.seen_cells(views).reshape(len(cell), -1)


def _without_repetition(images: Codes) -> tuple[npt.NDArray[np.int32], Codes]:
    """Return the number of each image (n, 147) among the different ones, and these."""
    factors = np.random.default_rng(0).integers(1, 2**63, (images.shape[1],)).astype(np.uint64)
    hashes = np.zeros(len(images), dtype=np.uint64)
    for column in range(images.shape[1]):
        hashes += images[:, column] * factors[column]
    _, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    unique = images[first]
    if not np.array_equal(unique[numbers], images):  # two images with the same hash
        unique, numbers = np.unique(images, axis=0, return_inverse=True)
    return numbers.astype(np.int32), unique


def steps_after(
    moves: npt.NDArray[np.int32], steps: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Return how many steps to success are left after each action, (n, actions).

    Args:
        moves: (n, 8) of some states.
        steps: of every state.

    Returns:
        0 where the action succeeds, ``NEVER`` where the episode ends otherwise.
    """
    actions = moves[:, : cells.ACTIONS]
    after: npt.NDArray[np.int32] = steps[actions >> 2]
    after[(actions & ENDS) != 0] = NEVER
    after[(actions & SUCCEEDS) != 0] = 0
    return after


def steps_to_success(tables: Tables) -> npt.NDArray[np.int32]:
    """Return the least number of steps to success from each state, (states,); ``NEVER`` if none."""
    steps = np.full(tables.size, NEVER, dtype=np.int32)
    while True:
        shorter = np.minimum(steps, steps_after(tables.moves, steps).min(axis=1) + 1)
        if np.array_equal(shorter, steps):
            return steps
        steps = shorter


@functools.cache
def family_tables(name: str) -> Tables:
    """Return the tables of all layouts of a listed family; kept for the life of the process."""
    family = FAMILIES[name]
    return compile_tables(family.paint(family.layouts()), family.border, family.has_item)


@functools.cache
def family_steps(name: str) -> npt.NDArray[np.int32]:
    """Return ``steps_to_success`` of a listed family; kept for the life of the process."""
    return steps_to_success(family_tables(name))


@functools.cache
def _layout_keys(name: str) -> tuple[IntArray, IntArray, IntArray]:
    """Return the keys of a family's layouts, ascending; and how a key follows from parameters."""
    layouts = FAMILIES[name].layouts()
    if layouts.shape[1] == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    low = layouts.min(axis=0)
    sizes = layouts.max(axis=0) - low + 1
    factors = np.concatenate([np.cumprod(sizes[:0:-1])[::-1], [1]])
    return (layouts - low) @ factors, low, factors


def start_states(name: str, drawn: Drawn) -> IntArray:
    """Return the first states of levels of a listed family, (n,)."""
    family: Family = FAMILIES[name]
    numbers = family_tables(name).numbers
    keys, low, factors = _layout_keys(name)
    layout = np.searchsorted(keys, (drawn.layout - low) @ factors)
    cell = drawn.y * family.shape[1] + drawn.x
    item = np.where(drawn.item == NO_ITEM, numbers.shape[2] - 1, drawn.item)
    states: IntArray = numbers[layout, 0, item, cell] + drawn.direction
    return states
