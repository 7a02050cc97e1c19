"""PPO with a transformer over the agents of a team (MAT, Sable)."""

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
    from pkubench.agents.rl.team_transformer.sable_training import SableTraining
    from pkubench.agents.rl.team_transformer.training import TeamTraining

    return (TeamTraining if context.settings.memory == "none" else SableTraining)(context)
