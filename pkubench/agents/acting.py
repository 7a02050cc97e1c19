"""Which settings of a learner do anything beside which others.

A preset has every setting of its learner, and most algorithms use some: ``kappa`` is P3O's penalty
and nothing to PPO-Lag. Who sets one of the others would believe that it was tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pkubench.agents.components import unused_settings
from pkubench.agents.families.psro.deep_settings import DEEP
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.rl.off_policy.config import OffPolicyConfig

Values = tuple[Any, ...] | range
"""Values of a setting: some, or all whole numbers of a range, which has no end but a large one."""


class Acting(NamedTuple):
    """Settings that act only where others have one of some values."""

    names: tuple[str, ...]
    beside: Mapping[str, Values]
    """Other setting -> its values; all of them are needed."""
    otherwise: Mapping[str, Values] | None = None
    """Others that do as well as those."""

    @property
    def ways(self) -> tuple[Mapping[str, Values], ...]:
        """What these need: one of them."""
        return (self.beside,) if self.otherwise is None else (self.beside, self.otherwise)

    def holds(self, config: Any) -> bool:
        """Return whether these act in ``config``."""
        return any(
            all(getattr(config, name) in values for name, values in way.items())
            for way in self.ways
        )

    @property
    def words(self) -> str:
        """The others, as a user sets them."""
        return ", or with ".join(
            " and ".join(f"{name}={_text(values)}" for name, values in way.items())
            for way in self.ways
        )


_LIMITED = ("lagrangian", "pid")
_PID = ("pid_kp", "pid_ki", "pid_kd", "pid_smoothing", "pid_delay")
_OFF_POLICY = (
    Acting(("variant",), {"constraint": _LIMITED}, {"rule": ("ddpg",)}),
    Acting(("exploration",), {"rule": ("ddpg", "td3")}),
    Acting(("target_noise", "noise_clip"), {"rule": ("td3",)}),
    Acting(("alpha", "alpha_auto"), {"rule": ("sac",)}),
    Acting(("alpha_lr", "target_entropy"), {"rule": ("sac",), "alpha_auto": (True,)}),
    Acting(("cost_limit", "lambda_init", "cost_twins"), {"constraint": _LIMITED}),
    Acting(("cost_norm", "lambda_warmup_steps"), {"constraint": _LIMITED}),
    Acting(("lambda_lr", "lambda_upper"), {"constraint": ("lagrangian",)}),
    Acting(_PID, {"constraint": ("pid",)}),
)
_DEEP = (
    *("hidden", "learning_rate", "parallel_games", "updates", "batch_size", "replay_size"),
    *("target_updates", "exploration", "masked_targets", "warm_start"),
)
_POPULATION = (
    Acting(_DEEP, {"oracle": DEEP}),
    Acting(("mirror_steps", "mirror_rate"), {"oracle": ("mirror",)}),
    Acting(("payoff_inverse",), {"diversity": ("bd-rd",)}),
)
_TABLES: dict[type, tuple[Acting, ...]] = {
    OffPolicyConfig: _OFF_POLICY,
    PSROConfig: _POPULATION,
}


def idle(config: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those of ``names`` that change nothing in ``config``, and beside what they would.

    What depends on the spaces of a task is not known here and counts as acting (``std`` is of Box
    actions, ``scheme`` of teams).
    """
    yield from unused_settings(config, names)
    groups = _TABLES.get(type(config), ())
    for name in names:
        for group in groups:
            if name in group.names and not group.holds(config):
                yield name, group.words
                break


def _text(values: Values) -> str:
    if isinstance(values, range):
        return f"{values.start} or more"
    return " or ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
