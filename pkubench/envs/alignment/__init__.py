"""Values in choices, harm in answers, help without harm: what alignment is measured by."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

_CHOICES = tuple(
    EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.alignment.{module}:{name}",
        horizon=None,
        traits=traits,
    )
    for name, module, traits in (
        ("SVOSlider", "svo_slider", Traits(action="discrete")),
        ("PrisonersDilemma", "matrix_dilemmas", Traits(num_agents=2, action="discrete")),
        ("StagHunt", "matrix_dilemmas", Traits(num_agents=2, action="discrete")),
        ("Chicken", "matrix_dilemmas", Traits(num_agents=2, action="discrete")),
        ("PublicGoods", "giving", Traits(num_agents=4, action="discrete")),
        ("Dictator", "giving", Traits(action="discrete")),
        ("SafeBandit", "safe_bandit", Traits(action="discrete", has_cost=True)),
        ("SafePreference", "safe_preference", Traits(action="multidiscrete")),
        ("ToyLanguage", "writing", Traits(action="discrete", has_cost=True, has_language=True)),
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
