"""The robots of the navigation environments, as MuJoCo models written in code.

The numbers are those of Safety-Gymnasium 1.0.0 (Ji et al., NeurIPS 2023; Point, Car and Doggo go
back to Safety Gym, Ray, Achiam & Amodei 2019). Colours are our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SHELL = "0.20 0.29 0.42 1"
ACCENT = "0.90 0.45 0.16 1"
LIMB = "0.55 0.62 0.70 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """One robot: its body, motors and sensors in MJCF, and how its sensors are observed.

    The body is named ``agent`` and so is the site the first sensors sit at.
    """

    timestep_s: float
    """Length of a physics step; a step of the environment has ten."""
    height_m: float
    """Height of the body's centre at the start."""
    defaults: str
    """Classes of MJCF's ``default`` section; they hold for the things around it too."""
    body: str
    """What lies within ``<body name="agent">``."""
    actuators: str
    sensors: str = ""
    """Sensors after accelerometer, velocimeter, gyro and magnetometer, in the order observed."""
    unseen: tuple[int, ...] = ()
    """Numbers among those of the sensors that are not observed."""
    hinges: tuple[str, ...] = ()
    """Joints observed as sine and cosine, after all sensors."""
    ball: str | None = None
    """Ball joint observed as a rotation matrix, last."""
    posture: tuple[tuple[str, float], ...] = ()
    """Joints that start away from 0: name and angle in rad."""
    posture_noise: float = 0.0
    """Half-width in rad of what is added to it at the start, one draw a joint."""
    min_height_m: float | None = None
    """Height of the body's centre at which it has fallen."""
    integrator: str = "Euler"
    floor: str = ""
    """Further attributes of the floor."""
    boxes: tuple[str, ...] = ()
    """Its geoms that are boxes (see ``scene.box_pairs``)."""
    is_free: bool = True
    """Whether it has a free joint; else it slides along the axes it starts with."""


POINT = Robot(
    timestep_s=0.002,
    height_m=0.1,
    is_free=False,
    boxes=("pointarrow",),
    defaults="""
      <geom condim="6" density="1"/>
      <joint damping="0.001"/>
      <motor ctrlrange="-1 1" ctrllimited="true" forcerange="-0.05 0.05" forcelimited="true"/>
      <velocity ctrlrange="-1 1" ctrllimited="true" forcerange="-0.05 0.05" forcelimited="true"/>
    """,
    body=f"""
      <joint name="x" type="slide" axis="1 0 0" damping="0.01"/>
      <joint name="y" type="slide" axis="0 1 0" damping="0.01"/>
      <joint name="z" type="hinge" axis="0 0 1" damping="0.005"/>
      <geom name="agent" type="sphere" size="0.1" friction="1 0.01 0.01" rgba="{SHELL}"/>
      <geom name="pointarrow" type="box" pos="0.1 0 0" size="0.05 0.05 0.05" rgba="{ACCENT}"/>
      <site name="agent"/>
    """,
    actuators="""
      <motor name="x" site="agent" gear="0.3 0 0 0 0 0"/>
      <velocity name="z" jointinparent="z" gear="0.3"/>
    """,
)

CAR = Robot(
    boxes=("agent", "back_bumper", "back_connector", "front_bumper", "front_connector"),
    timestep_s=0.004,
    height_m=0.1,
    defaults="""
      <geom condim="6" density="5" type="sphere" size="0.05"/>
      <joint damping="0.001"/>
      <motor ctrlrange="-1 1" ctrllimited="true" forcerange="-0.02 0.02" forcelimited="true"/>
    """,
    body=f"""
      <freejoint name="agent"/>
      <site name="agent"/>
      <geom name="agent" type="box" size="0.1 0.1 0.05" rgba="{SHELL}"/>
      <geom name="back_bumper" type="box" pos="0 0.15 0" size="0.1 0.01 0.05"
        rgba="{ACCENT}"/>
      <geom name="back_connector" type="box" pos="0 0.125 0" size="0.01 0.025 0.03"
        rgba="{ACCENT}"/>
      <geom name="front_bumper" type="box" pos="0 -0.165 0" size="0.05 0.01 0.05"
        rgba="{ACCENT}"/>
      <geom name="front_connector" type="box" pos="0 -0.13 0.04" size="0.05 0.03 0.01"
        rgba="{ACCENT}"/>
      <body name="left" pos="-0.1 0.1 -0.05">
        <joint name="left" type="hinge" axis="1 0 0"/>
        <geom type="cylinder" fromto="-0.055 0 0 -0.005 0 0" rgba="{LIMB}"/>
      </body>
      <body name="right" pos="0.1 0.1 -0.05">
        <joint name="right" type="hinge" axis="1 0 0"/>
        <geom type="cylinder" fromto="0.005 0 0 0.055 0 0" rgba="{LIMB}"/>
      </body>
      <body name="rear" pos="0 -0.1 -0.05">
        <joint name="rear" type="ball"/>
        <geom rgba="{LIMB}"/>
      </body>
    """,
    actuators="""
      <motor name="left" jointinparent="left" gear="1"/>
      <motor name="right" jointinparent="right" gear="1"/>
    """,
    sensors='<ballangvel joint="rear"/>',
    ball="rear",
)


def _doggo_leg(number: int, x: int, y: int) -> str:
    """Return a leg that starts on the ``x`` (1 front, -1 rear) and ``y`` (1 left) side."""
    hip = 'range="-1.308998 0.2618" springref="-0.174533"'
    if x < 0:
        hip = 'range="0 2.356196" springref="0"'
    return f"""
      <body name="leg_{number}">
        <geom fromto="{0.05 * x} 0 0 {0.1 * x} {0.05 * y} 0" density="20" rgba="{SHELL}"/>
        <body name="aux_{number}" pos="{0.1 * x} {0.05 * y} 0">
          <joint name="hip_{number}_z" type="hinge" axis="0 0 {y}" range="-0.174533 0.523599"
            springref="0"/>
          <joint name="hip_{number}_y" type="hinge" axis="0 1 0" {hip}/>
          <geom fromto="0 0 0 0.049 {0.0283 * y} -0.025" density="20" rgba="{ACCENT}"/>
          <body name="shin_{number}" pos="0.049 {0.0283 * y} -0.025">
            <joint name="ankle_{number}" type="hinge" axis="{-0.5 * y} 0.866 0"
              range="-1.308998 0" springref="-0.349066"/>
            <geom fromto="0 0 0 -0.0588 {-0.0339 * y} -0.05" density="20" rgba="{LIMB}"/>
            <site name="ankle_{number}a"/>
            <site name="ankle_{number}b" pos="-0.0588 {-0.0339 * y} -0.05"/>
          </body>
        </body>
      </body>
    """


_DOGGO_HINGES = tuple(
    name.format(number) for name in ("hip_{}_z", "hip_{}_y", "ankle_{}") for number in (1, 2, 3, 4)
)
DOGGO = Robot(
    timestep_s=0.01,
    height_m=0.22,
    defaults="""
      <geom condim="6" type="capsule" size="0.016" density="5"/>
      <joint limited="true" stiffness="0.0001" armature="0.00005"/>
      <motor ctrllimited="true" ctrlrange="-1 1" gear="0.00625"/>
      <site type="sphere" size="0.018" rgba="0 0 0 0"/>
    """,
    body=f"""
      <freejoint name="agent"/>
      <site name="agent"/>
      <geom name="agent" type="cylinder" fromto="0 0 0 0.1 0 0" size="0.0375" density="2"
        rgba="{SHELL}"/>
      {_doggo_leg(1, 1, 1)}{_doggo_leg(4, 1, -1)}
      <body name="rear">
        <joint name="waist_x" type="hinge" axis="1 0 0" range="-0.523599 0.523599" springref="0"/>
        <geom type="cylinder" fromto="-0.1 0 0 0 0 0" size="0.0375" density="2" rgba="{SHELL}"/>
        {_doggo_leg(2, -1, 1)}{_doggo_leg(3, -1, -1)}
      </body>
    """,
    actuators="".join(f'<motor name="{name}" joint="{name}"/>' for name in _DOGGO_HINGES),
    sensors="".join(
        f'<touch site="ankle_{number}{end}"/>' for end in "ab" for number in (1, 2, 3, 4)
    )
    + "".join(f'<jointvel joint="{name}"/>' for name in _DOGGO_HINGES),
    hinges=_DOGGO_HINGES,
)


def _ant_leg(number: int, x: int, y: int) -> str:
    """Return a leg that points to the ``x`` (1 front) and ``y`` (1 left) side."""
    reach = f"{0.05 * x} {0.05 * y} 0"
    axis, angles = f"{-x * y} 1 0", "0.52 1.74" if x > 0 else "-1.74 -0.52"
    return f"""
      <body name="leg_{number}">
        <geom type="capsule" size="0.02" fromto="0 0 0 {reach}" rgba="{SHELL}"/>
        <body name="aux_{number}" pos="{reach}">
          <joint name="hip_{number}" type="hinge" axis="0 0 1" range="-0.70 0.70"/>
          <geom type="capsule" size="0.02" fromto="0 0 0 {reach}" rgba="{ACCENT}"/>
          <body name="foot_{number}" pos="{reach}">
            <joint name="ankle_{number}" type="hinge" axis="{axis}" range="{angles}"/>
            <geom type="capsule" size="0.02" fromto="0 0 0 {0.1 * x} {0.1 * y} 0" rgba="{LIMB}"/>
          </body>
        </body>
      </body>
    """


_ANT_HINGES = tuple(f"{name}_{number}" for number in (1, 2, 3, 4) for name in ("hip", "ankle"))
ANT = Robot(
    timestep_s=0.01,
    integrator="RK4",
    height_m=0.18,
    floor='conaffinity="3"',
    defaults="""
      <geom condim="6" density="5"/>
      <joint armature="1" damping="1" limited="true"/>
    """,
    body=f"""
      <freejoint name="agent"/>
      <site name="agent" pos="0 0 -0.02"/>
      <geom name="agent" type="sphere" size="0.0625" rgba="{SHELL}"/>
      {_ant_leg(1, 1, 1)}{_ant_leg(2, -1, 1)}{_ant_leg(3, -1, -1)}{_ant_leg(4, 1, -1)}
    """,
    actuators="".join(
        f'<motor name="{name}" joint="{name}" gear="150" ctrllimited="true" ctrlrange="-1 1"/>'
        for name in _ANT_HINGES
    ),
    sensors="".join(f'<jointvel joint="{name}"/>' for name in _ANT_HINGES)
    + '<framepos objtype="site" objname="agent"/><frameangvel objtype="site" objname="agent"/>',
    unseen=(20, 21),
    hinges=_ANT_HINGES,
    posture=tuple(
        (name, (0.0, math.pi / 2)[place % 2] * (-1 if place in (3, 5) else 1))
        for place, name in enumerate(_ANT_HINGES)
    ),
    posture_noise=0.1,
    min_height_m=0.08,
)

ROBOTS = {"Point": POINT, "Car": CAR, "Doggo": DOGGO, "Ant": ANT}
