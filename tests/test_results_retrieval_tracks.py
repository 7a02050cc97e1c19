"""The pages of retrieval: figures from made-up records, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import retrieval_bank
from benchmarks.results import retrieval_quality as quality_page
from benchmarks.results import retrieval_transfer as transfer
from pkubench.envs.core.registry import make_batch
from pkubench.files import write_json
from pkubench.retrieval.bank import MemoryBank
from pkubench.retrieval.building import SPLITS, Source, Split
from pkubench.retrieval.keys import raw_pixels
from pkubench.retrieval.retrievers import KeyRetriever, RandomRetriever

SMALL = Split(("DistShift1-v0",), (Source("DistShift1-v0", 0),))


def test_the_page_of_quality_has_a_row_for_each_record_of_the_present_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_page, "RECORDS", tmp_path)
    scores = {"queries": 420, **dict.fromkeys(quality_page._COLUMNS, 0.25)}
    now = quality_page.settings_of("mt7")
    for method, settings in (("oracle", now), ("my keys", now), ("random", {**now, "k": 3})):
        record = {"settings": settings, "rows": 1234567, "all": scores}
        record["own"] = {**scores, "calibration": None, "task_precision": 1.0}
        quality_page.write(method, "mt7", record)
    times = {"p50_ms": 1.5, "p95_ms": 2.25, "s": 3.04}
    quality_page.write("exact", "latency", {"sizes": {"10000": times}})
    text = quality_page.section()
    assert "1,234,567 states in the bank, 420 queries" in text
    assert "| oracle | all tasks | 0.250 | 0.250 | 0.250 | 0.250 | 0.250 | 0.250 |" in text
    assert "| my-keys | own task | 1.000 | 0.250 | 0.250 | 0.250 | 0.250 | - |" in text
    assert "| random |" not in text and "Size shift" not in text
    assert "| exact | 10,000 | 1.50 | 2.25 | 3.0 s |" in text


def test_what_is_measured_is_what_is_found_on_other_levels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # DistShift1 is one level: the search's states are all in the bank, so keys of images find them
    monkeypatch.setitem(SPLITS, "one", SMALL)
    of = quality_page.asked.__wrapped__("one", 4, 5)
    assert len(of.queries.tasks) == 15 and (of.queries.episodes == -1).all()
    oracle = quality_page.measure(None, of, False)
    keys = quality_page.measure(KeyRetriever(raw_pixels), of, False)
    random = quality_page.measure(RandomRetriever(), of, False)
    assert oracle["ndcg"] == pytest.approx(1.0) and oracle["action_agreement"] == 1.0
    assert oracle["ndcg"] > keys["ndcg"] > random["ndcg"]
    assert keys["task_precision"] == 1.0


def test_latency_is_of_single_queries() -> None:
    found = quality_page.latency(quality_page.ExactIndex, 500, 5)
    assert 0 < found["p50_ms"] <= found["p95_ms"]


def test_banks_are_written_with_slots_of_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SPLITS, "one", SMALL)
    words = ["one", "--out", str(tmp_path), "--episodes", "1", "--slots", "12"]
    retrieval_bank.main(words)
    bank = MemoryBank.load(tmp_path / "one.npz")
    assert len(bank.episodes) == 3 and bank.sha256 in capsys.readouterr().out
    with np.load(tmp_path / "one-slots.npz") as file:
        assert file["states"].shape == (12, 7, 7, 3) and file["tasks"].tolist() == [0] * 12
    with pytest.raises(SystemExit):
        retrieval_bank.main(["nothing"])
    assert "no split nothing" in capsys.readouterr().err


def test_the_targets_are_played_in_turn_in_one_batch() -> None:
    task = transfer.task()
    planned = task.scoring.plan(task, 0, task.protocol.episodes)
    assert len(planned) == 400 and [of.options["task"] for of in planned[:5]] == [0, 1, 2, 3, 0]
    env: Any = make_batch(task.id, 4, **task.env_kwargs)
    assert env.levels == transfer.TARGETS == SPLITS["size-shift"].targets
    env.reset(np.arange(4))
    assert env._limits().max() == task.protocol.horizon == 640
    assert task.protocol.training_steps == 800_000


def test_every_control_is_an_arm_and_banks_are_splits() -> None:
    names = {arm.name for arm in transfer.ARMS}
    assert set(transfer.CONTROLS) | {"bank"} == names
    for arm in transfer.ARMS:
        assert not arm.bank or SPLITS[arm.bank].targets == transfer.TARGETS


KNOWN = {name: [0.0, 0.8] if k else [0.2, 1.0] for k, name in enumerate(transfer.TARGETS)}


def test_the_area_is_that_of_the_normalised_curve() -> None:
    # the anchors' means are 0.05 and 0.85; 0.45 is half way
    half = {"curve": [[transfer.STEPS / 2, 0.45], [transfer.STEPS, 0.45]]}
    assert transfer.area(half, KNOWN) == pytest.approx(0.25 * 0.5 + 0.5 * 0.5)
    assert transfer.area({"curve": [[transfer.STEPS, 0.85]]}, KNOWN) == pytest.approx(0.5)
    assert transfer.area({"curve": [[transfer.STEPS, 0.05]]}, KNOWN) == pytest.approx(0.0)


def test_the_page_of_transfer_compares_paired_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RECORDS", tmp_path)
    empty = transfer.section()
    assert empty.count("(0 of 3 runs)") == len(transfer.ARMS) and "| memory |" not in empty
    write_json(tmp_path / transfer.TABLE / "anchors.json", KNOWN)
    by_name = {arm.name: arm for arm in transfer.ARMS}
    for name, ends in (("bank", (0.85, 0.45)), ("shuffled values", (0.45, 0.45, 0.05))):
        for seed, end in enumerate(ends):
            arm = by_name[name]
            record = {
                **transfer.identity(arm, seed),
                "curve": [[transfer.STEPS, end]],
                "returns": dict.fromkeys(transfer.TARGETS, 0.6),
            }
            write_json(transfer.path_of(arm, seed), record)
    text = transfer.section()
    # areas: 0.5 and 0.25 against 0.25, 0.25 and 0
    assert "| bank | states of smaller levels | 0.375 [" in text
    assert "- minus shuffled values: 0.125 [" in text and "n = 2" in text
    assert "0.500 [0.500, 0.500] | 0.750 [0.750, 0.750]" in text  # 0.6 on both scales
    assert "- bank (2 of 3 runs)" in text and "- shuffled values (" not in text
    write_json(transfer.path_of(by_name["bank"], 0), {**record, "steps": 1})
    assert "- bank (1 of 3 runs)" in transfer.section()
