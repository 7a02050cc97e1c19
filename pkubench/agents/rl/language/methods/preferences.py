"""Preference tuning without a reward model: DPO (2305.18290) and KTO (2402.01306)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import register
from pkubench.agents.rl.language.methods.base import PairMethod
from pkubench.agents.settings import check_domains

if TYPE_CHECKING:
    from pkubench.agents.rl.language.learners.base import MethodLearner, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceMethod(PairMethod):
    """Learns from pairs of responses, starting from the model that it is referenced to.

    With labels drawn by Bradley-Terry from a score s DPO's optimum is pi_ref exp(s / beta) / Z.
    """

    beta: float = 0.1
    """Weight of the divergence from the reference."""
    labels: Literal["helpful", "safe"] = "helpful"
    """Which preference counts: the better response, or the safer one."""

    def __post_init__(self) -> None:
        """Check the domains."""
        PairMethod.__post_init__(self)
        check_domains(self, positive=("beta",))


@register("dpo")
@dataclass(frozen=True, slots=True, kw_only=True)
class DPO(PreferenceMethod):
    """``-log sigma(beta (k(y_w) - k(y_l)))``."""

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.language.learners.preferences import PreferenceLearner

        return PreferenceLearner(self, setup)


@register("kto")
@dataclass(frozen=True, slots=True, kw_only=True)
class KTO(PreferenceMethod):
    """Desirable and undesirable responses apart, each against the batch's divergence."""

    def start(self, setup: Setup) -> MethodLearner:
        """Return the network and its update."""
        from pkubench.agents.rl.language.learners.preferences import PreferenceLearner

        return PreferenceLearner(self, setup)
