"""The robots of the navigation worlds, as MuJoCo models written in code.

The numbers are those of Safety-Gymnasium 1.0.0 (Ji et al., NeurIPS 2023; Point, Car and Doggo go
back to Safety Gym, Ray, Achiam & Amodei 2019). Colours are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

SHELL = "0.20 0.29 0.42 1"
ACCENT = "0.90 0.45 0.16 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """One robot: its body, motors and sensors in MJCF, and how its sensors are observed.

    The body is named ``agent`` and so is the site the first sensors sit at.
    """

    timestep_s: float
    """Length of a physics step; a step of the world has ten."""
    height_m: float
    """Height of the body's centre at the start."""
    defaults: str
    """Classes of MJCF's ``default`` section; they hold for the things around it too."""
    body: str
    """What lies within ``<body name="agent">``."""
    actuators: str
    sensors: str = ""
    """Sensors after accelerometer, velocimeter, gyro and magnetometer, in the order observed."""
    hinges: tuple[str, ...] = ()
    """Joints observed as sine and cosine, after all sensors."""
    ball: str | None = None
    """Ball joint observed as a rotation matrix, last."""
    integrator: str = "Euler"
    floor: str = ""
    """Further attributes of the floor."""
    is_free: bool = True
    """Whether it has a free joint; else it slides along the axes it starts with."""


POINT = Robot(
    timestep_s=0.002,
    height_m=0.1,
    is_free=False,
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

ROBOTS = {"Point": POINT}
