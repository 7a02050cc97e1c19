"""Heterogeneous multi-agent learners on the particle environments and on Multi-Agent MuJoCo.

``make results-marl`` trains and scores what has no record yet and writes ``docs/results/marl.md``.
It takes hours; it can be stopped and started again at any time. ``--scale`` multiplies every
budget, ``--fresh`` trains again what has a record.
"""

from __future__ import annotations

from benchmarks.results.marl_page import page_of
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

_STEPS = 1_000_000
_SPREAD, _TALK, _REFERENCE = (
    f"Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
)
_PARTICLE = (_SPREAD, _TALK, _REFERENCE)
_CLAIMED = ("happo", "mappo", "hasac", "hatd3")
_OTHERS = ("hatrpo", "haa2c", "haddpg", "maddpg", "matd3", "masac")
_ABLATIONS = ("happo-simultaneous", "hatd3-simultaneous", "hasac-simultaneous")
_CARRIERS = "HeterogeneousCarriers-v0"
_CARRIER_ROWS = {
    ("happo", "happo-simultaneous", "mappo"): 300_000,
    ("hasac", "hasac-simultaneous", "masac"): 100_000,
}
"""Separate actors in sequence, separate ones at once, a shared one; equal steps in a family."""


def _row(agent: str, task: str, seeds: int, **more: object) -> Row:
    return Row(agent, task, _STEPS, seeds, **{"ships": 1, "table": "marl", **more})  # type: ignore[arg-type]


ROWS = (
    *(_row(agent, task, 5) for task in _PARTICLE for agent in _CLAIMED),
    *(_row(agent, task, 3) for task in _PARTICLE for agent in _OTHERS),
    # where the agents' spaces differ nothing is shared, and mappo is happo-simultaneous
    *(_row(agent, task, 5) for task in (_SPREAD, _REFERENCE) for agent in _ABLATIONS),
    *(_row(a, t, 3) for t in ("MultiHalfCheetah2x3-v1", "MultiHopper3x1-v0") for a in _CLAIMED),
    *(_row(a, t, 1) for t in ("MultiWalker2d2x3-v0", "MultiAnt4x2-v1") for a in _CLAIMED),
    # the papers' networks, batches, returns and ratio of updates, where the small ones score low
    *(_row(a, "MultiHopper3x1-v0", 1) for a in ("hasac-paper", "hatd3-paper")),
    # where sharing one policy costs a known amount, and where agents know who they are
    *(
        Row(agent, task, steps, 5, ships=0, table="marl")
        for task in (_CARRIERS, _CARRIERS.replace("-", "Id-"))
        for agents, steps in _CARRIER_ROWS.items()
        for agent in agents
    ),
    Row("mappo", "SimpleSpread-v0", 10_000_000, 1, ships=0, label="mappo-10m", table="marl"),
    Row("happo", "SimpleSpread-v0", 10_000_000, 1, ships=0, label="happo-10m"),
    *(
        Row(f"{a}-paper", "SimpleSpread-v0", 10_000_000, 1, 0, f"{a}-paper-10m", "marl")
        for a in ("happo", "mappo")
    ),
)

if __name__ == "__main__":
    run_stages(ROWS, "marl", (__doc__ or "").split("\n")[0], page_of)
