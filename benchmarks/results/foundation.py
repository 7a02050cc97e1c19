"""The reference agents of the foundation suites and their table, by one resumable command.

``make results-foundation`` trains and scores what has no record yet (two processes, one thread
each), puts the weights into the package and writes ``docs/results/foundation.md``. It can be
stopped and started again at any time: finished runs are kept, interrupted ones resume from their
checkpoints. ``--scale`` multiplies every budget, and its results stay in ``runs``; ``--fresh``
trains again what has a record.

    python -m benchmarks.results.foundation --stage train     # only the training
    python -m benchmarks.results.foundation --stage ship      # only weights into the package
    python -m benchmarks.results.foundation --stage table     # only the table
"""

from __future__ import annotations

from benchmarks.results.former_presets import as_trained
from benchmarks.results.foundation_page import page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

_SPREAD = 1_500_000
_TALK = 1_000_000
_CHEETAH = 2_000_000
_HOPPER = 1_000_000
ROWS = as_trained(
    (
        Row("happo", "SimpleSpread-v0", _SPREAD, 5),
        Row("ppo-lag", "HalfCheetahVelocity-v0", _CHEETAH, 5),
        Row("psro", "KuhnPoker-v0", 30, 5),
        Row("psro", "LeducPoker-v0", 400, 5),
        Row("mappo", "SimpleSpread-v0", _SPREAD, 5),
        Row("ppo-lag", "HopperVelocity-v0", _HOPPER, 5, keep="best"),
        Row("happo", "SimpleSpeakerListener-v0", _TALK, 5),
        Row("mappo", "SimpleSpeakerListener-v0", _TALK, 5),
        Row("happo", "SimpleReference-v0", _TALK, 5),
        Row("mappo", "SimpleReference-v0", _TALK, 5),
        Row("ppo", "HopperVelocity-v0", _HOPPER, 5),
        Row("ppo", "HalfCheetahVelocity-v0", _CHEETAH, 5),
        Row("happo-paper", "SimpleSpread-v0", _SPREAD, 3, ships=0),
    )
)


if __name__ == "__main__":
    run_stages(ROWS, "foundation", (__doc__ or "").split("\n")[0], page_of)
