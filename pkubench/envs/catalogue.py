"""Every world of the suite, in one table."""

from __future__ import annotations

from typing import Any

from pkubench.envs.core.registry import (
    FAMILIES,
    NAMESPACE,
    WorldFamily,
    WorldSpec,
    register_world,
)

_PARTICLE_HORIZON = 25
_ROBOT_HORIZON = 1000

_PARTICLE = {
    "SimpleSpread": "pkubench.envs.particle.spread:SimpleSpread",
    "SimpleReference": "pkubench.envs.particle.reference:SimpleReference",
    "SimpleSpeakerListener": "pkubench.envs.particle.speaker_listener:SimpleSpeakerListener",
}
_VELOCITY = ("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Humanoid")
_NAVIGATORS = ("Point", "Car", "Doggo", "Ant")
_NAVIGATION = {
    "Goal": ("pkubench.envs.safety.goal:Goal", 1000, (0, 1, 2)),
    "Button": ("pkubench.envs.safety.button:Button", 1000, (0, 1, 2)),
    "Push": ("pkubench.envs.safety.push:Push", 1000, (0, 1, 2)),
    "Circle": ("pkubench.envs.safety.circle:Circle", 500, (0, 1, 2)),
    "Run": ("pkubench.envs.safety.circle:Run", 500, (0,)),
}
"""Task -> module and class, time limit, levels."""
_MULTI_ROBOTS = {
    "HalfCheetah": ("2x3", "6x1"),
    "Hopper": ("3x1",),
    "Walker2d": ("2x3", "6x1"),
    "Swimmer": ("2x1",),
    "Ant": ("4x2", "2x4", "2x4d"),
    "Humanoid": ("9p8", "17x1"),
}
_NORMAL_STARTS = ("HalfCheetah", "Ant")
"""Robots whose velocity at the start is a normal number. Their -v0 took it from NumPy's ``log1p``,
which differs between processors in the last bit; everything else about -v1 is the same."""
_LIMITED_MULTI_ROBOTS = {"HalfCheetah": "2x3", "Ant": "4x2"}
"""Those that there are under a speed limit too."""
_POKER = {
    "KuhnPoker": "pkubench.envs.games.poker:KuhnPoker",
    "LeducPoker": "pkubench.envs.games.poker:LeducPoker",
}
_LIARS_DICE_SIDES = (4, 5, 6)
_GOOFSPIEL_CARDS = (4, 5)
_GAMES_BY_NAME = {"openspiel": "games", "matrix": None, "payoff": None}
"""Prefix of games that are named and not listed -> the extra they need."""
_DIAGNOSTICS = {
    "Climbing": "pkubench.envs.diagnostics.matrix_games:Climbing",
    "Penalty": "pkubench.envs.diagnostics.matrix_games:Penalty",
    "SharingGap": "pkubench.envs.diagnostics.sharing_gap:SharingGap",
    "SignGame": "pkubench.envs.diagnostics.sign_game:SignGame",
}
_CONSTRAINED_DIAGNOSTICS = {
    "RiskyCorridor": ("pkubench.envs.diagnostics.risky_corridor:RiskyCorridor", 50),
    "SpeedLimit": ("pkubench.envs.diagnostics.speed_limit:SpeedLimit", 20),
}
"""World -> module and class, time limit."""


def register_all() -> None:
    """Register every world; called once, on ``import pkubench``."""
    for name, entry_point in _PARTICLE.items():
        for suffix, continuous in (("", False), ("Continuous", True)):
            _register(
                f"{name}{suffix}-v0",
                entry_point,
                _PARTICLE_HORIZON,
                continuous_actions=continuous,
            )
    for name in _VELOCITY:
        _register(
            f"{name}Velocity-v0",
            f"pkubench.envs.safety.velocity:{name}Velocity",
            _ROBOT_HORIZON,
            extra="mujoco",
        )
    for task, (entry_point, horizon, levels) in _NAVIGATION.items():
        for robot in _NAVIGATORS:
            for level in levels:
                name = f"{robot}{task}{level}-v0"
                _register(name, entry_point, horizon, extra="mujoco", robot=robot, level=level)
    for name, factorizations in _MULTI_ROBOTS.items():
        for factorization in factorizations:
            _register(
                f"Multi{name}{factorization}-v{multi_version(name)}",
                f"pkubench.envs.multi_mujoco.robots:Multi{name}",
                _ROBOT_HORIZON,
                extra="mujoco",
                factorization=factorization,
            )
    for name, factorization in _LIMITED_MULTI_ROBOTS.items():
        _register(
            f"Multi{name}{factorization}Velocity-v{multi_version(name)}",
            f"pkubench.envs.multi_mujoco.velocity:Multi{name}Velocity",
            _ROBOT_HORIZON,
            extra="mujoco",
            factorization=factorization,
        )
    for name, entry_point in _POKER.items():
        _register(f"{name}-v0", entry_point, None, extra="games")
    for sides in _LIARS_DICE_SIDES:
        entry_point = "pkubench.envs.games.liars_dice:LiarsDice"
        _register(f"LiarsDice{sides}-v0", entry_point, None, extra="games", sides=sides)
    for cards in _GOOFSPIEL_CARDS:
        entry_point = "pkubench.envs.games.goofspiel:Goofspiel"
        _register(
            f"Goofspiel{cards}-v0",
            entry_point,
            None,
            extra="games",
            cards=cards,
            returns="win_loss",
        )
    for prefix, needs in _GAMES_BY_NAME.items():
        FAMILIES[prefix] = WorldFamily(
            prefix=prefix, entry_point="pkubench.envs.games.text_seat:AnyGame", extra=needs
        )
    for name, entry_point in _DIAGNOSTICS.items():
        _register(f"{name}-v0", entry_point, None)
    for name, (entry_point, horizon) in _CONSTRAINED_DIAGNOSTICS.items():
        _register(f"{name}-v0", entry_point, horizon)


def multi_version(robot: str) -> int:
    """Return the version of a team robot's environments."""
    return 1 if robot in _NORMAL_STARTS else 0


def _register(
    name: str, entry_point: str, horizon: int | None, extra: str | None = None, **kwargs: Any
) -> None:
    stem, _, version = name.rpartition("-v")
    register_world(
        WorldSpec(
            id=f"{NAMESPACE}/{name}",
            entry_point=entry_point,
            horizon=horizon,
            extra=extra,
            kwargs=kwargs,
            supersedes=f"{NAMESPACE}/{stem}-v{int(version) - 1}" if int(version) else None,
        )
    )
