"""``pkubench claims``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pkubench import evaluate
from pkubench.evaluation.report import Report
from pkubench.tasks.registry import claims
from tests.cli.conftest import Command

FIELDS = {
    *("name", "suite", "paper", "text", "verdict", "counts", "chance", "n", "equal", "budgets"),
    "is_paired",
    *("published_budget", "published", "note", "ablation", "decide", "comparisons", "pooled"),
}


def test_every_claim_is_shown_with_verdict_interval_n_and_budget(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = pkubench("claims")
    assert said.code == 0, said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert {"claim", "verdict", "chance", "n", "budget"} <= set(said.out.split())
    flat = "".join(said.out.split())
    for name in claims():
        assert name in flat
    assert "Would decide:" in said.out and "next: pkubench claims" in said.err


def test_one_claim_is_shown_with_its_comparisons(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = pkubench("claims", "happo-over-mappo")
    assert said.code == 0, said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert {"happo", "mappo", "difference", "interval", "published"} <= set(said.out.split())


def test_json_is_one_document_of_all_claims(pkubench: Command) -> None:
    document = pkubench("claims", "--json", "--suite", "games").json
    assert document["schema"] == 1
    wanted = [name for name, (suite, _) in claims().items() if suite == "games"]
    assert [each["name"] for each in document["claims"]] == wanted
    for each in document["claims"]:
        assert set(each) == FIELDS
        assert each["verdict"] in ("supported", "contradicted", "mixed", "not shown")
        counts = each["counts"]
        assert (counts["for"] > 0, counts["against"] > 0) == {
            "supported": (True, False),
            "contradicted": (False, True),
            "mixed": (True, True),
            "not shown": (False, False),
        }[each["verdict"]]


def test_a_claim_without_runs_is_said_to_be_not_measured(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.cli.claims.shipped", tuple)
    said = pkubench("claims", "happo-over-mappo")
    assert said.code == 0 and "not measured" in said.out and "0, 0, 0" not in said.out


def test_claims_are_chosen_by_paper(
    pkubench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = pkubench("claims", "--json", "--paper", "harl").json["claims"]
    assert {each["paper"] for each in found} == {"HARL"}
    for words, text in (
        (("--paper", "HARLL"), "did you mean 'HARL'"),
        (("--suite", "game"), "did you mean 'games'"),
        (("happo-over-mapo",), "did you mean 'happo-over-mappo'"),
        (("diversity-term", "--paper", "HARL"), "is of paper PSD-PSRO and suite games"),
        (("--suite", "games", "--paper", "HARL"), "no claims in suite 'games', but in diagnostics"),
        (("--results", "."), "no evaluation in ."),
    ):
        said = pkubench("claims", *words)
        assert said.code == 2 and text in said.err, said.err


def test_own_evaluations_are_judged(
    pkubench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = evaluate("random", "Climbing-v0", episodes=1, workers=0)

    def report(agent: str, *returns: float) -> Report:
        (run,) = played.runs
        runs = [
            replace(run, label=f"seed{k}", metrics={"return": r}) for k, r in enumerate(returns)
        ]
        return replace(played, agent=agent, runs=tuple(runs))

    mine = [report("hasac", 4.0, 5.0, 6.0), report("happo", 1.0, 2.0, 3.0)]
    monkeypatch.setattr("pkubench.cli.claims.find_reports", lambda paths: mine)
    said = pkubench("claims", "--results", str(tmp_path), "--json")
    assert said.code == 0, said.err
    (found,) = said.json["claims"]  # and no claim of which nothing is measured
    assert found["name"] == "entropy-leaves-poor-equilibria" and found["budgets"] == []
    assert (found["verdict"], found["comparisons"][0]["difference"]) == ("supported", 3.0)
    assert "whether budgets are equal" in " ".join(
        pkubench("claims", "--results", str(tmp_path)).out.split()
    )
    mine[:] = [report("q-learning", 4.0)]
    said = pkubench("claims", "--results", str(tmp_path))
    assert said.code == 2 and "no claim is about" in said.err
    mine[:] = [report("hasac", 1.0), report("hasac", 1.0)]
    assert "given twice" in pkubench("claims", "--results", str(tmp_path)).err
