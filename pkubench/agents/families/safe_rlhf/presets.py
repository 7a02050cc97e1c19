"""Settings of the pipelines.

Constants of Safe RLHF, SACPO and RePO are those of their official scripts where the toy language
does not ask for others: learning rates of 1e-3 for a model of 100,000 parameters (2e-5 and less for
7 billion), beta = 0.1, and a window of 512 episode costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.settings import check_domains
from pkubench.errors import UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """Settings of a pipeline."""

    scores: Literal["true", "learned"] = "true"
    """Who labels pairs and scores responses: the language itself, or a reward model and a cost
    model that are trained first."""
    beta: float = 0.1
    """Weight of the divergence from the reference."""
    batch_size: int = 256
    """Responses, or pairs, of an update of the policy."""
    sft_iterations: int = 200
    """Of the reference."""
    model_iterations: int = 400
    """Of each score model."""
    iterations: int = 200
    """Of the policy, unless a budget is given."""
    held_out: tuple[int, ...] = ()
    """Numbers of prompts that no stage trains on."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("batch_size", "sft_iterations", "model_iterations", "iterations"),
            positive=("beta",),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOPipeline(PipelineConfig):
    """PPO on tokens."""

    method: Literal["ppo", "ppo-shaping", "ppo-lag", "repo"] = "ppo-lag"
    """How costs count."""
    batch_size: int = 512
    """Responses of an update of the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingPipeline(PPOPipeline):
    """PPO on R - kappa C."""

    kappa: float = 0.5
    """Weight of costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePipeline(PipelineConfig):
    """DPO or KTO on helpfulness."""

    loss: Literal["dpo", "kto"] = "dpo"
    """Of both stages, if there are two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SACPOPipeline(PreferencePipeline):
    """Two stages: helpfulness with beta, then safety with beta / lambda, from the first's model.

    The optimum is pi_ref exp((R - lambda C) / beta) / Z. lambda is chosen: nothing holds a limit.
    """

    multiplier: float = 0.345
    """lambda. The default is an oracle's: that of the toy language's optimum at the temperature
    0.1, solved from its true rewards and costs."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PreferencePipeline.__post_init__(self)
        check_domains(self, positive=("multiplier",))


PRESETS: dict[str, PipelineConfig] = {
    "safe-rlhf": PPOPipeline(),
    "rlhf": PPOPipeline(method="ppo"),
    "ppo-shaping": ShapingPipeline(method="ppo-shaping"),
    "repo": PPOPipeline(method="repo"),
    "dpo": PreferencePipeline(iterations=400),
    "sacpo": SACPOPipeline(iterations=400),
}


def preset(agent: str, task: Task | None) -> PipelineConfig:
    """Return the settings of a pipeline, the same in every language.

    Raises:
        UnknownName: no such pipeline.
    """
    if agent not in PRESETS:
        raise UnknownName("alignment pipeline", agent, PRESETS)
    return PRESETS[agent]
