"""The page of retrieval: normalised scores of tasks, and pairs of runs of the same seed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from benchmarks.results import retrieval, retrieval_page, retrieval_transfer
from benchmarks.results.records import validated
from benchmarks.results.retrieval_scores import difference, steps_to
from benchmarks.results.rows import config_of, page_path
from pkubench.agents.components import as_plain
from pkubench.envs.minigrid.multitask import MT7
from pkubench.evaluation.claims import judge_all
from pkubench.tasks.records import EpisodeRecord, returns_by_option
from pkubench.tasks.registry import claims


def returns(share: float) -> dict[str, float]:
    """Return each task's return at a share of the way from random play to the optimum."""
    ends = retrieval_page.anchors()
    return {f"return:task={k}": low + share * (high - low) for k, (low, high) in enumerate(ends)}


FULL = retrieval.FULL


def record(final: float, slope: float = 1.0) -> dict[str, Any]:
    points = [{"at": 70_000 * k, **returns(slope * k / 20), "return": 0.0} for k in range(1, 21)]
    validation = validated({"points": [], "sampled_points": points})
    return {
        "validation": validation,
        "sampled": {"by_option": returns(final)},
        "seconds": 100.0,
    }


def test_the_members_are_those_of_the_task_in_its_order() -> None:
    own = [name.removesuffix("-v0").replace("-", "") for name in MT7.members]
    assert own == list(retrieval_page.MEMBERS)


def test_scores_are_normalised_between_random_play_and_the_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrieval_page, "read", lambda row, seed, budget: record(0.5 + 0.1 * seed))
    found = retrieval_page.runs_of(retrieval.ROWS[-1], 1.0)
    assert found is not None and found.final.shape == (3, 7)
    assert found.final[:, 3] == pytest.approx([0.5, 0.6, 0.7])
    assert found.early == pytest.approx(np.full((3, 7), 0.4), abs=1e-5)  # at 560,000
    assert found.area == pytest.approx(np.full((3, 7), 0.5), abs=1e-5)  # a triangle
    assert found.reached == 700_000
    page = retrieval_page.page_of(retrieval.ROWS, 1.0)
    assert "| mt-ppo-heads | 0.600 [" in page and "| 700,000 | 3 | 100 |" in page
    monkeypatch.setattr(retrieval_page, "read", lambda row, seed, budget: None)
    assert retrieval_page.runs_of(retrieval.ROWS[0], 1.0) is None


def test_the_utility_compares_runs_of_the_same_seed_and_has_a_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, count = difference([0.5, 0.9], [0.4, 0.6])
    assert (found.estimate, count) == (pytest.approx(0.2), 2)
    slopes = {f"{retrieval.FULL}-shuffled": -0.1, f"{retrieval.FULL}-no-memory": 0.1}

    def read(row: Any, seed: int, budget: int) -> dict[str, Any] | None:
        # the same seed moves both sides alike, so that only pairs show the difference
        return record(0.5, 0.6 + 0.03 * seed + slopes.get(row.name, 0.0) * (1 + seed % 2))

    monkeypatch.setattr(retrieval_page, "read", read)
    lines = [
        line for line in retrieval_page.page_of(retrieval.ROWS, 1.0).split("\n") if "|" in line
    ]
    verdicts = {line.split("|")[1].strip(): line for line in lines}
    utility = verdicts["retrieval utility: true values against shuffled ones"]
    assert "| 0.075 [" in utility and "| 10 | supported |" in utility
    memory = verdicts["with the memory against without it"]
    assert "| -0.075 [" in memory and "| 10 | contradicted |" in memory
    released = verdicts["the released profile against PPO conditioned on the task"]
    assert "| 3 | not shown |" in released


def test_rows_are_evidence_by_which_the_utility_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    slopes = {f"{retrieval.FULL}-shuffled": -0.1, f"{retrieval.FULL}-no-memory": 0.1}

    def read(row: Any, seed: int, budget: int) -> dict[str, Any] | None:
        if row.name == "mt-ppo" and seed == 9:  # not done yet
            return None
        made = record(0.5, 0.6 + 0.03 * seed + slopes.get(row.name, 0.0) * (1 + seed % 2))
        made["sampled"]["metrics"] = {m: {"mean": 0.01 * seed} for m in ("return", "success")}
        return {**made, "seed": seed}

    monkeypatch.setattr(retrieval_page, "read", read)
    samples = list(retrieval_page.samples(retrieval.ROWS))
    by_agent = {of.agent: of for of in samples}
    assert len(by_agent) == 9 and by_agent["mt-ppo"].seeds == tuple("012345678")
    assert samples[0].metrics["return"] == pytest.approx([0.01 * k for k in range(10)])
    judged = {each.claim.name: each for each in judge_all(claims().values(), samples)}
    (utility,) = judged["retrieval-utility"].comparisons
    # half of the slope: 0.05 in even seeds and 0.1 in odd ones
    assert utility.n == (10, 10) and utility.difference == pytest.approx(0.075, abs=1e-5)
    assert utility.budget == 1_400_000
    assert judged["retrieval-utility"].verdict == "supported"
    assert judged["retrieval-over-no-memory"].verdict == "contradicted"
    over_ppo = judged["retrieval-over-ppo"]
    assert [each.n for each in over_ppo.comparisons] == [(10, 9), (10, 3), (3, 9), (3, 3)]
    assert over_ppo.ablation == "supported"


def test_a_page_of_some_runs_pairs_them_by_seed_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = {FULL: (0, 1, 5, 6), f"{FULL}-shuffled": (0, 5, 6, 7), "mt-ppo": (0, 1)}

    def read(row: Any, seed: int, budget: int) -> dict[str, Any] | None:
        if seed not in done.get(row.name, ()):
            return None
        return record(0.5, 0.1 * seed + (0.2 if row.name == FULL else 0.0))

    monkeypatch.setattr(retrieval_page, "read", read)
    page = retrieval_page.page_of(retrieval.ROWS, 1.0)
    # seeds 0, 5 and 6 of both: half of 0.2 apart, in each
    line = next(line for line in page.split("\n") if line.startswith("| retrieval utility"))
    assert "| 0.100 [0.100, 0.100] | 3 | supported |" in line
    assert "- retrieval-hypernetwork: 4 of 10 runs\n" in page and "- mt-ppo: 2 of 10 runs\n" in page
    assert "| mt-ppo |" not in page and "the method against PPO" not in page
    assert page.endswith("- mt-ppo-heads: 0 of 3 runs\n")


def test_the_pages_are_what_their_records_give() -> None:
    """To the last word; figures may be rounded apart by another processor."""
    number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
    for made, page in (
        (retrieval_page.page_of(retrieval.ROWS, 1.0), page_path("retrieval", 1.0)),
        (retrieval_transfer.section(), retrieval_transfer.PAGE),
    ):
        assert number.sub("#", made) == number.sub("#", page.read_text())


def test_a_score_that_is_never_reached_is_above_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_page, "read", lambda row, seed, budget: record(0.5, 0.4))
    assert "| > 1,400,000 | 10 | 100 |" in retrieval_page.page_of(retrieval.ROWS, 1.0)
    assert steps_to(0.5, [10, 20, 30], np.array([[0.4, 0.5], [0.4, 0.6], [0.0, 0.0]])) == 20


def test_rows_share_the_settings_that_their_names_do_not_change() -> None:
    names = {row.name for row in retrieval.ROWS}
    assert len(names) == 9 and {row.seeds for row in retrieval.ROWS} == {10, 3}
    own = ("retrieval", "task_layer")
    plain = [
        {
            k: v
            for k, v in as_plain(config_of(name, retrieval.TASK)).items()
            if not k.startswith(own)
        }
        for name in sorted(names - {f"{retrieval.FULL}-paper"})
    ]
    assert all(settings == plain[0] for settings in plain)


def test_returns_by_option_are_means_of_the_episodes_with_each_value() -> None:
    records = [
        EpisodeRecord(episode=k, seed=k, return_=float(k), length=1, options={"task": k % 2})
        for k in range(5)
    ]
    assert returns_by_option(records) == {"return:task=0": 2.0, "return:task=1": 2.0}
    failed = EpisodeRecord(
        episode=5, seed=5, return_=None, length=1, options={"task": 1}, failure="x"
    )
    assert np.isnan(returns_by_option([*records, failed])["return:task=1"])
    assert returns_by_option([EpisodeRecord(episode=0, seed=0, return_=1.0, length=1)]) == {}
