"""Which settings of a learner do anything beside which others.

A preset has every setting of its learner, and most algorithms use some: ``kappa`` is P3O's penalty
and nothing to PPO-Lag. Who sets one of the others would believe that it was tried.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pkubench.agents.rl.on_policy.config import IN_THE_STEP, WITHOUT_COST_CRITIC, OnPolicyConfig

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
_ON_POLICY_CONSTRAINTS = (
    *("lagrangian", "pid", "interior-point", "rectified", "exact-penalty", "corrected"),
    *("linearised", "projected", "saute", "early-termination"),
)
_WITH_COST_CRITIC = tuple(c for c in _ON_POLICY_CONSTRAINTS if c not in WITHOUT_COST_CRITIC)
_STEP = (
    *("kl_limit", "cg_iterations", "cg_damping", "fisher_every", "search_steps"),
    "discrete_kl",
)
_SEARCHING: Mapping[str, Values] = {
    "update": ("trust-region",),
    "search_steps": range(1, sys.maxsize),
}
"""Without a step of search, the natural gradient's whole length is taken as it is."""
_SEARCHED = ("none", *(c for c in _ON_POLICY_CONSTRAINTS if c not in IN_THE_STEP))
"""Constraints beside which a length is accepted for what it improves."""
_PASSES = {"update": ("ppo-clip", "a2c", "focops")}

_ON_POLICY = (
    Acting(_STEP, {"update": ("trust-region",)}),
    Acting(("search_decay",), _SEARCHING),
    Acting(("accept_ratio",), {**_SEARCHING, "constraint": _SEARCHED}),
    Acting(("variant",), {"update": ("trust-region",)}, {"constraint": ("exact-penalty",)}),
    Acting(("epochs", "target_kl", "actor_lr", "lr_decay"), _PASSES),
    Acting(("focops_eta", "focops_lam"), {"update": ("focops",)}),
    Acting(("actor_gain",), {"init": ("orthogonal",)}),
    Acting(("log_std_init",), {"std": ("log",)}),
    Acting(("cost_limit",), {"constraint": _ON_POLICY_CONSTRAINTS}),
    Acting(("cost_lam",), {"constraint": _WITH_COST_CRITIC}),
    Acting(("lambda_init",), {"constraint": (*_LIMITED, "corrected")}),
    Acting(("lambda_lr", "lambda_upper"), {"constraint": ("lagrangian", "corrected")}),
    Acting(_PID, {"constraint": ("pid",)}),
    Acting(("recovery",), {"constraint": IN_THE_STEP, "variant": ("published",)}),
    Acting(("kappa",), {"constraint": ("exact-penalty",)}),
    Acting(("barrier", "penalty_max"), {"constraint": ("interior-point",)}),
    Acting(("tolerance",), {"constraint": ("rectified",)}),
    Acting(("saute_gamma", "unsafe_reward"), {"constraint": ("saute",)}),
)
_TABLES: dict[type, tuple[Acting, ...]] = {
    OnPolicyConfig: _ON_POLICY,
}


def idle(config: Any, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those of ``names`` that change nothing in ``config``, and beside what they would.

    What depends on the spaces of a task is not known here and counts as acting (``std`` is of Box
    actions, ``scheme`` of teams).
    """
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
