"""The settings of each moderator, and its learner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pkubench.agents.components import check_needs
from pkubench.agents.families.moderation.models.base import TextModel
from pkubench.agents.families.moderation.models.embedding import EmbeddingModel
from pkubench.agents.families.moderation.models.tfidf import TfidfModel
from pkubench.agents.families.moderation.models.transformer import TransformerModel
from pkubench.agents.learner import Context, Learner
from pkubench.agents.settings import check_domains
from pkubench.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

Reads = Literal["pair", "prompt", "response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationConfig:
    """Settings of a moderator's training."""

    model: TextModel
    """What maps texts to scores, with its own settings."""
    reads: Reads = "pair"
    """Which texts it sees; ``prompt`` and ``response`` are controls."""
    gradient_steps: int = 1500
    """Of the whole training, unless the command says otherwise."""
    batch_size: int = 64
    lr: float = 1e-3
    """Of Adam."""
    weight_decay: float = 0.0
    """Decoupled, of everything but biases and norms."""
    warmup_steps: int = 100
    """Over which the learning rate rises; it then falls to 0 along a cosine."""
    updates: int = 50
    """Gradient steps between two lines of the curve."""
    threads: int = 1
    """Of torch."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=("gradient_steps", "batch_size", "updates", "threads"),
            positive=("lr",),
            not_negative=("weight_decay", "warmup_steps"),
        )
        check_needs(self)


_TFIDF = ModerationConfig(model=TfidfModel(), lr=0.1, gradient_steps=1000)
_TRANSFORMER = ModerationConfig(
    model=TransformerModel(), lr=0.002, weight_decay=0.01, gradient_steps=800
)
PRESETS = {
    "tfidf-moderator": _TFIDF,
    "tfidf-moderator-prompt": replace(_TFIDF, reads="prompt"),
    "transformer-moderator": _TRANSFORMER,
    "transformer-moderator-prompt": replace(_TRANSFORMER, reads="prompt"),
    "embedding-moderator": ModerationConfig(model=EmbeddingModel(), lr=0.01, gradient_steps=1000),
}


def preset(agent: str, task: Task | None) -> ModerationConfig:
    """Return the settings of ``agent``, the same on every task.

    Raises:
        UnknownName: no such preset.
    """
    if agent not in PRESETS:
        raise UnknownName("preset of a moderator", agent, PRESETS)
    return PRESETS[agent]


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the model needs an input that is not given.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.families.moderation.training import ModerationTraining

    return ModerationTraining(context)
