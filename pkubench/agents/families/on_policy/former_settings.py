"""Settings of runs saved by an earlier release, under their present names.

A run's ``config.json`` is hashed in the records made with it, so shipped ones keep the names they
were written with, and are translated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pkubench.agents.components import as_plain, changed, choices
from pkubench.agents.rl.constraints.base import Constraint
from pkubench.agents.rl.on_policy.config import OnPolicyConfig

_FORMERLY = {
    "constraint.lambda_unit": "deviation",
    "constraint.nu_scale": "fixed",
    "constraint.gate": "minibatch",
    "constraint.acceptance": "in-sample",
}
"""Setting of a later release -> its value in runs saved without it."""


def present_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return saved settings in the present form of ``as_plain``, without newer settings.

    Args:
        saved: the entry ``settings`` of a ``config.json``, of this release or with the flat names
            of the one before: no components, ``value_clip`` a switch next to ``clip``, ``variant``
            for everything that OmniSafe's code does differently.
    """
    if "credit" in saved:
        return {**_FORMERLY, **_relative(saved, "constraint.")}
    settings = _relative(saved, "")
    if "constraint" in settings:
        former: str = settings["constraint"]
        choices(Constraint)
        settings["constraint"] = Constraint.former_names.get(former, former)
    if "clip" in settings and "value_clip" in settings:
        settings["value_clip"] = settings["clip"] if settings["value_clip"] else None
        settings["cost_clip"] = settings["clip"]
    if "variant" in settings:
        settings["kl_mean_over_dimensions"] = settings["variant"] == "omnisafe"
    plain = as_plain(changed(OnPolicyConfig(), settings, strict=False))
    kept = {name: of for name, of in plain.items() if name.rpartition(".")[2] in settings}
    return {**_FORMERLY, **kept}


def _relative(saved: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return settings with CRPO's former tolerance, in units of cost, as a share of the limit."""
    settings = dict(saved)
    tolerance, limit = settings.pop(f"{prefix}tolerance", None), saved.get(f"{prefix}cost_limit")
    if tolerance is not None and limit:
        settings[f"{prefix}relative_tolerance"] = tolerance / limit
    return settings
