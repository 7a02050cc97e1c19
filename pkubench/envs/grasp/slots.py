"""Many objects in one batch: one model has the meshes of all, each simulation its own slots.

The object of a simulation is a row of model fields: which mesh each slot shows, where it lies, the
mass of the body. A row is what MuJoCo computes when it compiles the object alone
(``tests/envs/test_grasp_slots.py``).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import mujoco
import numpy as np
from mujoco.batch import Batch

from pkubench.envs.core.batch import Array
from pkubench.envs.core.seeding import IntArray
from pkubench.envs.grasp.items import Solid
from pkubench.envs.grasp.scene import (
    DENSITY,
    FILLER,
    OBJECT,
    SceneSettings,
    add_meshes,
    compile_scene,
)

_GEOM_FIELDS: Final = (
    "geom_dataid",
    "geom_pos",
    "geom_quat",
    "geom_size",
    "geom_rbound",
    "geom_aabb",
    "geom_contype",
    "geom_conaffinity",
    "geom_sameframe",
)
_BODY_FIELDS: Final = ("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_sameframe")
_DERIVED_FIELDS: Final = ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0")
"""What MuJoCo derives from the others, of the object's body and of its degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The model of a scene, and the rows of the objects that it can hold."""

    model: Any
    """The ``mujoco.MjModel``, with the object at its first row."""
    rows: dict[str, Array]
    """Field -> (objects, ...): its values of the object's geoms, body or degrees of freedom."""
    place: dict[str, slice]
    """Field -> where in the model's field they belong."""

    def expand(self, expand: Callable[[str], Array]) -> dict[str, Array]:
        """Return the live fields of a batch, (num_envs, ...), from its own ``expand``."""
        return {name: expand(name)[:, self.place[name]] for name in self.rows}

    def put(self, fields: dict[str, Array], ids: IntArray, objects: IntArray) -> None:
        """Give the simulations ``ids`` of expanded ``fields`` the ``objects``, by number."""
        for name, field in fields.items():
            field[ids] = self.rows[name][objects]


def compile_slots(settings: SceneSettings, items: Sequence[Solid], is_drawn: bool = False) -> Slots:
    """Return the scene for any of the objects.

    Args:
        settings: hand, friction.
        items: objects at their scales, at least one.
        is_drawn: with what is seen and touches nothing.

    Returns:
        The scene with a model of its own. What was compiled last is kept: thousands of objects take
        seconds, and each block of an evaluation makes the environment again. A scene that is drawn
        has one object, so that it is compiled anew and the others stay.
    """
    if is_drawn:
        return _compile(settings, tuple(items), True)
    found = _compiled(settings, tuple(items))
    return replace(found, model=copy.copy(found.model))


@functools.lru_cache(maxsize=2)
def _compiled(settings: SceneSettings, items: tuple[Solid, ...]) -> Slots:
    return _compile(settings, items, False)


def _compile(settings: SceneSettings, items: tuple[Solid, ...], is_drawn: bool) -> Slots:
    meshes = [part for item in items for part in item.parts]
    count = max(len(item.object.parts) for item in items)
    model = compile_scene(settings, meshes, count, is_drawn)
    rows = _compiled_rows(items, count, model.mesh(FILLER).id - len(meshes))
    body = model.body(OBJECT)
    geoms = slice(int(body.geomadr[0]), int(body.geomadr[0]) + count)
    dofs = slice(int(body.dofadr[0]), int(body.dofadr[0]) + 6)
    bodies = slice(body.id, body.id + 1)
    place = dict.fromkeys(_GEOM_FIELDS, geoms) | dict.fromkeys(_BODY_FIELDS, bodies)
    place |= {name: dofs if name.startswith("dof") else bodies for name in _DERIVED_FIELDS}
    rows |= _derived_rows(model, rows, place)
    for name, values in rows.items():
        getattr(model, name)[place[name]] = values[0]
    return Slots(model, rows, place)


def _compiled_rows(items: Sequence[Solid], count: int, first_mesh: int) -> dict[str, Array]:
    """Return the fields that MuJoCo compiles, objects side by side in a model without a hand.

    Args:
        items: the objects.
        count: slots of each.
        first_mesh: number that the first part's mesh has in the scene, where a hand's are before.
    """
    spec = mujoco.MjSpec()
    add_meshes(spec, [part for item in items for part in item.parts])
    mesh = 0
    for number, item in enumerate(items):
        body = spec.worldbody.add_body(name=f"item {number}")
        for _ in item.object.parts:
            kind = mujoco.mjtGeom.mjGEOM_MESH
            body.add_geom(type=kind, meshname=f"part {mesh}", density=DENSITY)
            mesh += 1
    body = spec.worldbody.add_body(name=FILLER)
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=FILLER, contype=0, conaffinity=0)
    model = spec.compile()
    filled = {name: getattr(model, name)[-1] for name in _GEOM_FIELDS}
    # Its size stays what it is, but it lies in the object's center.
    filled |= {"geom_dataid": mesh, "geom_pos": 0.0, "geom_quat": np.array([1.0, 0.0, 0.0, 0.0])}
    filled["geom_sameframe"] = int(mujoco.mjtSameFrame.mjSAMEFRAME_BODY)
    rows: dict[str, Array] = {}
    for name in _GEOM_FIELDS:
        field = getattr(model, name)
        rows[name] = np.empty((len(items), count, *field.shape[1:]), field.dtype)
        rows[name][:] = filled[name]
    first = 0
    for number, item in enumerate(items):
        parts = len(item.object.parts)
        for name in _GEOM_FIELDS:
            rows[name][number, :parts] = getattr(model, name)[first : first + parts]
        first += parts
    rows["geom_dataid"] += first_mesh
    for name in _BODY_FIELDS:
        rows[name] = np.array(getattr(model, name)[1 : 1 + len(items), None])
    return rows


def _derived_rows(model: Any, rows: dict[str, Array], place: dict[str, slice]) -> dict[str, Array]:
    """Return the fields that MuJoCo derives from masses."""
    batch = Batch(model, len(rows["body_mass"]), 1)
    for name in _BODY_FIELDS:
        batch.expand(name)[:, place[name]] = rows[name]
    batch.set_const()
    found = {}
    for name in _DERIVED_FIELDS:
        values = batch.expanded(name)
        if values is None:
            raise RuntimeError(f"this version of MuJoCo does not derive {name}")
        found[name] = values[:, place[name]].copy()
    return found
