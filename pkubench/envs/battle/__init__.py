"""Micro-battles: teams of unlike units, whose agents can die, against a scripted team."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/MicroBattle{name}-v0",
        entry_point="pkubench.envs.battle.micro_battle:MicroBattle",
        horizon=100,
        traits=Traits(num_agents=agents, action="discrete", has_action_masks=True, has_deaths=True),
        kwargs={"scenario": name.lower()},
    )
    for name, agents in (
        ("3m", 3),
        ("2s3z", 5),
        ("3s5z", 8),
        ("5m_vs_6m", 5),
        ("6h_vs_8z", 6),
        ("3s5z_vs_3s6z", 8),
        ("Random5", 5),
        ("Random10", 10),
    )
)
