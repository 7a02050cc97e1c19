"""Settings of runs that were trained before their preset changed, until they are trained again.

Remove an agent from ``_FORMER`` (and, with the last one, this module) to have its rows trained with
the preset as it is now.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results.rows import Row

_PUBLISHED = {"lambda_unit": "deviation"}
_DECAY = {"lr_decay": "true"}
_LAG = {**_PUBLISHED, "lambda_lr": "0.1"}
_PID = {**_PUBLISHED, "pid_kp": "0.02", "pid_ki": "0.004", "pid_kd": "0.01"}
_FORMER: dict[str, dict[str, str]] = {
    "trpo-lag": _LAG,
    "rcpo": _LAG,
    "ppo-lag": {**_LAG, **_DECAY},
    "pdo": {**_LAG, **_DECAY},
    "focops": {**_LAG, **_DECAY, "lambda_upper": "2.0"},
    "cppo-pid": {**_PID, **_DECAY},
    "trpo-pid": _PID,
    "cpo": {"acceptance": "in-sample"},
    "pcpo": {"acceptance": "in-sample"},
    "cup": {**_DECAY, "nu_scale": "fixed", "lambda_lr": "0.02"},
    "p3o": {**_DECAY, "gate": "minibatch"},
    "hatd3-lag": {"lambda_lr": "0.1"},
}
"""Agent -> settings of its recorded runs that the preset no longer has."""
_HOPPER = {
    "lambda_lr": "0.035",
    "pid_kp": "0.1",
    "pid_ki": "0.01",
    "pid_smoothing": "0.95",
}
"""Those of them that were others on Hopper."""


def as_trained(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows with the settings that their records were made with."""
    return tuple(_as_trained(row) for row in rows)


def _as_trained(row: Row) -> Row:
    former = _FORMER.get(row.agent)
    if former is None or row.changes:
        return row
    if row.task.startswith("Hopper"):
        has = {"pid_smoothing", *former} if "pid_kp" in former else {*former}
        former = {**former, **{name: value for name, value in _HOPPER.items() if name in has}}
    return replace(row, changes=tuple(former.items()))
