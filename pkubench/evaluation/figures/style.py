"""How every figure looks: one colour per agent, one canvas, the same bytes each time.

Matplotlib is imported inside the functions, so that this module costs nothing until a figure is
drawn. Figures are built without pyplot: no window, no backend, no state left behind.
"""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pkubench.errors import ConfigError, MissingExtra, StorageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours for every kind of colour vision, less yellow, too faint on white."""

BASELINE_COLOUR = "#767676"
"""The random agent and reference lines: the darkest grey that still reads as background."""

FEASIBLE_COLOUR = "#e6f2ec"
"""Ground of what is within a cost limit: pale enough for any agent's colour on it."""

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
_MARKERS = ("o", "s", "^", "D")
_SALT = "1527"
"""Chosen so that agents often drawn together (HAPPO, MAPPO, IPPO; PPO, PPO-Lag) do not collide."""

WIDTH_IN = 5.2
"""Width of every figure. At 11-point type a phone 360 pixels wide still shows letters of 10."""

_CAPTION_COLUMNS = 78
_LEGEND_COLUMNS = 52
_TITLE_COLUMNS = 44
_NAME_LETTERS = 28

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so figures are the same on every machine
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.9,
    "figure.titlesize": 12.5,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "svg.hashsalt": "pkubench",  # the ids inside an SVG would otherwise be new each time
    "svg.fonttype": "path",
}


class AgentStyle(NamedTuple):
    """How one agent is drawn: its colour, and a dash and marker for when colours run out."""

    colour: str
    dash: Any
    marker: str


def agent_styles(names: Iterable[str]) -> dict[str, AgentStyle]:
    """Give each agent its colour, the same in every figure and for any order of names.

    The colour is a hash of the name. Where two agents of one figure share a colour, the first in
    the alphabet keeps it and the other takes the next free one; from eight agents on, colours
    repeat with another dash and marker. ``random`` is always grey.
    """
    ordered = sorted(set(names))
    wanted = {name: _slot(name) for name in ordered if name != "random"}
    slots: dict[str, int] = {}
    for name, slot in wanted.items():
        if slot not in slots.values():
            slots[name] = slot
    for name, slot in wanted.items():
        if name not in slots:
            # Rounds of the palette: 0..6, then 7..13 in the same colours with the next dash.
            ring = len(slots) // len(PALETTE) * len(PALETTE)
            turns = (ring + (slot + i) % len(PALETTE) for i in range(len(PALETTE)))
            slots[name] = next(s for s in turns if s not in slots.values())
    styles = {"random": AgentStyle(BASELINE_COLOUR, "-", "o")} if "random" in ordered else {}
    for name, slot in slots.items():
        turn = slot // len(PALETTE) % len(_DASHES)
        styles[name] = AgentStyle(PALETTE[slot % len(PALETTE)], _DASHES[turn], _MARKERS[turn])
    return styles


def shown(name: str) -> str:
    """Return a name as a label: long ones lose their middle, and no sign in it is markup."""
    short = name.removeprefix("pkubench/")
    short = short if len(short) <= _NAME_LETTERS else f"{short[:11]}…{short[-16:]}"
    # Matplotlib reads $ as mathematics and leaves labels that start with _ out of the legend.
    return ("\u200b" if short.startswith("_") else "") + short.replace("$", r"\$")


def _slot(name: str) -> int:
    digest = hashlib.sha256(f"{_SALT}:{name.casefold()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % len(PALETTE)


@contextmanager
def canvas(
    out: str | os.PathLike[str],
    title: str,
    caption: str,
    *,
    height: float = 3.6,
    panels: Sequence[float] = (1,),
) -> Iterator[list[Axes]]:
    """Yield the panels of a figure, one above the other; write it to ``out`` at the end.

    Args:
        out: File to write; ``.svg`` or ``.png`` decides the format. Its folder is made.
        title: Line above the figure; a legend of the first panel's labels comes under it.
        caption: What the marks mean; wrapped below the figure.
        height: Height in inches.
        panels: Relative height of each panel.

    Raises:
        MissingExtra: Matplotlib is not installed.
        ConfigError: ``out`` has another extension.
        StorageError: ``out`` cannot be written.
    """
    path = Path(out)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("svg", "png"):
        raise ConfigError(f"a figure is written as .svg or .png, got {path.name!r}")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("plots", "drawing figures") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own matplotlibrc must not change a figure
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = list(figure.subplots(len(panels), 1, squeeze=False, height_ratios=panels)[:, 0])
        if caption:
            wrapped = textwrap.fill(
                caption.replace("$", r"\$"), _CAPTION_COLUMNS, break_on_hyphens=False
            )
            figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=8.5, color="#555555")
        yield axes
        _add_head(figure, axes[0], title)
        # A date or a version would make equal figures different files.
        blank = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format=kind, metadata=blank)
        except OSError as error:
            raise StorageError(
                f"cannot write the figure {path}: {error.strerror or error}; choose another folder"
            ) from None


def _add_head(figure: Figure, axes: Axes, title: str) -> None:
    """Put the title above the panels, and the legend under it in as many columns as fit."""
    title = textwrap.fill(title.replace("$", r"\$"), _TITLE_COLUMNS)
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        if title:
            figure.suptitle(title, x=0.01, ha="left")
        return
    fitting = max(1, _LEGEND_COLUMNS // (max(map(len, labels)) + 6))
    columns = min(fitting, len(labels))
    # The title is the legend's own: the layout would draw a separate one over it.
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        title=title or None,
        title_fontproperties={"size": 12.5, "weight": "bold"},
        alignment="left",
        handlelength=1.8,
        columnspacing=1.2,
        borderpad=0,
    )
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * (rows - 1))


def add_references(axes: Axes, references: Mapping[str, float], *, vertical: bool = False) -> None:
    """Draw each reference score as a dashed grey line with its name at the line's end."""
    for name, score in references.items():
        line = axes.axvline if vertical else axes.axhline
        line(score, color=BASELINE_COLOUR, linewidth=1.3, linestyle=(0, (4, 2)), zorder=1.5)
        place = (score, 1.0) if vertical else (1.0, score)
        axes.annotate(
            shown(name),
            place,
            xycoords=axes.get_xaxis_transform() if vertical else axes.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center" if vertical else "right",
            va="bottom",
            fontsize=9,
            color="#555555",
        )


def counts(sizes: Mapping[str, int], noun: str) -> str:
    """Say over how many runs: once if all agree, else for each agent."""
    if len(set(sizes.values())) == 1:
        n = next(iter(sizes.values()))
        return f"n = {n} {noun}{'' if n == 1 else 's'}{' per agent' if len(sizes) > 1 else ''}."
    each = ", ".join(f"{name} {n}" for name, n in sizes.items())
    return f"n in {noun}s: {each}."
