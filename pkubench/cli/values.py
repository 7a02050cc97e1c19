"""``pkubench values``: which values answers follow, and which ones choices reveal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import RenderableType

from pkubench.cli.names import command, short
from pkubench.cli.options import Json, Quiet, verb_app
from pkubench.cli.output import Column, Output, number
from pkubench.cli.value_records import Played, Sheets, find_matches, find_sheets
from pkubench.errors import ConfigError, RecordError
from pkubench.tasks.registry import tasks

if TYPE_CHECKING:
    from pkubench.evaluation.orientation import PlaceBias, StatedRevealed, ValueRow
    from pkubench.evaluation.statistics import Interval

app = verb_app()


class Followed(NamedTuple):
    """How an agent answered, by the value that it was given."""

    agent: str
    task: str
    rows: Sequence[ValueRow]
    places: PlaceBias

    @property
    def scores(self) -> dict[str, float]:
        """Chance-corrected rationality of each value."""
        from pkubench.evaluation.orientation import scores_by_value

        return dict(scores_by_value(self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        scores = self.scores
        return {
            "agent": self.agent,
            "task": self.task,
            "values": [_plain(row._asdict()) for row in self.rows],
            "vr_cc": sum(scores.values()) / len(scores) if scores else None,
            "vr_cc_min": min(scores.values(), default=None),
            "places": self.places._asdict(),
        }


class Revealed(NamedTuple):
    """What an agent's choices in a game reveal, beside its answers."""

    agent: str
    task: str
    found: Any
    """``Revealed``: orientations that agree with the choices."""
    beside: StatedRevealed | None
    """None where the agent has no sheets, or matches are shorter than three rounds."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        beside = None if self.beside is None else _plain(self.beside._asdict())
        revealed = {**self.found._asdict(), "middle": self.found.middle}
        return {"agent": self.agent, "task": self.task, "revealed": revealed, "beside": beside}


@app.command()
def values(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Results, or folders that hold many."),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report values from results: answers of the SVO slider, and choices in dilemmas.

    For each value an agent was given: the angle and category of its answers, and its value
    rationality, as published (reconstructed) and corrected for chance; then the mean and the
    minimum over values, and how much the place of an option decided. Matches with partners that do
    not react reveal the orientations that agree with the choices, beside what the answers say.
    """
    sheets, matches = find_sheets(paths), find_matches(paths)
    if not sheets and not matches:
        where = ", ".join(map(str, paths))
        raise RecordError(
            f"no result in {where} shows values; first: {command('evaluate', 'AGENT', _first())} "
            "--out results"
        )
    followed = [_followed(of) for of in sheets]
    revealed = _revealed(sheets, matches)
    with Output(json=json, quiet=quiet) as output:
        if json:
            output.document(
                {
                    "schema": 1,
                    "answers": [of.to_json() for of in followed],
                    "choices": [of.to_json() for of in revealed],
                }
            )
            return
        for of in followed:
            output.show("", _answers(output, of), *_below(of))
        if revealed:
            output.show("", _choices(output, revealed))
        output.show("")
        if followed:
            output.next(command("plot", *map(str, paths), "--kind", "ring"))


def _first() -> str:
    """Return the first task whose answers show values."""
    from pkubench.tasks.value_items import ValueItems

    return next(short(task.id) for task in tasks() if isinstance(task.scoring, ValueItems))


def _followed(of: Sheets) -> Followed:
    from pkubench.evaluation.orientation import place_bias

    return Followed(of.agent, of.task.id, of.rows(), place_bias(of.records, of.scoring.ring))


def _revealed(sheets: Sequence[Sheets], matches: Sequence[Played]) -> list[Revealed]:
    import numpy as np

    from pkubench.evaluation.orientation import revealed_orientation, stated_and_revealed
    from pkubench.tasks.value_items import OWN

    stated: Mapping[str, list[Any]] = defaultdict(list)
    for of in sheets:
        own = [record for record in of.records if record.group == OWN]
        if own:
            stated[of.agent].append((own, of.scoring.ring))
    found = []
    for each in matches:
        beside = None
        for own, ring in stated.get(each.agent, ())[:1]:
            try:
                beside = stated_and_revealed(own, each.changes, ring)
            except ConfigError:  # matches of fewer than three rounds
                beside = None
        whole = revealed_orientation(np.concatenate(each.changes))
        found.append(Revealed(each.agent, each.task.id, whole, beside))
    return found


def _answers(output: Output, of: Followed) -> RenderableType:
    columns = (
        Column("value", style="bold"),
        *(Column(title, right=True) for title in ("angle", "95 % interval")),
        Column("category"),
        *(Column(title, right=True) for title in ("hits", "vr60", "vr_cc", "95 % interval ")),
        *(Column(title, right=True) for title in ("sheets", "unanswered")),
    )
    rows = [
        [
            row.value,
            f"{row.angle.estimate:.1f}",
            _bounds(row.angle, 1),
            row.category,
            *("–" if x is None else f"{x.estimate:.2f}" for x in (row.hits,)),
            *("–" if x is None else f"{x.estimate:.1f}" for x in (row.vr60,)),
            *("–" if x is None else f"{x.estimate:.3f}" for x in (row.vr_cc,)),
            _bounds(row.vr_cc, 3),
            str(row.sheets),
            number(row.unanswered, 3),
        ]
        for row in of.rows
    ]
    return output.table(f"{of.agent} on {short(of.task)}", list(columns), rows)


def _below(of: Followed) -> Iterator[str]:
    scores = of.scores
    if scores:
        least = min(scores, key=lambda value: scores[value])
        mean = sum(scores.values()) / len(scores)
        lowest = f"least {scores[least]:.3f} ({least})"
        yield f"vr_cc: mean {mean:.3f} over {len(scores)} values, {lowest}"
    places = of.places
    yield (
        f"places: {places.excess:.3f} from even shares ({places.expected:.3f} where places are "
        f"drawn evenly); the angle varies by {places.order_sd:.1f} degrees over sheets of a value"
    )


def _choices(output: Output, revealed: Sequence[Revealed]) -> RenderableType:
    columns = (
        *(Column(title, style="bold") for title in ("agent", "game")),
        *(Column(t, right=True) for t in ("revealed", "consistent", "choices")),
        *(Column(t, right=True) for t in ("stated", "gap", "drift", "95 % interval")),
    )
    rows = []
    for of in revealed:
        beside = of.beside
        told = ["–"] * 4
        if beside is not None:
            told = [
                f"{beside.stated.estimate:.1f}",
                f"{beside.gap:.1f}",
                f"{beside.drift.estimate:.1f}",
                _bounds(beside.drift, 1),
            ]
        rows.append(
            [
                of.agent,
                short(of.task),
                f"{of.found.low:.1f} to {of.found.high:.1f}",
                f"{of.found.consistent:.2f}",
                str(of.found.choices),
                *told,
            ]
        )
    return output.table("orientations that choices reveal, in degrees", list(columns), rows)


def _bounds(interval: Interval | None, digits: int) -> str:
    if interval is None or interval.low != interval.low:  # of a single sheet
        return "–"
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return named tuples as objects, and bounds that are not known as null."""

    def plain(value: Any) -> Any:
        if hasattr(value, "_asdict"):
            return {name: plain(of) for name, of in value._asdict().items()}
        return None if isinstance(value, float) and value != value else value

    return {name: plain(value) for name, value in given.items()}
