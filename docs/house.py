"""The picture of the house: its rooms, and the imports between them."""

from __future__ import annotations

from typing import NamedTuple

from docs.pictures import Picture


class Room(NamedTuple):
    """A box of the picture; ``name`` is a folder of the package."""

    name: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]


ROOMS = (
    Room("cli", 30, 8, 700, 54, ("one file per verb; nothing heavy is imported until it runs",)),
    Room("leaderboard", 30, 104, 320, 54, ("bundles, checks, store, site",)),
    Room("training", 410, 104, 320, 54, ("session, validation, trackers, pipelines",)),
    Room("evaluation", 30, 214, 320, 76, ("episodes to records", "statistics, reports, figures")),
    Room("tasks", 30, 338, 320, 76, ("protocol, metrics, scoring", "one module per suite")),
    Room("agents", 410, 214, 320, 200, ()),
    Room("retrieval", 600, 440, 130, 54, ("memory banks",)),
    Room("data", 480, 520, 250, 54, ("recorded episodes to learn from",)),
    Room("envs", 30, 610, 700, 54, ("one program on arrays per environment; its public forms",)),
)
PARTS = (
    ("contract", "what is asked of anything that acts"),
    ("registry, components, learner", "what families declare"),
    ("families", "declarations, presets, what is theirs"),
    ("rl, nn", "learners, their parts, networks"),
    ("resolve, saved, adapters", "from a spelling to an agent"),
)
ARROWS = (
    ("cli", "leaderboard"),
    ("cli", "training"),
    ("leaderboard", "evaluation"),
    ("leaderboard", "agents"),
    ("training", "evaluation"),
    ("training", "agents"),
    ("evaluation", "tasks"),
    ("tasks", "envs"),
    ("agents", "data"),
    ("agents", "retrieval"),
    ("agents", "envs"),
    ("retrieval", "data"),
    ("data", "envs"),
)
"""Importing room -> imported room, as drawn; what follows from two of them is not drawn."""
NARROW = (
    ("evaluation", "agents", "contract"),
    ("tasks", "agents", "contract"),
    ("agents", "tasks", "types"),
)
"""Importing room, imported room, and the only part of it: drawn dashed."""


def draw_house() -> str:
    """Draw the rooms with their arrows."""
    picture = Picture(
        "house",
        760,
        "Imports point down: cli to leaderboard and training, both to evaluation and agents, "
        "evaluation to tasks, agents to retrieval, these to data, and tasks, agents and data to "
        "envs",
    )
    for room in ROOMS:
        picture.box(room.x, room.y, room.width, room.height)
        center = room.x + room.width / 2
        picture.text(center, room.y + 22, room.name, size=15, bold=True, centered=True)
        for k, line in enumerate(room.lines):
            picture.text(center, room.y + 42 + 18 * k, line, size=13, centered=True)
    for k, (name, words) in enumerate(PARTS):
        picture.text(426, 258 + 32 * k, name, size=12, bold=True, code=True)
        picture.text(440, 273 + 32 * k, words, size=12)
    # cli and the rooms below it
    for x in (190, 570):
        picture.arrow((x, 62), (x, 104))
        picture.arrow((x, 158), (x, 186), head=False)
        picture.arrow((x, 186), (x, 214))
    picture.arrow((190, 186), (570, 186), head=False)  # each of the two above to both below
    picture.arrow((190, 290), (190, 338))
    picture.arrow((190, 414), (190, 610))
    picture.arrow((445, 414), (445, 610))
    picture.arrow((540, 414), (540, 520))
    picture.arrow((665, 414), (665, 440))
    picture.arrow((665, 494), (665, 520))
    picture.arrow((605, 574), (605, 610))
    # parts alone
    picture.arrow((350, 254), (410, 254), dashed=True)
    picture.arrow((350, 356), (380, 356), (380, 254), dashed=True, head=False)
    picture.arrow((410, 396), (350, 396), dashed=True)
    picture.text(380, 246, "contract", size=11, centered=True)
    picture.text(380, 412, "types", size=11, centered=True)
    picture.text(
        30,
        688,
        "Below all of them: errors, files, plugins. Solid: imports; dashed: that part alone.",
        size=12,
    )
    return picture.svg(700)
