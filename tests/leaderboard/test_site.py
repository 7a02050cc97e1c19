"""The site: plain files, nothing from outside, and nothing of a submission but text."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pkubench.errors import StorageError
from pkubench.evaluation.statistics import Interval
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.site import builder, export
from pkubench.leaderboard.site.builder import Site
from pkubench.leaderboard.site.drawing import Scale, curve_of, curves_picture, interval_picture
from pkubench.tasks import registry as catalogue
from pkubench.tasks.task import Reference
from tests.leaderboard.writing import Writer, spread_scores

SPREAD, CHEETAH, KUHN = "SimpleSpread-v0", "HalfCheetahVelocity-v0", "KuhnPoker-v0"
NASTY = "<script>alert('n')</script>\"&"


class Page(html.parser.HTMLParser):
    """Collects what a page links to and holds, and whether its tags balance."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.fixture
def board(tmp_path: Path, results: Writer) -> Board:
    board = Board.open()
    rng = np.random.default_rng(0)
    costs = rng.integers(10, 40, (5, 16)).astype(float).tolist()
    folders = [
        results("happo", SPREAD, spread_scores(-37.0)),
        results("random", SPREAD, spread_scores(-79.0, runs=1), label="builtin"),
        results("few", SPREAD, spread_scores(-36.0, runs=2)),
        results("ppo", CHEETAH, rng.normal(2900, 50, (5, 16)).tolist(), costs=costs),
        results("psro", KUHN, [[1e-12]] * 5),
        results("nasty", SPREAD, spread_scores(-35.0, seed=4)),
    ]
    for folder in folders:
        nasty = folder.name == "nasty"
        bundle = create_bundle(
            folder,
            tmp_path / f"{folder.name}.zip",
            name=NASTY if nasty else None,
            authors=[NASTY] if nasty else None,
            description=NASTY if nasty else "",
            license=NASTY if nasty else "MIT",
            code_url="https://example.org/?a=1&b=\"'><script>" if nasty else None,
            weights=tmp_path / "weights",
        )
        board.submit(bundle, None if nasty else own_records(bundle))
    return board


def pages(root: Path) -> dict[str, Page]:
    return {
        str(path.relative_to(root)): Page(path.read_text()) for path in sorted(root.rglob("*.html"))
    }


def test_every_suite_task_and_agent_has_a_page(board: Board, tmp_path: Path) -> None:
    first = export(board, tmp_path / "site")
    assert first == tmp_path / "site" / "index.html"
    names = set(pages(tmp_path / "site"))
    assert {"index.html", "methodology.html"} <= names
    assert {f"suites/{suite}.html" for suite in ("marl", "constrained", "games")} <= names
    assert {f"tasks/{task}.html" for task in (SPREAD, CHEETAH, KUHN)} <= names
    assert sum(name.startswith("agents/") for name in names) == 6


def test_every_link_leads_to_a_file_of_the_site(board: Board, tmp_path: Path) -> None:
    root = tmp_path / "site"
    export(board, root)
    for name, page in pages(root).items():
        for link in page.links:
            if link.startswith(("https://example.org/", "#", "data:,")):
                continue
            assert (root / name).parent.joinpath(link).is_file(), f"{name} links to {link}"


def test_nothing_is_loaded_from_outside(board: Board, tmp_path: Path) -> None:
    root = tmp_path / "site"
    export(board, root)
    for path in root.rglob("*"):
        if path.suffix in (".css", ".js"):
            text = path.read_text()
            assert "@import" not in text and "url(" not in text and "import(" not in text
            assert "fetch(" not in text and "XMLHttpRequest" not in text
            assert "http" not in text or path.parent.name == "uplot"  # a comment names its home
    for name, page in pages(root).items():
        outside = [link for link in page.links if "//" in link]
        assert all(link.startswith("https://example.org/") for link in outside), name
        scripts = [link for link in page.links if link.endswith(".js")]
        assert page.tags.count("script") == len(scripts) <= 3 and not page.handlers
        assert ("uplot" in "".join(scripts)) == ("figure" in page.tags)


def test_text_of_a_submission_is_shown_and_never_markup(board: Board, tmp_path: Path) -> None:
    root = tmp_path / "site"
    export(board, root)
    for path in root.rglob("*.html"):
        text = path.read_text()
        assert "<script>" not in text
        assert "alert('n')" not in text.replace("&#39;", "")
    found = pages(root)
    assert NASTY in found["index.html"].words
    (agent,) = (page for name, page in found.items() if "script" in name)
    assert agent.words.count(NASTY) >= 4  # title line, heading, description, author, license


def test_the_same_board_gives_the_same_bytes(board: Board, tmp_path: Path) -> None:
    export(board, tmp_path / "a")
    export(board, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*"))
    assert files == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*"))
    for name in files:
        if (tmp_path / "a" / name).is_file():
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_table_shows_rank_score_cost_tier_and_reason(board: Board, tmp_path: Path) -> None:
    export(board, tmp_path / "site")
    found = pages(tmp_path / "site")
    spread = " ".join(found[f"tasks/{SPREAD}.html"].words)
    assert "2 of the 5 training seeds a rank needs" in spread
    assert "a baseline that is not trained" in spread
    assert "self reported" in spread and "own records" in spread
    assert "verified weights" not in spread  # random has none, and nothing was run again
    (entry,) = [e for e in board.entries() if e.submitter.name == "happo"]
    assert f"{entry.report.metrics['return'].mean:.2f}".replace("-", "\N{MINUS SIGN}") in spread
    cheetah = " ".join(found[f"tasks/{CHEETAH}.html"].words)
    assert "cost limit" in cheetah.lower()
    assert ("within limit" in cheetah) != ("over limit" in cheetah)
    (ppo,) = [e for e in board.entries() if e.submitter.name == "ppo"]
    means = [run.metrics["cost"] for run in ppo.report.runs]
    assert f"{sum(mean <= 25.0 for mean in means)} of 5 runs within" in cheetah
    for page in (f"tasks/{SPREAD}.html", f"tasks/{CHEETAH}.html"):
        assert "caption" in found[page].tags and found[page].tags.count("svg") > 2


def test_where_nobody_leads_the_best_entry_is_shown_with_the_reason(
    tmp_path: Path, results: Writer
) -> None:
    rng = np.random.default_rng(0)
    goal, hopper, walker = "SwimmerVelocity-v0", "HopperVelocity-v0", "Walker2dVelocity-v0"
    over, within = [[40.0] * 16] * 5, [[10.0] * 16] * 5
    normal = lambda mean, runs: rng.normal(mean, 0.1, (runs, 16)).tolist()  # noqa: E731
    folders = [
        results("good", SPREAD, spread_scores(-36.0, runs=2)),
        results("better", SPREAD, spread_scores(-30.0, runs=1)),
        results("random", SPREAD, spread_scores(-20.0, runs=1), label="builtin"),
        results("random", KUHN, [[0.5]], label="builtin"),
        results("wild", goal, normal(30, 5), costs=over),
        results("tame", goal, normal(20, 1), costs=within[:1]),
        results("wild", hopper, normal(1000, 5), costs=over),
        results("few", walker, normal(900, 2), costs=over[:2]),
    ]
    board = Board.open()
    for number, folder in enumerate(folders):
        bundle = create_bundle(
            folder, tmp_path / f"{number}.zip", name=folder.name, weights=tmp_path / "weights"
        )
        board.submit(bundle, own_records(bundle))
    export(board, tmp_path / "site")
    found = pages(tmp_path / "site")
    for task, name, reason in [
        (SPREAD, "better", "1 of the 5 training seeds a rank needs"),  # not random, which is above
        (KUHN, "random", "a baseline that is not trained"),  # but no other entry is there
        (goal, "tame", "1 of the 5 training seeds"),  # not who is over the limit
        (hopper, "wild", "over the cost limit"),
        (walker, "few", "2 of the 5 training seeds"),
    ]:
        suite = catalogue.make_task(task).suite
        for page in ("index.html", f"suites/{suite}.html"):
            words = found[page].words
            start = words.index(task)
            row = " ".join(words[start : start + 14])
            assert f"none yet; best without a rank: {name} {reason}" in " ".join(row.split()), row
        text = " ".join(found[f"tasks/{task}.html"].words)
        assert ("No entry is within the cost limit yet" in text) == (task == hopper)
        assert ("No entry has a rank yet" in text) == (task != hopper)
    assert "no entry is ranked yet" not in (tmp_path / "site" / "index.html").read_text()


def test_reference_scores_are_written_like_the_scores_beside_them(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {
        name: Reference(agent=name, score=score, n=5, command="measured")
        for name, score in (("random", -79.02771), ("reference", 18.75593))
    }
    known = [
        replace(task, references=references) if task.id.endswith(SPREAD) else task
        for task in catalogue.tasks()
    ]
    monkeypatch.setattr(builder, "tasks", lambda: known)
    export(board, tmp_path / "site")
    spread = " ".join(pages(tmp_path / "site")[f"tasks/{SPREAD}.html"].words)
    assert "\N{MINUS SIGN}79.03" in spread and "18.76" in spread
    assert "79.027" not in spread and "18.755" not in spread


def test_a_page_says_how_to_film_an_agent_of_which_no_code_would_run(
    tmp_path: Path, results: Writer
) -> None:
    with Board.open() as board:
        for name, task, label in (
            ("of weights", "SimpleSpread-v0", "saved"),
            ("random", "SimpleSpread-v0", "builtin"),
            ("of a game", "KuhnPoker-v0", "saved"),
        ):
            episodes = 1 if task.startswith("Kuhn") else 4
            folder = results(name, task, [[0.125] * episodes], label=label)
            bundle = create_bundle(
                folder,
                tmp_path / f"{name}.zip",
                weights=tmp_path / "weights" if label == "saved" else None,
            )
            board.submit(bundle)
        files = {n: make().decode() for n, make in Site(board).files.items() if "agents/" in n}
    pages = {n.partition("/")[2].rpartition("-")[0]: text for n, text in files.items()}
    films = {
        name: re.findall(r"Film it</h3><pre[^>]*><code>([^<]+)", text)
        for name, text in pages.items()
    }
    assert films["random"] == ["pkubench watch random SimpleSpread-v0"]
    stem = next(n for n in files if "of-weights" in n).removeprefix("agents/").removesuffix(".html")
    assert films["of-weights"] == [
        f"unzip {stem}.zip -d {stem}\npkubench watch {stem}/weights/SimpleSpread-v0 SimpleSpread-v0"
    ]
    assert films["of-a-game"] == []  # its score is computed, and nothing is played


def test_downloads_are_the_submitted_bytes(board: Board, tmp_path: Path) -> None:
    root = tmp_path / "site"
    export(board, root)
    for entry in board.entries():
        digest = entry.submitter.digest
        (folder,) = (root / "downloads").glob(f"*-{digest[:8]}")
        assert next(folder.glob("*.zip")).read_bytes() == board.bundle(digest)
        for run in entry.runs:
            assert (
                folder / entry.task.rpartition("/")[2] / f"{run.name}.episodes.jsonl"
            ).read_bytes() == run.lines
    document = json.loads((root / "board.json").read_text())
    assert len(document["submissions"]) == 6


def test_a_second_export_replaces_the_first_and_touches_nothing_else(
    board: Board, tmp_path: Path
) -> None:
    root = tmp_path / "site"
    export(board, root)
    (root / "CNAME").write_text("board.example.org")
    assert list((root / "agents").iterdir())
    export(Board.open(), root)
    assert not [path for path in (root / "agents").rglob("*") if path.is_file()]
    assert (root / "CNAME").exists()
    assert "There are no submissions yet" in (root / "index.html").read_text()


def test_a_folder_with_other_files_is_not_written_to(board: Board, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    with pytest.raises(StorageError, match="not empty"):
        export(board, tmp_path / "home")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_a_marker_cannot_make_the_export_remove_files_outside(board: Board, tmp_path: Path) -> None:
    root = tmp_path / "site"
    root.mkdir()
    (tmp_path / "precious").write_text("keep")
    (root / "site.json").write_text(
        json.dumps({"files": ["../precious", str(tmp_path / "precious")]})
    )
    export(board, root)
    assert (tmp_path / "precious").exists()


def test_a_score_outside_the_picture_is_an_arrow_and_its_text_is_escaped() -> None:
    scale = Scale.around([Interval(1.0, 0.5, 1.5)], {"random": -100.0, "reference": 1.2})
    assert scale is not None
    assert [name for name, _ in scale.marks] == ["reference"]
    inside = interval_picture(Interval(1.0, 0.5, 1.5), scale, "<b>")
    assert "circle" in inside and 'aria-label="&lt;b&gt;"' in inside
    assert "polygon" in interval_picture(Interval(-50.0, -51.0, -49.0), scale, "low")


def test_curves_join_runs_on_the_steps_they_share_and_skip_what_is_no_number() -> None:
    runs = [
        [
            {"steps": 0, "return": 0.0},
            {"steps": 10, "return": None},
            {"steps": 100, "return": 10.0},
        ],
        [{"steps": 50, "return": 1.0}, {"steps": 100, "return": 1.0}, {"x": 1}],
        [{"steps": 5, "return": float("nan")}],
    ]
    curve = curve_of("a", 0, runs, "return")
    assert curve is not None
    assert len(curve.runs) == 2
    assert (curve.steps[0], curve.steps[-1]) == (50.0, 100.0)
    assert (curve.mean[0], curve.mean[-1]) == pytest.approx((3.0, 5.5))
    assert curve_of("a", 0, runs[2:], "return") is None
    picture = curves_picture([curve], "label", {}, with_runs=True)
    assert picture.count('class="run') == 2 and "nan" not in picture
