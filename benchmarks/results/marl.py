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
_ROBOTS = ("MultiHalfCheetah2x3-v1", "MultiHopper3x1-v0", "MultiWalker2d2x3-v0", "MultiAnt4x2-v1")
_ON_POLICY = ("happo", "mappo")
_CLAIMED = ("happo", "mappo", "hasac", "hatd3")
_OTHERS = ("hatrpo", "haa2c", "haddpg", "maddpg", "matd3", "masac")
_ABLATIONS = ("happo-simultaneous", "hatd3-simultaneous", "hasac-simultaneous")
_CARRIERS = "HeterogeneousCarriers-v0"
_CARRIER_ROWS = {
    ("happo", "happo-simultaneous", "mappo"): 300_000,
    ("hasac", "hasac-simultaneous", "masac"): 100_000,
}
"""Separate actors in sequence, separate ones at once, a shared one; equal steps in a family."""


def _row(agent: str, task: str, seeds: int, steps: int = _STEPS, **more: object) -> Row:
    return Row(agent, task, steps, seeds, **{"ships": 1, "table": "marl", **more})  # type: ignore[arg-type]


def _longer(agent: str, task: str, millions: int, **more: object) -> Row:
    label = f"{agent}-{millions}m"
    return _row(agent, task, 3, millions * 1_000_000, ships=0, label=label, keep="best", **more)


ROWS = (
    *(_row(agent, task, 5) for task in _PARTICLE for agent in _CLAIMED),
    *(_row(agent, task, 3) for task in _PARTICLE for agent in _OTHERS),
    # where the agents' spaces differ nothing is shared, and mappo is happo-simultaneous
    *(_row(agent, task, 5) for task in (_SPREAD, _REFERENCE) for agent in _ABLATIONS),
    # three seeds left open whether HAPPO and MAPPO do more than stand on Walker2d and Ant
    *(_row(a, t, 3, keep="best") for t in _ROBOTS[:2] for a in _ON_POLICY),
    *(_row(a, t, 5, keep="best") for t in _ROBOTS[2:] for a in _ON_POLICY),
    *(_row(a, t, 3) for t in _ROBOTS[:2] for a in ("hasac", "hatd3")),
    *(_row(a, t, 1) for t in _ROBOTS[2:] for a in ("hasac", "hatd3")),
    # the papers' networks, batches, returns and ratio of updates, where the small ones score low
    *(_row(a, "MultiHopper3x1-v0", 1) for a in ("hasac-paper", "hatd3-paper")),
    # the papers' budget: on SimpleReference one million discrete steps end at silence
    *(_longer(a, f"Simple{t}-v0", 10) for t in ("Spread", "Reference") for a in _ON_POLICY),
    # where sharing one policy costs a known amount, and where agents know who they are
    *(
        Row(agent, task, steps, 5, ships=0, table="marl")
        for task in (_CARRIERS, _CARRIERS.replace("-", "Id-"))
        for agents, steps in _CARRIER_ROWS.items()
        for agent in agents
    ),
    *(
        Row(f"{a}-paper", "SimpleSpread-v0", 10_000_000, 1, 0, f"{a}-paper-10m", "marl")
        for a in _ON_POLICY
    ),
    *(_longer(a, "MultiHalfCheetah2x3-v1", 5) for a in _ON_POLICY),
    # seventeen agents of unlike bodies; half an hour of a core a run
    *(_row(a, "MultiHumanoid17x1-v0", 3, keep="best") for a in _ON_POLICY),
)

if __name__ == "__main__":
    run_stages(ROWS, "marl", (__doc__ or "").split("\n")[0], page_of)
