"""The pages of retrieval: figures from made-up records, and what is measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import retrieval_bank
from benchmarks.results import retrieval_quality as quality_page
from benchmarks.results import retrieval_transfer as transfer
from pkubench.agents.components import with_settings
from pkubench.agents.families.retrieval.bank import read_bank
from pkubench.agents.families.retrieval.retrievers import OracleRetriever
from pkubench.agents.registry import preset
from pkubench.envs.core.registry import make_batch
from pkubench.evaluation.claims import judge
from pkubench.files import write_json
from pkubench.retrieval.bank import MemoryBank
from pkubench.retrieval.building import SPLITS, Source, Split
from pkubench.retrieval.keys import raw_pixels
from pkubench.retrieval.optima import optimum_of
from pkubench.retrieval.retrievers import KeyRetriever, RandomRetriever
from pkubench.tasks.registry import claims

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


@pytest.mark.parametrize("keys", ["mine", "mine=nowhere:function", "mine=math:nothing"])
def test_keys_that_are_not_there_are_refused_before_anything_is_measured(
    keys: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["retrieval_quality", "--keys", keys])
    with pytest.raises(SystemExit):
        quality_page.main()
    assert f"{keys}" in capsys.readouterr().err


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
    slots = read_bank(str(tmp_path / "one-slots.npz"), transfer.task())
    assert slots.states.shape == (12, 7, 7, 3) and slots.tasks.tolist() == [0] * 12
    assert slots.targets == ("DistShift1-v0",)
    rows = bank.slot_rows(12, 0)
    known = optimum_of(bank, rows)
    np.testing.assert_array_equal(slots.states, bank.images[rows])
    np.testing.assert_array_equal(slots.optimal_values, known.values.astype(np.float32))
    np.testing.assert_array_equal(slots.optimal_actions, known.actions)
    assert slots.optimal_values.min() > 0.5 and (slots.optimal_actions > 0).all()
    with pytest.raises(SystemExit):
        retrieval_bank.main(["nothing"])
    assert "no split nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        retrieval_bank.main([*words[:3], "--episodes", "0"])
    assert "at least one episode of each behaviour, got 0" in capsys.readouterr().err


def test_the_targets_are_played_in_turn_in_one_batch() -> None:
    task = transfer.task()
    planned = task.scoring.plan(task, 0, task.protocol.episodes)
    assert len(planned) == 400 and [of.options["task"] for of in planned[:5]] == [0, 1, 2, 3, 0]
    env: Any = make_batch(task.id, 4)
    assert env.levels == transfer.TARGETS == SPLITS["size-shift"].targets
    env.reset(np.arange(4))
    assert env._limits().tolist() == [640, 196, 605, 484]  # MiniGrid's own


def test_arms_are_evidence_by_which_the_bank_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RECORDS", tmp_path)
    (claim,) = (of for _, of in claims().values() if of.name == "bank-of-smaller-levels")
    assert claim.tasks == (transfer.task().id,)
    assert not list(transfer.samples()) and not judge(claim, []).is_measured
    write_json(tmp_path / transfer.TABLE / "anchors.json", KNOWN)
    for arm in transfer.ARMS:
        # of the final score 1, 0.9 or 0.8 half; the others have 0.3 or 0.4 less in alternate seeds
        for seed in range(3):
            end = 1.0 - 0.1 * seed - (0.0 if arm.name == "bank" else 0.3 + 0.1 * (seed % 2))
            curve = [{"at": transfer.STEPS, **returns(end)}]
            record = {**transfer.identity(arm, seed), "curve": curve, "returns": returns(end)}
            write_json(transfer.path_of(arm, seed), record)
    judged = judge(claim, transfer.samples())
    assert [each.n for each in judged.comparisons] == [(3, 3)] * 5
    for each in judged.comparisons:
        assert each.difference == pytest.approx(0.5 * (0.3 + 0.1 / 3), abs=1e-5)
        assert each.budget == 800_000
    assert judged.verdict == "supported"
    transfer.path_of(transfer.ARMS[0], 2).unlink()
    assert not judge(claim, transfer.samples()).is_measured


def test_every_control_is_an_arm_and_banks_are_splits() -> None:
    names = {arm.name for arm in transfer.ARMS}
    assert set(transfer.CONTROLS) | {"bank"} == names
    for arm in transfer.ARMS:
        assert not arm.bank or SPLITS[arm.bank].targets == transfer.TARGETS


KNOWN = {name: [0.0, 0.5] if k else [0.2, 1.0] for k, name in enumerate(transfer.TARGETS)}


def returns(share: float) -> dict[str, float]:
    """Return each target's return at a share of the way from random play to the optimum."""
    ends = KNOWN.values()
    return {f"return:task={k}": low + share * (high - low) for k, (low, high) in enumerate(ends)}


def test_the_area_is_the_mean_of_the_targets_normalised_curves() -> None:
    half = [{"at": transfer.STEPS * k / 2, **returns(0.5)} for k in (1, 2)]
    assert transfer.area_of({"curve": half}, KNOWN) == pytest.approx(0.25 * 0.5 + 0.5 * 0.5)
    one = {**returns(0.0), "return:task=0": 1.0}  # at the end the first target is at its optimum
    curve = [{"at": transfer.STEPS, **one}]
    assert transfer.area_of({"curve": curve}, KNOWN) == pytest.approx(0.5 / 4)


def test_a_record_has_the_sampled_policies_returns_of_each_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = {"at": 7, "first_episode": 0, "return": 0.3, "length": 9.0, **returns(0.5)}
    config = {"validation": {"points": [], "sampled_points": [point]}}
    trained: dict[str, Any] = {}

    def train(agent: str, task: Any, **settings: Any) -> None:
        trained.update(settings, agent=agent)
        (tmp_path / "run").mkdir()

    monkeypatch.setattr(transfer.pkubench, "train", train)
    monkeypatch.setattr(transfer, "RUNS", tmp_path / "none")
    monkeypatch.setattr(transfer.Arm, "run", lambda arm, seed: tmp_path / "run")
    monkeypatch.setattr(transfer, "slots_of", lambda split: tmp_path / split)
    monkeypatch.setattr(transfer, "load_saved", lambda folder: SimpleNamespace(config=config))
    monkeypatch.setattr(transfer, "evaluated", lambda folder: returns(1.0))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/training.jsonl").touch()  # of a run that ended before its first checkpoint
    oracle = next(arm for arm in transfer.ARMS if arm.name == "oracle retrieval")
    record = transfer.train(oracle, 2)
    assert record["curve"] == [{"at": 7, **returns(0.5)}] and record["returns"] == returns(1.0)
    assert trained["validate_sampled"] and trained["seed"] == 2 and not trained["resume"]
    assert trained["settings"] == {"num_envs": "16", "writes": "false", "retrieval": "oracle"}
    assert trained["inputs"] == {"bank": tmp_path / "size-shift"}
    chosen = with_settings(preset(trained["agent"]).config(transfer.task()), trained["settings"])
    assert chosen.retrieval == OracleRetriever()


def test_the_page_of_transfer_compares_paired_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RECORDS", tmp_path)
    empty = transfer.section()
    assert empty.count("(0 of 3 runs)") == len(transfer.ARMS) and "| memory |" not in empty
    write_json(tmp_path / transfer.TABLE / "anchors.json", KNOWN)
    by_name = {arm.name: arm for arm in transfer.ARMS}
    for name, ends in (("bank", (1.0, 0.5)), ("shuffled values", (0.5, 0.5, 0.0))):
        for seed, end in enumerate(ends):
            arm = by_name[name]
            record = {
                **transfer.identity(arm, seed),
                "curve": [{"at": transfer.STEPS, **returns(end)}],
                "returns": {**returns(0.75), "return:task=0": 0.6},
            }
            write_json(transfer.path_of(arm, seed), record)
    text = transfer.section()
    # areas: 0.5 and 0.25 against 0.25, 0.25 and 0
    assert "| bank | states of smaller levels | 0.375 [" in text
    assert "- minus shuffled values: 0.125 [" in text and "n = 2" in text
    assert "0.500 [0.500, 0.500] | 0.750 [0.750, 0.750]" in text
    assert "- bank (2 of 3 runs)" in text and "- shuffled values (" not in text
    write_json(transfer.path_of(by_name["bank"], 0), {**record, "steps": 1})
    assert "- bank (1 of 3 runs)" in transfer.section()
