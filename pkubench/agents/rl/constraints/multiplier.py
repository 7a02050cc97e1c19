"""Constraints with a multiplier lambda: the actor ascends (A_R - lambda A_C) / (1 + lambda).

What a unit of lambda is worth depends on the scale of the advantages. In OmniSafe A_R is divided by
its deviation in each batch, and A_C is only centred. As a policy converges that deviation goes to
0, so a fixed lambda prices a unit of cost at less and less reward: on RiskyCorridor at 0.02 to 0.04
where the linear program's multiplier is 0.06, and the limit is never reached. With
``lambda_unit=reward`` lambda is the Lagrange multiplier itself, reward per unit of cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, Weights
from pkubench.agents.rl.constraints.scale import AdvantageScale
from pkubench.errors import ConfigError

LambdaUnit = Literal["reward", "deviation"]


@dataclass(frozen=True, kw_only=True)
class PricedCost(LimitedCost):
    """Base of the constraints whose multiplier may be in the reward's own unit."""

    lambda_unit: LambdaUnit = "reward"
    """Unit of the multiplier. ``reward``: reward per unit of cost; ``A_R - lambda A_C`` is
    standardised as a whole, costs are measured in units of the limit, and the rates of the
    multiplier in the ratio of the running deviations of A_R and A_C, so that they are the same in
    all units. ``deviation``: OmniSafe's form; A_R is standardised alone, so that lambda is in
    deviations of A_R in the present batch."""

    cost_limits: tuple[str, ...] = ()
    """Limits per source of cost, such as ``["cost_hazards:10", "cost_vases:5"]``: entries of the
    environment's info, each with its own critic and multiplier, instead of ``cost_limit`` on
    ``info["cost"]``."""

    def __post_init__(self) -> None:
        """Check the domains and the limits per source."""
        super().__post_init__()
        limits_of(self.cost_limits)
        if self.cost_limits and self.lambda_unit != "reward":
            raise ConfigError("cost_limits need lambda_unit=reward, one unit for all multipliers")

    @property
    def mixes_raw_advantages(self) -> bool:
        """Whether the multiplier is in the reward's unit."""
        return self.lambda_unit == "reward"

    def price(self, scale: AdvantageScale, cost_at_limit: float) -> float | None:
        """Return reward per unit of cost; None for a multiplier in deviations."""
        return scale.price(cost_at_limit) if self.lambda_unit == "reward" else None

    @property
    def cost_keys(self) -> tuple[str, ...]:
        """Keys of the info with a limit of their own."""
        return tuple(limits_of(self.cost_limits))

    def needs(self, config: Any) -> str:
        """Require that costs are not standardised together where they have limits of their own."""
        is_normed = getattr(config, "signal_norm", False)
        return "signal_norm=false (with cost_limits)" if self.cost_limits and is_normed else ""

    def unused(self, config: Any) -> Mapping[str, str]:
        """Return ``cost_limit`` where sources have limits of their own."""
        return {"cost_limit": "no cost_limits"} if self.cost_limits else {}

    def excess(self, state: Any) -> float:
        """Return the excess per step; 0.0 with several limits, of which no loss uses any."""
        return 0.0 if self.cost_limits else super().excess(state)

    def start(self) -> Any:
        """Return the multiplier at its initial value; with ``cost_limits`` one for each source."""
        if not self.cost_limits:
            return super().start()
        return SeveralMultipliers(
            {
                key: replace(self, cost_limit=limit, cost_limits=()).start()
                for key, limit in limits_of(self.cost_limits).items()
            }
        )


def limits_of(texts: Sequence[str]) -> dict[str, float]:
    """Return the limits in texts ``KEY:LIMIT``.

    Raises:
        ConfigError: one is not of this form, is negative, or names a key twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        key, _, number = str(text).rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not key or not 0.0 <= limit < math.inf or key in found:
            raise ConfigError(
                f"cost_limits entry {text!r} must be KEY:LIMIT, with a limit of at least 0, and a "
                'key once: for example ["cost_hazards:10", "cost_vases:5"]'
            )
        found[key] = limit
    return found


@dataclass(slots=True)
class MultiplierConstraint(CostConstraint):
    """A multiplier; subclasses adapt it to the measured cost."""

    value: float
    """lambda, at least 0."""

    def weights(self) -> Weights:
        """Return 1/(1 + lambda) and -lambda/(1 + lambda)."""
        return Weights(1.0 / (1.0 + self.value), -self.value / (1.0 + self.value))

    @property
    def multiplier(self) -> float:
        """Lambda."""
        return self.value

    def metrics(self) -> dict[str, float]:
        """Return ``multiplier``."""
        return {"multiplier": self.value}

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint."""
        return [*CostConstraint.state(self), self.value]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        CostConstraint.restore(self, state[:2])
        self.value = state[2]


@dataclass(slots=True)
class SeveralMultipliers:
    """One multiplier for each source of cost: the actor ascends ``A_R - sum lambda_i A_Ci``."""

    parts: Mapping[str, MultiplierConstraint]
    """Key of an info -> its multiplier."""

    def metrics(self) -> dict[str, float]:
        """Return ``multiplier.KEY`` of each source."""
        return {f"multiplier.{key}": part.value for key, part in self.parts.items()}

    def state(self) -> list[float]:
        """Return everything that changes, for a checkpoint, each part's length first."""
        states = [part.state() for part in self.parts.values()]
        return [number for state in states for number in (float(len(state)), *state)]

    def restore(self, state: Sequence[float]) -> None:
        """Restore a state that ``state`` returned."""
        rest = list(state)
        for part in self.parts.values():
            size, *rest = rest
            part.restore(rest[: int(size)])
            rest = rest[int(size) :]
