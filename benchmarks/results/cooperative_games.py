"""Learners on the cooperative games that are solved on paper: roles, and poor equilibria.

``make results-cooperative_games`` trains and scores what has no record yet and writes
``docs/results/cooperative_games.md``: minutes, and it can be stopped and started again. ``--scale``
multiplies every budget, ``--fresh`` trains again what has a record.
"""

from __future__ import annotations

from benchmarks.results.page import markdown, table_of, unfinished
from benchmarks.results.rows import Row
from benchmarks.results.running import run_stages

_STEPS = 100_000
_OPTIMUM = "scripted:optimum"
_LEARNERS = {
    "SharingGap-v0": ("happo", "happo-simultaneous", "mappo"),
    "Climbing-v0": ("hasac", "happo", "mappo"),
    "Penalty-v0": ("hasac", "happo", "mappo"),
}
ROWS = tuple(
    Row(agent, task, _STEPS, 5, ships=0, table="cooperative_games")
    for task, agents in _LEARNERS.items()
    for agent in agents
)
_HEAD = """# Cooperative games solved on paper

Written by `make results-cooperative_games`; no score here is entered by hand. One step each, with a
known optimum: [SharingGap](../environments/SharingGap-v0.md), where half of the team must do the
opposite of the other half, and [Climbing](../environments/Climbing-v0.md) and
[Penalty](../environments/Penalty-v0.md), which have poor equilibria. Learners are scored at their
mode, after 100,000 steps with the presets' settings, which were not chosen on these games.
Intervals are 95 % Student t intervals over training seeds (n). What the runs say of the papers is
on [the page of claims](../claims.md).

"""


def page_of(rows: tuple[Row, ...], scale: float) -> str:
    """Return the page, from the records of all finished rows."""
    table = table_of(rows, scale, dict.fromkeys(_LEARNERS, _OPTIMUM))
    sections = [_HEAD]
    for task, lines in table.items():
        sections += markdown(task, lines, {}, _OPTIMUM)
    return "".join([*sections, *unfinished(rows, scale)])


if __name__ == "__main__":
    run_stages(ROWS, "cooperative_games", (__doc__ or "").split("\n")[0], page_of)
