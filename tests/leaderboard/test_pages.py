"""What the pages tell: comparisons, groups of trust, downloads, claims, and how to submit."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from scipy import stats

from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.comparing import compare_all, compare_entries, compare_overall
from pkubench.leaderboard.board.entries import Submitter, rounded
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.uploads import Service
from pkubench.leaderboard.site import builder, pages
from pkubench.leaderboard.site.builder import Site
from pkubench.leaderboard.site.downloads import bibtex, episodes_csv, standings_csv
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import Writer, spread_scores

SPREAD, REFERENCE, KUHN = "SimpleSpread-v0", "SimpleReference-v0", "KuhnPoker-v0"
A, B = [[-30.0] * 200, [-32.0] * 200, [-34.0] * 200], [[-35.0] * 200, [-36.0] * 200]
DAY = datetime.datetime(2026, 11, 3, tzinfo=datetime.UTC)


@pytest.fixture
def board(tmp_path: Path, results: Writer) -> Iterator[Board]:
    with Board.open() as opened:
        for name, scores in (("first", A), ("second", B), ("=SUM(A1)", spread_scores(-20.0))):
            results(name, SPREAD, scores)
            folder = results(name, REFERENCE, scores)
            bundle = create_bundle(
                folder,
                tmp_path / f"{len(name)}.zip",
                name=name,
                authors=["A. \\& B_1", "C{D}"],
                code_url="https://example.org/x",
                weights=tmp_path / "weights",
            )
            verdicts = dict(own_records(bundle).verdicts)
            if name.startswith("="):
                flagged = Verdict(Tier.FLAGGED, "looks like a copy")
                verdicts = dict.fromkeys(verdicts, flagged)
            opened.submit(bundle, Verification(verdicts), submitted_at=DAY)
        yield opened


def text_of(site: Site, name: str) -> str:
    return " ".join(site.files[name]().decode().split())


def test_a_comparison_is_welchs_test_over_runs(board: Board) -> None:
    task = make_task(SPREAD)
    first, second = (e for e in board.entries(task.id) if e.submitter.name in ("first", "second"))
    found = compare_entries(task, first, second)
    # By hand: means -32 and -35.5, variances of the means 4/3 and 0.5/2.
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(3.5)
    expected = stats.ttest_ind([-30, -32, -34], [-35, -36], equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert found.difference[1:] == pytest.approx((interval.low, interval.high))
    assert (found.chance, found.n, found.better) == (1.0, (3, 2), first)
    back = compare_entries(task, second, first)
    assert back.difference is not None and back.difference.estimate == pytest.approx(-3.5)
    assert back.better == first


def test_p_values_of_a_table_are_corrected_together(board: Board) -> None:
    task = make_task(SPREAD)
    found = compare_all(task, board.entries(task.id))
    assert len(found) == 3
    smallest = min(found, key=lambda pair: pair.p_value or 1.0)
    assert smallest.corrected == pytest.approx(3 * (smallest.p_value or 0.0))  # Holm's first step


def test_agents_are_compared_over_the_tasks_of_both(board: Board) -> None:
    tasks = {f"pkubench/{name}": make_task(name) for name in (SPREAD, REFERENCE)}
    by_name = {
        name: {e.task: e for e in board.entries() if e.submitter.name == name}
        for name in ("first", "second")
    }
    found = compare_overall(tasks, by_name["first"], by_name["second"])
    assert found is not None and found.chance.estimate == 1.0 and len(found.tasks) == 2
    # Of the 10 x 10 ways to deal the runs, 2 are as far apart: all better, or all worse.
    assert found.p_value == pytest.approx(2 / 100, abs=0.006)
    one = {SPREAD: by_name["first"][f"pkubench/{SPREAD}"]}
    assert compare_overall(tasks, one, by_name["second"]) is None


def test_of_secret_episodes_a_comparison_is_rounded(board: Board) -> None:
    task = make_task(SPREAD)
    first, second = (e for e in board.entries(task.id) if e.submitter.name in ("first", "second"))
    exact = (-32.123456, -35.654321)
    secret = [
        replace(
            entry,
            report=replace(entry.report, seed=-1),
            runs=tuple(
                replace(run, metrics={**run.metrics, "return": mean + k})
                for k, run in enumerate(entry.runs)
            ),
        )
        for entry, mean in zip((first, second), exact, strict=True)
    ]
    found = compare_entries(task, *secret)
    assert found.is_secret and found.difference is not None and found.p_value is not None
    assert found.difference == rounded(found.difference)
    assert len(f"{found.difference.estimate:g}".lstrip("-").replace(".", "")) <= 3
    assert f"{found.p_value:.1g}" == f"{found.p_value:g}"
    # One side without secret episodes: both are compared on the public ones, exactly.
    mixed = compare_entries(task, secret[0], second)
    assert not mixed.is_secret
    assert mixed.difference is not None and mixed.difference.estimate == pytest.approx(3.5)


def test_what_cannot_be_trusted_stands_apart_and_leads_nothing(board: Board) -> None:
    site = Site(board, is_whole=False)
    page = next(page for page in site.pages if page.short == SPREAD)
    (sheet,) = page.sheets
    titles = [group.title.partition(":")[0] for group in sheet.groups]
    assert titles == ["Without a rank", "Flagged"]
    # The flagged one has the best score by far, and is not the one that is named.
    assert page.contender is not None and page.contender.entry.submitter.name == "first"
    shown = text_of(site, page.href)
    assert shown.index("Flagged: a copy") < shown.index("=SUM(A1)")


def test_a_long_table_has_pages_that_lead_to_each_other(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SHEET", 2)
    monkeypatch.setattr(builder, "_AGENTS", 2)
    site = Site(board, is_whole=False)
    page = next(page for page in site.pages if page.short == SPREAD)
    assert [sheet.href for sheet in page.sheets] == [
        f"tasks/{SPREAD}.html",
        f"tasks/{SPREAD}-page2.html",
    ]
    assert sum(len(group.rows) for sheet in page.sheets for group in sheet.groups) == 3
    assert f'href="../tasks/{SPREAD}-page2.html"' in text_of(site, page.href)
    assert 'aria-current="page" aria-label="Page 2"' in text_of(site, page.sheets[1].href)
    assert "agents-page2.html" in site.files and "agents-page3.html" not in site.files


def test_tables_to_download_have_the_numbers_and_no_formulas(board: Board) -> None:
    task = make_task(SPREAD)
    site = Site(board, is_whole=False)
    page = next(page for page in site.pages if page.short == SPREAD)
    rows = list(csv.DictReader(io.StringIO(standings_csv(task, page.standings).decode())))
    assert [row["name"] for row in rows] == ["'=SUM(A1)", "first", "second"]
    assert float(rows[1]["score"]) == pytest.approx(-32.0) and rows[1]["submitted"] == "2026-11-03"
    assert rows[0]["tier"] == "flagged" and rows[0]["rank"] == ""
    entry = page.standings[1].entry
    lines = list(csv.DictReader(io.StringIO(episodes_csv(task, entry).decode())))
    assert len(lines) == 600
    assert (lines[250]["run"], lines[250]["episode"]) == ("seed1", "50")
    assert float(lines[250]["return"]) == -32.0
    stem = next(name for name in site.files if name.endswith(".bib")).rpartition("/")[0]
    document = json.loads(site.files[f"{stem}/{SPREAD}/entry.json"]())
    assert document["task"] == task.id and document["report"]["episodes"] == 200


def test_a_citation_has_the_submission_and_no_open_braces(board: Board) -> None:
    submitter = next(s for s in board.submissions() if s.name == "first")
    text = bibtex(submitter)
    assert text.startswith(f"@misc{{first-{submitter.digest[:8]},\n")
    assert r"{A. \textbackslash{}\& B\_1} and {C\{D\}}" in text
    assert "year = {2026}" in text and submitter.digest[:12] in text
    assert r"howpublished = {\url{https://example.org/x}}" in text
    assert text.count("{") == text.count("}")
    odd = Submitter("0" * 64, None, replace(submitter.manifest, name="}{", code_url="http://x/%}"))
    assert "year" not in bibtex(odd) and "url" not in bibtex(odd)
    assert bibtex(odd).startswith("@misc{agent-00000000,")


def test_each_task_has_a_page_with_its_own_commands(board: Board) -> None:
    site = Site(board, is_live=True, address="https://board.example.org")
    spread, kuhn = (text_of(site, f"tasks/{name}.html") for name in (SPREAD, KUHN))
    assert "No entry yet" in kuhn and "No entry yet" not in spread
    for text, name in ((spread, SPREAD), (kuhn, KUHN)):
        assert f"pkubench evaluate runs/mine {name} --out results" in text
        assert "pkubench submit mine.zip --to https://board.example.org" in text
    assert f'href="../tasks/{KUHN}.html"' in text_of(site, "suites/games.html")
    assert 'href="suites/games.html"' in text_of(site, "index.html")
    local = text_of(Site(board, is_whole=False), f"tasks/{SPREAD}.html")
    assert "pkubench submit mine.zip </code>" in local and "PKUBENCH_TOKEN" not in local


def test_the_claims_page_has_each_claim_with_the_verdict_of_the_judge(board: Board) -> None:
    judged = builder._judged(tuple(builder.claims()))
    text = text_of(Site(board), "claims.html")
    assert text.count("<tr id=") == len(judged) == len(builder.claims())
    for each in judged:
        row = text[text.index(f'id="{each.claim.name}"') :].partition("</tr>")[0]
        measured = any(c.outcome != "not measured" for c in each.comparisons)
        word = each.verdict if measured else "not measured"
        assert f">{word}" in row, each.claim.name


def test_a_server_compares_any_two_submissions(board: Board) -> None:
    web = TestClient(create_app(board, Service(address="https://board.example.org")))
    a, b = (s.digest for s in board.submissions() if s.name in ("first", "second"))
    answer = web.get("/api/v1/compare", params={"a": a, "b": b}).json()
    assert [one["task"] for one in answer["tasks"]] == [
        f"pkubench/{SPREAD}",
        f"pkubench/{REFERENCE}",
    ]
    assert answer["tasks"][0]["difference"]["estimate"] == pytest.approx(3.5)
    assert answer["overall"]["chance"]["estimate"] == 1.0
    page = web.get("/compare.html", params={"a": a, "b": b, "task": f"pkubench/{SPREAD}"})
    assert page.status_code == 200 and "+3.500" in page.text and REFERENCE not in page.text
    assert web.get("/compare.html", params={"a": a, "b": "0" * 64}).status_code == 404
    assert web.get("/compare.html", params={"a": "../x", "b": b}).status_code == 422
    form = web.get(f"/compare/{SPREAD}.html").text
    assert 'action="../compare.html"' in form and f'<option value="{a}">first' in form
