"""Settings of runs that were trained before their preset changed, until they are trained again.

Remove a task from ``_TASKS`` (and, with the last one, this module) to have its rows trained with
the presets as they are now.
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
_TASKS = ("PointGoal1-v0", "CarGoal1-v0", "MultiHalfCheetah2x3Velocity-v1")
"""Tasks whose rows have the former settings."""


def as_trained(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows with the settings that their records were made with."""
    return tuple(_as_trained(row) for row in rows)


def _as_trained(row: Row) -> Row:
    former = _FORMER.get(row.agent)
    if former is None or row.changes or row.task not in _TASKS:
        return row
    return replace(row, changes=tuple(former.items()))
