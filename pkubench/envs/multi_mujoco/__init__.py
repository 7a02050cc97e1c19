"""Multi-Agent MuJoCo: one robot, several agents that move a part of it each.

HalfCheetah and Ant are -v1: their velocity at the start is a normal number, which -v0 took from
NumPy's ``log1p``, which differs between processors in the last bit; nothing else changed.
"""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits


def _spec(
    robot: str,
    factorization: str,
    agents: int,
    version: int,
    *,
    are_alike: bool = True,
    has_limit: bool = False,
) -> EnvSpec:
    suffix = "Velocity" if has_limit else ""
    stem = f"pkubench/Multi{robot}{factorization}{suffix}"
    return EnvSpec(
        id=f"{stem}-v{version}",
        entry_point=(
            f"pkubench.envs.multi_mujoco.{'velocity' if has_limit else 'robots'}"
            f":Multi{robot}{suffix}"
        ),
        horizon=1000,
        traits=Traits(num_agents=agents, are_agents_alike=are_alike, has_cost=has_limit),
        extra="mujoco",
        engines=("mujoco",),
        kwargs={"factorization": factorization},
        supersedes=f"{stem}-v{version - 1}" if version else None,
    )


ENVS = (
    _spec("HalfCheetah", "2x3", 2, version=1),
    _spec("HalfCheetah", "6x1", 6, version=1),
    _spec("Hopper", "3x1", 3, version=0),
    _spec("Walker2d", "2x3", 2, version=0),
    _spec("Walker2d", "6x1", 6, version=0),
    _spec("Swimmer", "2x1", 2, version=0),
    _spec("Ant", "4x2", 4, version=1),
    _spec("Ant", "2x4", 2, version=1),
    _spec("Ant", "2x4d", 2, version=1),
    _spec("Humanoid", "9p8", 2, version=0, are_alike=False),
    _spec("Humanoid", "17x1", 17, version=0),
    _spec("HalfCheetah", "2x3", 2, version=1, has_limit=True),
    _spec("Ant", "4x2", 4, version=1, has_limit=True),
)
