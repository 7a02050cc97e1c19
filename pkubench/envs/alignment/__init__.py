"""Which values an agent acts on: the SVO slider and social dilemmas, on arrays and in words."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.alignment.{module}:{name}",
        horizon=None,
        traits=Traits(num_agents=agents, action="discrete"),
    )
    for name, module, agents in (
        ("SVOSlider", "svo_slider", 1),
        ("PrisonersDilemma", "matrix_dilemmas", 2),
        ("StagHunt", "matrix_dilemmas", 2),
        ("Chicken", "matrix_dilemmas", 2),
        ("PublicGoods", "giving", 4),
        ("Dictator", "giving", 1),
    )
)
