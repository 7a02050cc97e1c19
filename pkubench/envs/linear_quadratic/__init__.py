"""Linear-quadratic teams: dynamics over many steps, with exact optima and sharing bounds."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/HeterogeneousCarriers{suffix}-v0",
        entry_point="pkubench.envs.linear_quadratic.carriers:HeterogeneousCarriers",
        horizon=50,
        traits=Traits(num_agents=3),
        kwargs={"observe_id": bool(suffix)},
    )
    for suffix in ("", "Id")
)
