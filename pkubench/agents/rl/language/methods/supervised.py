"""Supervised methods: imitation of responses, reward models and cost models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkubench.agents.components import register
from pkubench.agents.rl.language.methods.base import LanguageMethod, PairMethod
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.rl.language.learners.base import MethodLearner, Setup


@register("imitation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Imitation(LanguageMethod):
    """Cross-entropy of demonstrated responses, drawn from softmax(sharpness R) for each prompt."""

    sharpness: float = 1.2
    """How much better than uniform demonstrations are; 0 is uniform."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, not_negative=("sharpness",))

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.language.learners.supervised import ImitationLearner

        return ImitationLearner(self, setup)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMethod(PairMethod):
    """What reward models and cost models have in common."""

    regularisation: float = 0.001
    """mu: weight of the mean of squared scores."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PairMethod.__post_init__(self)
        check_domains(self, not_negative=("regularisation",))


@register("reward-model")
@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModel(ScoreMethod):
    """Bradley-Terry on pairs whose labels are drawn: P(y better than y') = sigma(R(y) - R(y'))."""

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.language.learners.supervised import RewardLearner

        return RewardLearner(self, setup)


@register("cost-model")
@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel(ScoreMethod):
    """Bradley-Terry on costs, and the sign of each cost: positive where a response is unsafe.

    Labels of safety are exact. Where both responses are safe, or both unsafe, the safer one is
    drawn with sigma(C(y') - C(y)); otherwise it is the safe one, as the data sets' checks demand.
    """

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.language.learners.supervised import CostLearner

        return CostLearner(self, setup)
