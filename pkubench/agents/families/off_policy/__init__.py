"""The composed off-policy learner: replay + rule {DDPG, TD3, SAC} + scheme."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pkubench.agents.training import Progress
from pkubench.errors import MissingExtra


def train(*args: Any, **kwargs: Any) -> Generator[Progress, None, None]:
    """Train a preset; torch is imported here, not before (see ``training.train``)."""
    _need_torch()
    from pkubench.agents.families.off_policy.training import train as run

    return run(*args, **kwargs)


def train_together(*args: Any, **kwargs: Any) -> Generator[list[Progress], None, None]:
    """Train several seeds in one process (see ``training.train_together``)."""
    _need_torch()
    from pkubench.agents.families.off_policy.training import train_together as run

    return run(*args, **kwargs)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
