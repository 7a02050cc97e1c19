"""Environments with a reward and a cost: constrained (safe) reinforcement learning."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

_TRAITS = Traits(has_cost=True)
_VELOCITY = ("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Humanoid")
_NAVIGATORS = ("Point", "Car", "Doggo", "Ant")
_NAVIGATION = (
    ("Goal", "goal:Goal", 1000, (0, 1, 2)),
    ("Button", "button:Button", 1000, (0, 1, 2)),
    ("Push", "push:Push", 1000, (0, 1, 2)),
    ("Circle", "circle:Circle", 500, (0, 1, 2)),
    ("Run", "circle:Run", 500, (0,)),
)
"""Task, module and class, time limit, levels."""

ENVS = (
    *(
        EnvSpec(
            id=f"pkubench/{name}Velocity-v0",
            entry_point=f"pkubench.envs.safety.velocity:{name}Velocity",
            horizon=1000,
            traits=_TRAITS,
            extra="mujoco",
            engines=("mujoco",),
        )
        for name in _VELOCITY
    ),
    *(
        EnvSpec(
            id=f"pkubench/{robot}{task}{level}-v0",
            entry_point=f"pkubench.envs.safety.{entry_point}",
            horizon=horizon,
            traits=_TRAITS,
            extra="mujoco",
            engines=("mujoco",),
            kwargs={"robot": robot, "level": level},
        )
        for task, entry_point, horizon, levels in _NAVIGATION
        for robot in _NAVIGATORS
        for level in levels
    ),
)
