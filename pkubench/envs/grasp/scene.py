"""The scene in code: a floating hand, a table, and one object made of up to N convex parts.

The physics is that of UniDexGrasp++ (Wan et al., ICCV 2023, arXiv 2304.00464, released settings)
as far as MuJoCo has it. Contacts have elliptic cones, ``impratio`` 10 and three dimensions: with
MuJoCo's defaults (pyramids, ``impratio`` 1) every grasp creeps open within seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from pkubench.envs.core.batch import FloatArray
from pkubench.envs.grasp.hands import OBJECT_NAME, ROOT_JOINT, SCENE_GEOMS, Hand, one_line
from pkubench.envs.grasp.rewards import GOAL_RADIUS_M
from pkubench.errors import ConfigError

TIMESTEP_S = 1.0 / 120.0
SUBSTEPS = 2
"""Physics steps in one step of the environment, 1/60 s."""
TABLE_TOP_M = 0.6
DENSITY = 500.0
"""Of objects, in kg/m³."""
LINEAR_DAMPING = 100.0
"""Drag on the hand per unit of its mass, in 1/s."""
ANGULAR_DAMPING = 2.0
"""Drag on the hand's rotation, in N m s/rad."""
CAMERA, GOAL = "scene", "goal"
"""In scenes that are drawn: the camera, and a site where the object is to be lifted to."""
GOAL_COLOR, REACHED_COLOR = (0.1, 0.45, 0.9, 0.3), (0.1, 0.75, 0.25, 0.45)
HAND_JOINT, OBJECT = ROOT_JOINT, OBJECT_NAME
FILLER = "filler"
_FILLER_M = 0.001
_ITERATIONS = 10
_TABLE = (0.74, 0.72, 0.68, 1.0)
_FLOOR = (0.6, 0.62, 0.65, 1.0)
_OBJECT = (0.95, 0.5, 0.1, 1.0)
_SKY = (0.86, 0.9, 0.94)
_SHADOW_PIXELS = 1024
"""MuJoCo's 4,096 take most of the time of a picture where a processor draws it."""


@dataclass(frozen=True, slots=True)
class ScaledPart:
    """A convex part of an object at its final size, in the object's frame."""

    vertices: FloatArray
    """(V, 3) in m."""
    faces: np.ndarray[Any, np.dtype[np.int32]]
    """(F, 3), counter-clockwise seen from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSettings:
    """What a scene is compiled from, besides the shapes of its objects."""

    hand: Hand
    friction: float = 1.0
    """Of hand, object and table."""
    ball_m: float | None = None
    """Radius of a ball that is the object; None: objects are made of convex parts."""


def compile_scene(
    settings: SceneSettings,
    meshes: Sequence[ScaledPart] = (),
    slots: int = 1,
    is_drawn: bool = False,
) -> Any:
    """Return the ``mujoco.MjModel`` of the scene; positions are those of the hand, then the object.

    Args:
        settings: hand, friction, ball.
        meshes: parts that any slot may be given, in this order; the last mesh of the model is a
            filler of 1 mm, which all slots have at first.
        slots: geoms of the object, unless it is a ball.
        is_drawn: with what is seen and touches nothing.
    """
    spec = settings.hand.spec(is_drawn)
    try:
        _complete(spec, settings, meshes, slots, is_drawn)
        model = spec.compile()
    except ValueError as error:  # a name of the user's hand that the scene has, too
        if not settings.hand.path:
            raise
        raise ConfigError(
            f"the hand {settings.hand.path!r} does not fit the scene: {one_line(error)}"
        ) from error
    drag = model.joint(HAND_JOINT).dofadr[0]
    hand_mass = float(model.body(settings.hand.palm).subtreemass[0])
    model.dof_damping[drag : drag + 3] = LINEAR_DAMPING * hand_mass
    model.dof_damping[drag + 3 : drag + 6] = ANGULAR_DAMPING
    return model


def _complete(
    spec: Any, settings: SceneSettings, meshes: Sequence[ScaledPart], slots: int, is_drawn: bool
) -> None:
    """Add all that is not the hand."""
    _set_options(spec)
    _finish_hand(spec)
    add_meshes(spec, meshes)
    _add_table(spec)
    _add_object(spec, settings, slots)
    _add_sensors(spec, settings.hand)
    if is_drawn:
        _add_camera(spec)
    for geom in spec.geoms:
        geom.friction = np.array([settings.friction, 0.005, 0.0001])
        geom.condim = 3


def add_meshes(spec: Any, meshes: Sequence[ScaledPart]) -> None:
    """Add parts as meshes, in order, and the filler."""
    tetrahedron = _FILLER_M * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    sides = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
    for number, part in enumerate((*meshes, ScaledPart(tetrahedron, sides))):
        mesh = spec.add_mesh(name=FILLER if number == len(meshes) else f"part {number}")
        mesh.uservert = part.vertices.ravel()
        mesh.userface = part.faces.ravel()
        # The hull is then stored with every mesh, also with those that no geom has yet.
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX


def _set_options(spec: Any) -> None:
    option = spec.option
    option.timestep = TIMESTEP_S
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0
    option.iterations = _ITERATIONS
    # The bounding volumes of slots are compiled for the filler, so that they must not be used.
    # One hand and one object that it touches are one island of constraints.
    option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)


def _finish_hand(spec: Any) -> None:
    """Free the hand of gravity and let it touch objects and table, and itself by pairs only."""
    for body in spec.bodies:
        body.gravcomp = 1.0
    for geom in spec.geoms:
        if geom.contype or geom.conaffinity:
            geom.contype, geom.conaffinity = 1, 0
    for joint in spec.joints:
        joint.frictionloss = 0.0
        if joint.type == mujoco.mjtJoint.mjJNT_FREE:
            joint.name = HAND_JOINT


def _add_table(spec: Any) -> None:
    half = TABLE_TOP_M / 2
    spec.worldbody.add_geom(
        name=SCENE_GEOMS[0],
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.5, 0.5, half],
        pos=[0.0, 0.0, half],
        rgba=_TABLE,
    )
    spec.worldbody.add_geom(
        name=SCENE_GEOMS[1], type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5.0, 5.0, 0.1], rgba=_FLOOR
    )


def _add_object(spec: Any, settings: SceneSettings, slots: int) -> None:
    body = spec.worldbody.add_body(name=OBJECT, pos=[0.0, 0.0, TABLE_TOP_M + 0.1])
    body.add_freejoint(name=OBJECT)
    if settings.ball_m is not None:
        size = [settings.ball_m, 0.0, 0.0]
        kind = mujoco.mjtGeom.mjGEOM_SPHERE
        body.add_geom(name="slot 0", type=kind, size=size, density=DENSITY, rgba=_OBJECT)
        return
    # Of an object of no particular shape: MuJoCo takes no short cut that another could not take.
    body.explicitinertial = True
    body.mass, body.ipos, body.inertia = 0.1, [0.003, 0.002, 0.001], [1e-4, 1.2e-4, 1.4e-4]
    for slot in range(slots):
        kind = mujoco.mjtGeom.mjGEOM_MESH
        body.add_geom(name=f"slot {slot}", type=kind, meshname=FILLER, rgba=_OBJECT)


def _add_sensors(spec: Any, hand: Hand) -> None:
    """Measure what acts on each fingertip: force (N) and torque (N m) in its frame."""
    for number, name in enumerate(hand.fingertips):
        site = f"tip {number}"
        spec.body(name).add_site(name=site)
        for kind in (mujoco.mjtSensor.mjSENS_FORCE, mujoco.mjtSensor.mjSENS_TORQUE):
            spec.add_sensor(
                name=f"{site} {kind.name}",
                type=kind,
                objtype=mujoco.mjtObj.mjOBJ_SITE,
                objname=site,
            )


def _add_camera(spec: Any) -> None:
    """Add what a picture needs: a camera near the hand, light, sky, and a mark of the goal."""
    place, target = np.array([0.62, -0.5, 0.96]), np.array([0.0, -0.02, 0.76])
    back = (place - target) / np.linalg.norm(place - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    spec.worldbody.add_camera(name=CAMERA, pos=place, quat=quat, fovy=40.0)
    lamp = {"diffuse": [0.55] * 3, "specular": [0.1] * 3}
    spec.worldbody.add_light(pos=[0.3, -0.4, 2.5], dir=[-0.12, 0.16, -1.0], **lamp)
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.35] * 3, [0.35] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.visual.quality.shadowsize = _SHADOW_PIXELS
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=_SKY,
        rgb2=_SKY,
        width=8,
        height=48,
    )
    spec.worldbody.add_site(
        name=GOAL, pos=[0.0, 0.0, 0.9], size=[GOAL_RADIUS_M, 0.0, 0.0], rgba=GOAL_COLOR
    )
