"""Credit of whole episodes: what all methods that redistribute an episode's return share."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pkubench.agents.rl.credit.base import Credit, CreditContext, CreditModel
from pkubench.agents.rl.credit.episodes import FloatArray, time_limit_of
from pkubench.errors import PkubenchWarning

if TYPE_CHECKING:
    from pkubench.agents.rl.credit.episodes import Array, Episodes, Spans
    from pkubench.agents.rl.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeCredit(Credit):
    """Redistributes the return of each episode over its steps and agents.

    Only the return is read, whatever rewards the environment gave before the end.
    """

    alone: ClassVar[str] = "credit over time alone"
    """What the method reduces to with one agent."""

    times_agents: bool = True
    """Agents are trained on their shares times the number of agents: the scale of the team's
    reward, whatever the size of the team."""

    def needs(self, config: Any) -> str:
        """Require whole episodes."""
        if getattr(config, "rollout", "episodes") == "episodes":
            return ""
        return "the returns of whole episodes: set rollout=episodes"

    def check(self, context: CreditContext) -> None:
        """Check the environment, and say what the method reduces to with one agent.

        Raises:
            ConfigError: episodes have no time limit.
        """
        time_limit_of(context)
        if len(context.agents) == 1:
            warnings.warn(
                f"credit={self.name} with a single agent is {self.alone}",
                PkubenchWarning,
                stacklevel=3,
            )


class EpisodeModel(CreditModel):
    """Assigns shares to whole episodes, and the rewards that these shares are to a rollout."""

    def __init__(self, settings: EpisodeCredit, context: CreditContext) -> None:
        """Check the environment (see ``EpisodeCredit.check``)."""
        settings.check(context)
        self.settings = settings

    @property
    def is_causal(self) -> bool:
        """Whether the credit of a step is a function of the episode up to the step's outcome."""
        return self.settings.is_causal

    @abstractmethod
    def assign(self, episodes: Episodes) -> FloatArray:
        """Return each agent's share of the return at each step, (episodes, agents, time).

        Zeros stand behind the episodes' ends.
        """

    def rewards(self, shares: Array, spans: Spans, rollout: Rollout) -> FloatArray:
        """Return shares (B, n, L) as the rewards of a rollout, float64 (T, N, agents)."""
        if self.settings.times_agents:
            shares = shares * shares.shape[1]
        found: FloatArray = spans.scatter(
            np.ascontiguousarray(shares.swapaxes(1, 2)), rollout.rewards.shape
        )
        return found
