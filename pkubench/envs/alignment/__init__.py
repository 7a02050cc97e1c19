"""Values in choices, and harm in answers: SVO slider, social dilemmas, moderation of answers."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

_CHOICES = tuple(
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
ENVS = (
    *_CHOICES,
    EnvSpec(
        id="pkubench/QAModeration-v0",
        entry_point="pkubench.envs.alignment.qa_moderation:QAModeration",
        horizon=None,
        traits=Traits(has_labelled_texts=True),
    ),
)
