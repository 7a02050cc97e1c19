"""The return at the end of the episode, undecomposed; alone, or with self-imitation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.rl.credit.base import CreditContext, CreditModel
from pkubench.agents.rl.credit.episodes import Episodes, FloatArray, Layout, episodes_of, spans_of
from pkubench.agents.rl.credit.formulas import FormulaModel
from pkubench.agents.rl.credit.learned import ReplayCredit
from pkubench.agents.rl.credit.replay import EpisodeReplay
from pkubench.agents.rl.credit.whole_episodes import EpisodeCredit
from pkubench.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pkubench.agents.learner import State
    from pkubench.agents.rl.rollout import Rollout


class UndecomposedModel(FormulaModel):
    """R at the last step."""

    def assign(self, episodes: Episodes) -> FloatArray:
        """Return shares (see ``EpisodeModel``)."""
        count, number, length = episodes.actions.shape[:3]
        shares = np.zeros((count, number, length))
        shares[np.arange(count), :, episodes.lengths - 1] = (episodes.returns / number)[:, None]
        return shares


@register("undecomposed")
@dataclass(frozen=True, slots=True, kw_only=True)
class UndecomposedCredit(EpisodeCredit):
    """The team's return at the last step, for every agent: what decomposition is compared with."""

    is_shared: ClassVar[bool] = True
    alone: ClassVar[str] = "its return at the last step"

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model (see ``Credit.start``)."""
        return UndecomposedModel(self, context)


class SelfImitationModel(UndecomposedModel):
    """Gives the learner batches of the replay to imitate."""

    def __init__(
        self, settings: SelfImitationCredit, context: CreditContext, generator: torch.Generator
    ) -> None:
        """Start without episodes."""
        super().__init__(settings, context)
        self.config, self.generator = settings, generator
        self.layout = Layout.of(context, keeps_states=context.has_state_critics)
        self.replay = EpisodeReplay(settings.buffer, self.layout)
        self.waiting = self.due = 0

    def update(self, rollout: Rollout) -> None:
        """Store the rollout's episodes.

        Raises:
            ConfigError: some actions are illegal.
        """
        if rollout.masks:
            raise ConfigError(
                f"credit={self.config.name} does not support action masks; use undecomposed"
            )
        fresh = episodes_of(rollout, spans_of(rollout), self.layout)
        self.replay.add(fresh)
        self.due, self.waiting = divmod(self.waiting + len(fresh), self.config.fit_every)

    def to_imitate(self) -> Iterator[Episodes]:
        """Yield the batches that are due."""
        settings = self.config
        for _ in range(self.due * settings.fit_steps):
            yield self.replay.sample(settings.fit_episodes, settings.success_share, self.generator)

    def metrics(self) -> dict[str, float]:
        """Return what the replay holds."""
        return {
            "credit_episodes": float(self.replay.total),
            "credit_successes": len(self.replay.successes) / max(len(self.replay), 1),
        }

    def state(self) -> State:
        """Return the replay and the counter."""
        return {"replay": self.replay.state(), "waiting": self.waiting}

    def restore(self, state: State) -> None:
        """Restore them."""
        self.replay.restore(state["replay"])
        self.waiting = int(state["waiting"])


@register("undecomposed-sil")
@dataclass(frozen=True, slots=True, kw_only=True)
class SelfImitationCredit(ReplayCredit):
    """The return at the last step, and self-imitation of replayed episodes (Oh et al. 2018).

    After each update policies ascend ``log pi(a|s) max(R - V(s), 0)`` on batches of the replay that
    learned credit models have, in as many steps as these take: the control that tells decomposition
    from replay. The critic is not trained on replayed returns.
    """

    is_shared: ClassVar[bool] = True
    alone: ClassVar[str] = "its return at the last step, with self-imitation"

    def needs(self, config: Any) -> str:
        """Require whole episodes, and policies without memory that take gradient steps."""
        if wanted := EpisodeCredit.needs(self, config):
            return wanted
        if not hasattr(config.update, "actor_lr"):
            return "policies trained by passes of Adam: set update=ppo-clip"
        return "policies without memory: set memory=none" if config.is_recurrent else ""

    def start(self, context: CreditContext, generator: torch.Generator) -> CreditModel:
        """Return the model (see ``Credit.start``)."""
        return SelfImitationModel(self, context, generator)
