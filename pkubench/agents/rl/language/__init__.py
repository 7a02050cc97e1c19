"""Training of language models on scored responses: models, losses, methods and their learners."""

from __future__ import annotations

from pkubench.agents.learner import Context, Learner
from pkubench.errors import MissingExtra


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed; or transformers, where a model of its is named.
        ConfigError: the settings or inputs do not fit the task.
        WeightsError: an input is not a saved model of this language.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.rl.language.training import LanguageTraining

    return LanguageTraining(context)
