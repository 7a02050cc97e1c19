"""Settings of learners from data: what all methods share, and the method."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import check_needs
from pkubench.agents.nn.precision import Precision
from pkubench.agents.rl.offline.methods.base import Method
from pkubench.agents.settings import check_domains


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConfig:
    """Settings of a training on a data set."""

    method: Method
    """What is learned, with its own settings."""
    batch_size: int = 64
    """Samples of an update: windows of steps, or single transitions."""
    updates: int = 100
    """Gradient steps between two lines of the curve."""
    threads: int = 1
    """Of torch."""
    precision: Precision = "float32"
    """``bfloat16``: products of matrices in that type, where the processor has it."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("batch_size", "updates", "threads"))
        check_needs(self)
