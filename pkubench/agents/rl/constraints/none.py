"""No constraint: costs are ignored."""

from __future__ import annotations

from dataclasses import dataclass

from pkubench.agents.components import register
from pkubench.agents.rl.constraints.base import Constraint


@register("none")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoConstraint(Constraint):
    """Costs are ignored."""
