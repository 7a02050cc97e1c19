"""The model of a navigation environment: a robot, the things around it, and how it all looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal

import mujoco

from pkubench.envs.safety.robots import Robot

Kind = Literal["mark", "static", "free", "driven"]
"""How a thing moves: not at all and nothing touches it; not at all; freely; pulled in circles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Things of one kind, of which an environment has several."""

    name: str
    """As in ``cost_hazards``; the things are ``hazard0``, ``hazard1``, ..."""
    kind: Kind
    shape: str
    """Attributes of the geom: type and size."""
    height_m: float
    """Height of the centres."""
    clearance_m: float
    """Radius that is kept free of other things at the start."""
    colour: str
    count: int | None = None
    """None: one single thing, named like the group."""
    places: tuple[tuple[float, float], ...] = ()
    """Fixed places (x, y) in m, if not drawn."""
    yaws_rad: tuple[float, ...] = ()
    """Fixed yaws."""
    density: float | None = None
    is_sensed: bool = True
    """Whether the robot has a lidar for them."""
    more: str = ""
    """Further geoms of each thing."""
    boxes: tuple[str, ...] = ()
    """Names of the geoms of a single thing that has several."""

    @property
    def names(self) -> list[str]:
        """Names of the things."""
        if self.count is None:
            return [self.name]
        return [f"{self.name.removesuffix('s')}{number}" for number in range(self.count)]


_HALF_DEPTH = 'solref="0.02 1.4142135623730951" solimp="0.9 0.95 0.002 0.5 2"'
"""Contact parameters under which a penetration acts as half of it does by default."""


def box_pairs(robot: Robot, groups: Sequence[Group]) -> str:
    """Return the pairs of boxes that can touch, as MJCF.

    MuJoCo 2.3, which the original runs on, found half the depth wherever a face of one box meets
    another box; MuJoCo 4 finds the depth. Stiffness (1 / (time constant * damping ratio)^2) and
    impedance depend on the depth: with half the stiffness and twice the width the old forces come
    back.
    """
    movable = [[*robot.boxes]]
    for group in groups:
        if group.kind in ("free", "driven"):
            movable += [[*group.boxes]] if group.boxes else [[name] for name in group.names]
    return "".join(
        f'<pair geom1="{one}" geom2="{other}" condim="6" {_HALF_DEPTH}/>'
        for first, second in combinations(movable, 2)
        for one, other in product(first, second)
    )


CAMERA = "overview"
"""Name of the camera of drawn models."""
_SKY = """
  <texture type="skybox" builtin="gradient" rgb1="0.93 0.95 0.98" rgb2="0.62 0.72 0.84"
    width="256" height="256"/>
  <texture name="floor" type="2d" builtin="checker" width="256" height="256"
    rgb1="0.80 0.81 0.83" rgb2="0.86 0.87 0.88" mark="edge" markrgb="0.74 0.75 0.77"/>
  <material name="floor" texture="floor" texrepeat="{repeat} {repeat}" reflectance="0.08"/>
"""


def compile_scene(
    robot: Robot, groups: Sequence[Group], floor_m: float, *, is_drawn: bool = False
) -> Any:
    """Return the ``mujoco.MjModel``.

    Without ``is_drawn`` it has what takes part in the physics only; with it also what is but to be
    seen, and light. Positions, velocities and driven bodies are the same in both.

    Args:
        robot: the robot.
        groups: the things.
        floor_m: half the length of the floor's sides.
        is_drawn: whether the model is for pictures.
    """
    model = mujoco.MjModel.from_xml_string(_scene(robot, groups, floor_m, is_drawn))
    for group in groups:
        if group.kind == "driven":
            # MuJoCo 2.3 scales the rotation a weld holds by the mass, MuJoCo 4 by the inertia.
            bodies = [model.body(f"{name}obj").id for name in group.names]
            model.body_invweight0[bodies, 1] = model.body_invweight0[bodies, 0]
    return model


def _scene(robot: Robot, groups: Sequence[Group], floor_m: float, is_drawn: bool) -> str:
    free = [_body(g, name) for g in groups if g.kind == "free" for name in g.names]
    driven = [g for g in groups if g.kind == "driven"]
    pulled = [_body(g, name, f"{name}obj") for g in driven for name in g.names]
    mocaps = [f'<body name="{name}mocap" mocap="true"/>' for g in driven for name in g.names]
    welds = [
        f'<weld body1="{name}mocap" body2="{name}obj" solref="0.02 1.5"/>'
        for g in driven
        for name in g.names
    ]
    fixed = [_body(g, name) for g in groups if g.kind == "static" for name in g.names]
    touched = [
        f'<contact subtree1="agent" body2="{name}{"obj" if g.kind == "driven" else ""}"'
        ' data="found"/>'
        for g in groups
        if g.kind != "mark"
        for name in g.names
    ]
    angles = [f'<jointpos joint="{name}"/>' for name in robot.hinges]
    if robot.ball is not None:
        angles.append(f'<ballquat joint="{robot.ball}"/>')
    assets, light, marks, look = "", "", "", ""
    if is_drawn:
        assets = _SKY.format(repeat=floor_m * 2)
        marks = "".join(_body(g, name) for g in groups if g.kind == "mark" for name in g.names)
        look = 'material="floor"'
        light = f"""
          <light type="directional" dir="-0.35 0.35 -1" pos="3 -3 8" diffuse="0.42 0.42 0.42"
            ambient="0.05 0.05 0.05" specular="0.1 0.1 0.1" castshadow="true"/>
          <light type="directional" dir="0.5 0.6 -1" pos="-3 -4 8" diffuse="0.16 0.16 0.18"
            specular="0 0 0" castshadow="false"/>
          <camera name="{CAMERA}" fovy="40"/>
          <body name="alarm" pos="0 0 0.15">
            <geom name="alarm" type="sphere" size="0.28" rgba="0.95 0.15 0.1 0" contype="0"
              conaffinity="0"/>
          </body>
        """
    return f"""
    <mujoco>
      <compiler angle="radian"/>
      <option timestep="{robot.timestep_s}" integrator="{robot.integrator}" ccd_iterations="50"
        tolerance="1e-12">
        <flag nativeccd="disable" multiccd="disable" island="disable"/>
      </option>
      <visual>
        <headlight ambient="0.28 0.28 0.28" diffuse="0.16 0.16 0.16" specular="0 0 0"/>
        <quality shadowsize="4096" offsamples="4"/>
        <map znear="0.02" zfar="60" shadowclip="1.5"/>
      </visual>
      <statistic center="0 0 0.5" extent="{floor_m}"/>
      <default>{robot.defaults}</default>
      <asset>{assets}</asset>
      <worldbody>
        <geom name="floor" type="plane" size="{floor_m} {floor_m} 0.1" condim="6" {robot.floor}
          {look}/>
        <body name="agent" pos="0 0 {robot.height_m}">{robot.body}</body>
        {"".join(free)}{"".join(pulled)}{"".join(mocaps)}{"".join(fixed)}{marks}{light}
      </worldbody>
      <sensor>
        <accelerometer site="agent"/><velocimeter site="agent"/>
        <gyro site="agent"/><magnetometer site="agent"/>
        {robot.sensors}{"".join(angles)}{"".join(touched)}
      </sensor>
      <actuator>{robot.actuators}</actuator>
      <contact>{box_pairs(robot, groups)}</contact>
      <equality>{"".join(welds)}</equality>
    </mujoco>
    """


def _body(group: Group, name: str, body: str | None = None) -> str:
    """Return one thing; those that move freely get a joint."""
    joint = "<freejoint/>" if group.kind in ("free", "driven") else ""
    attributes = f'{group.shape} rgba="{group.colour}"'
    if group.density is not None:
        attributes += f' density="{group.density}"'
    if group.kind == "mark":
        attributes += ' contype="0" conaffinity="0"'
    return (
        f'<body name="{body or name}" pos="0 0 {group.height_m}">{joint}'
        f'<geom name="{name}" {attributes}/>{group.more}</body>'
    )
