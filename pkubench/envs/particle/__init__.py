"""Particle environments: discs move, collide and talk in a plane, equal to mpe2 step by step."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/{name}{suffix}-v0",
        entry_point=f"pkubench.envs.particle.{entry_point}",
        horizon=25,
        traits=Traits(num_agents=agents, are_agents_alike=are_alike, action=action),
        kwargs={"continuous_actions": bool(suffix)},
    )
    for name, entry_point, agents, are_alike in (
        ("SimpleSpread", "spread:SimpleSpread", 3, True),
        ("SimpleReference", "reference:SimpleReference", 2, True),
        ("SimpleSpeakerListener", "speaker_listener:SimpleSpeakerListener", 2, False),
    )
    for suffix, action in (("", "discrete"), ("Continuous", "box"))
)
