"""The off-policy learner: replay, rule (DDPG, TD3, SAC), constraint, scheme; several seeds."""

from __future__ import annotations

from collections.abc import Sequence

from pkubench.agents.learner import BatchLearner, Context, Learner
from pkubench.errors import MissingExtra


def make_learner(context: Context) -> Learner:
    """Make one training run; torch is imported here, not before.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the settings do not fit the task.
    """
    return make_batch([context]).members[0]


def make_batch(contexts: Sequence[Context]) -> BatchLearner:
    """Make training runs that differ in their seeds, with their networks in one stack.

    Each has its own environments, replay, noise and initial weights, and its result equals that of
    a separate run.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: the settings do not fit the task.
    """
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.rl.off_policy.training import OffPolicyBatch

    return OffPolicyBatch(contexts)
