"""Value-based learners of teams with discrete actions: VDN, QMIX, HAD3QN."""

from __future__ import annotations

from pkubench.agents.learner import Context, Learner
from pkubench.errors import MissingExtra


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the settings do not fit the task.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.rl.value_based.dueling_config import DuelingConfig
    from pkubench.agents.rl.value_based.dueling_training import DuelingTraining
    from pkubench.agents.rl.value_based.training import DecompositionTraining

    is_dueling = isinstance(context.settings, DuelingConfig)
    return (DuelingTraining if is_dueling else DecompositionTraining)(context)
