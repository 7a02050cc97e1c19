"""Language models that write responses: imitation, preference tuning, and PPO on tokens.

These are the stages of the pipelines in ``safe_rlhf``, each an agent of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.agents.requirements import writes_language

if TYPE_CHECKING:
    from pkubench.agents.rl.language.config import LanguageConfig
    from pkubench.tasks.task import Task

REFERENCE = Input(
    name="reference",
    summary="run folder of the language model that training starts from and is referenced to",
)
MODEL = Input(
    name="model",
    summary="folder of a causal language model of the transformers library, in its place",
)
FAMILY = AgentFamily(
    name="language-model",
    summary="language models: imitation, preference tuning, and PPO on tokens",
    kind="language-model",
    unit="iterations",
    configure=f"{__name__}:configure",
    learner="pkubench.agents.rl.language:make_learner",
    load=f"{__name__}.loading:load",
    acting={"mode": ("sampled", "mode")},
    fits=writes_language,
    inputs=(
        REFERENCE,
        MODEL,
        Input(name="reward", summary="run folder of a reward model; without it: true rewards"),
        Input(name="cost", summary="run folder of a cost model; without it: true costs"),
    ),
)

SUMMARIES = {
    "sft": "a language model that imitates demonstrations: the reference of the others",
    "preference-tuning": "one stage of preference tuning (DPO or KTO)",
    "token-ppo": "one stage of PPO on tokens: alone, shaped, PPO-Lag or RePO",
}
PRESETS = tuple(
    Preset(name=name, family=FAMILY.name, summary=summary, suites=("alignment",), place=91)
    for name, summary in SUMMARIES.items()
)


def configure(agent: str, task: Task | None) -> LanguageConfig:
    """Return the settings of a stage, the same in every language."""
    from pkubench.agents.rl.language.config import LanguageConfig
    from pkubench.agents.rl.language.methods.preferences import DPO
    from pkubench.agents.rl.language.methods.supervised import Imitation
    from pkubench.agents.rl.language.methods.token_ppo import LagrangianPPO

    return {
        "sft": LanguageConfig(method=Imitation(), iterations=200, batch_size=512),
        "preference-tuning": LanguageConfig(method=DPO(), iterations=400),
        "token-ppo": LanguageConfig(
            method=LagrangianPPO(), iterations=200, batch_size=512, weight_decay=0.01
        ),
    }[agent]
