"""Reward models and cost models of a language: artefacts that other trainings start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.agents.requirements import writes_language

if TYPE_CHECKING:
    from pkubench.agents.rl.language.config import LanguageConfig
    from pkubench.tasks.task import Task

_PAPER = "Safe RLHF (ICLR 2024)"
FAMILY = AgentFamily(
    name="score-model",
    summary="reward and cost models, learned from pairs of responses",
    unit="iterations",
    configure=f"{__name__}:configure",
    learner="pkubench.agents.rl.language:make_learner",
    fits=writes_language,
    inputs=(
        Input(
            name="reference",
            summary="run folder of a language model: its trunk, and who writes half of the pairs",
        ),
        Input(
            name="model",
            summary="folder of a causal language model of the transformers library, in its place",
        ),
    ),
)
PRESETS = tuple(
    Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=_PAPER,
        suites=("alignment",),
        place=92,
    )
    for name, summary in (
        ("reward-model", "rewards of responses, from pairs and which is more helpful"),
        ("cost-model", "costs of responses, from pairs, which is safer and which are unsafe"),
    )
)


def configure(agent: str, task: Task | None) -> LanguageConfig:
    """Return the settings of a score model, the same in every language."""
    from pkubench.agents.rl.language.config import LanguageConfig
    from pkubench.agents.rl.language.methods.supervised import CostModel, RewardModel

    method = RewardModel() if agent == "reward-model" else CostModel()
    return LanguageConfig(method=method, iterations=400, weight_decay=0.1)
