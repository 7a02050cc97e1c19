"""The composed on-policy learner: rollout + GAE + update rule + constraint + scheme."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pkubench.agents.training import Progress
from pkubench.errors import MissingExtra


def train(*args: Any, **kwargs: Any) -> Generator[Progress, None, None]:
    """Train a preset; torch is imported here, not before (see ``training.train``)."""
    try:
        import torch  # noqa: F401 - looked for, so that the error names the extra
    except ModuleNotFoundError as error:
        raise MissingExtra("agents", "training") from error
    from pkubench.agents.families.on_policy.training import train as run

    return run(*args, **kwargs)
