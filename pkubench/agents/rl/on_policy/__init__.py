"""The on-policy learner: rollout, advantages, update rule, constraint, scheme."""

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
    from pkubench.agents.rl.on_policy.training import OnPolicyTraining

    return OnPolicyTraining(context)


def make_student(context: Context) -> Learner:
    """Make one training run of a student; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the settings or the teacher do not fit the task.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.rl.on_policy.distillation import StudentTraining

    return StudentTraining(context)
