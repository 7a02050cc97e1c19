"""The same state in our engines and in MiniGrid's objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from pkubench.envs.minigrid import cells, tables, view
from pkubench.envs.minigrid.catalogue import FAMILIES
from pkubench.envs.minigrid.engines import GridEngine, Scene, TableEngine
from pkubench.envs.minigrid.grid_world import GridWorld


def scattered(scene: Scene, has_item: bool, rng: np.random.Generator) -> Scene:
    """Return the scene with agent, key and doors anywhere, but in no state that is the end."""
    grid = np.where(scene.grid == cells.KEY, cells.EMPTY, scene.grid).astype(np.uint8)
    flat = grid.reshape(-1)
    for place in np.flatnonzero(cells.IS_DOOR[flat]):
        for _ in range(rng.integers(3)):
            flat[place] = cells.effect(cells.KEY, int(flat[place]), cells.TOGGLE).front
    flat[flat == cells.LAST_DOOR_OPEN] = cells.LAST_DOOR
    free = np.flatnonzero(cells.WALKABLE[flat] & ~np.isin(flat, (cells.MATCH, cells.MISMATCH)))
    agent = int(rng.choice(free))
    carried = cells.NOTHING
    if has_item:
        lies = np.flatnonzero((flat == cells.EMPTY) & (np.arange(flat.size) != agent))
        carried = cells.KEY if rng.random() < 0.5 else cells.NOTHING
        if carried == cells.NOTHING:
            flat[rng.choice(lies)] = cells.KEY
    y, x = divmod(agent, grid.shape[1])
    return Scene(grid, x, y, int(rng.integers(4)), carried)


def put(env: GridWorld, scene: Scene) -> None:
    """Put a scene of the present layout into the first environment."""
    engine = env._engine
    if isinstance(engine, TableEngine):
        engine._state[0] = number(engine, scene)
        return
    assert isinstance(engine, GridEngine)
    grid = engine._grids[0].reshape(engine._height, engine._width)
    height, width = scene.grid.shape
    pad = view.PADDING
    grid[pad : pad + height, pad : pad + width] = scene.grid
    engine._cell[0] = (scene.y + pad) * engine._width + scene.x + pad
    engine._direction[0] = scene.direction
    engine._carried[0] = scene.carried


def number(engine: TableEngine, scene: Scene) -> int:
    """Return the number of a scene of the layout that the first environment has."""
    name, state = engine._located(0)
    own = tables.family_tables(name)
    layout = int(own.parts[state >> 2, 0])
    flat = scene.grid.reshape(-1)
    without = np.where(flat == cells.KEY, cells.EMPTY, flat)
    setting = int(np.flatnonzero((own.scenes[layout] == without).all(axis=1))[0])
    key = np.flatnonzero(flat == cells.KEY)
    item = int(key[0]) if len(key) else own.numbers.shape[2] - 1
    cell = scene.y * scene.grid.shape[1] + scene.x
    at = int(own.numbers[layout, setting, item, cell])
    assert at >= 0
    return at + scene.direction + int(engine._tables.first[engine.names.index(name)])


def put_original(theirs: Any, scene: Scene, left: int, top: int) -> None:
    """Put a scene into MiniGrid's environment, its corner at column ``left``, row ``top``."""
    from minigrid.core.world_object import Key

    for y, x in np.ndindex(scene.grid.shape):
        column, row = x + left, y + top
        if not (0 <= column < theirs.width and 0 <= row < theirs.height):
            continue
        code = int(scene.grid[y, x])
        there = theirs.grid.get(column, row)
        if there is not None and there.type == "door":  # RedBlueDoors looks at the objects
            state = cells.CELLS[code].state
            there.is_open, there.is_locked = state == 0, state == 2
        elif there is not None and there.type == "key" and code == cells.EMPTY:
            theirs.grid.set(column, row, None)
        elif there is None and code == cells.KEY:
            theirs.grid.set(column, row, Key("yellow"))
    theirs.carrying = Key("yellow") if scene.carried == cells.KEY else None
    theirs.agent_pos = (scene.x + left, scene.y + top)
    theirs.agent_dir = scene.direction


def corner(env: GridWorld) -> tuple[int, int]:
    """Return where the first environment's scene begins in MiniGrid's grid."""
    name = env.levels[int(env._task[0])]
    family = FAMILIES[name]
    if env._engine.scene(0).grid.shape == family.full_shape:
        return 0, 0
    return family.origin(int(env._seed[0]))


def same_moment(ours: Any, theirs: Any) -> bool:
    """Whether a step of the first environment gave what MiniGrid's did."""
    image, reward, terminated, truncated, _ = theirs
    return (
        np.array_equal(ours.observations["agent"][0, :, :, :3], image["image"])
        and int(ours.info["direction"][0]) == image["direction"]
        and float(ours.rewards[0, 0]) == reward
        and bool(ours.terminated[0]) == terminated
        and bool(ours.truncated[0]) == truncated
        and bool(ours.info["success"][0]) == (reward > 0)
    )
