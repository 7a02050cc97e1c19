"""Run folders describe their training from its first step, for every kind of learner."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents import registry
from pkubench.agents.components import with_settings
from pkubench.agents.registry import Preset
from pkubench.agents.saved.runs import (
    TRAINING,
    begin_training,
    held,
    read_curve,
    read_training,
    training_folders,
    trainings,
)
from pkubench.envs.core.seeding import MAX_SEED
from pkubench.errors import ConfigError, PkubenchError, StorageError
from pkubench.files import lock_folder, unlock
from pkubench.tasks.registry import make_task
from pkubench.training.request import request
from pkubench.training.session import train
from pkubench.training.validation import validation_for

SPREAD = "SimpleSpreadContinuous-v0"
HERE = {
    "agent": "happo",
    "task": "T",
    "total_steps": 400,
    "settings": {"gamma": 0.9, "hidden": (8,)},
}
COMMAND = "pkubench train happo T --seed 0 --set 'hidden=[8]'"
TRAINED: list[tuple[str, str, dict[str, str], str]] = [
    ("happo", SPREAD, {"num_envs": "2", "rollout_steps": "10", "hidden": "[8]"}, "gamma"),
    (
        "hatd3",
        SPREAD,
        {"num_envs": "2", "train_interval": "5", "warmup_steps": "20", "hidden": "[8]"},
        "gamma",
    ),
    ("cfr+", "KuhnPoker-v0", {"report_every": "1"}, "report_every"),
]


class Killed(BaseException):
    """Like a kill: nothing is saved on exit."""


@pytest.mark.parametrize(
    ("agent", "task", "settings", "other"), TRAINED, ids=["on", "off", "games"]
)
def test_a_run_killed_before_its_first_checkpoint_is_resumed_with_its_settings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    agent: str,
    task: str,
    settings: dict[str, str],
    other: str,
) -> None:
    def start(out: str, resume: bool = False, steps: int = 60, **more: str) -> list[Any]:
        where = {"out": tmp_path / out, "resume": resume}
        changes = {**settings, **more}
        return list(train(agent, make_task(task), steps=steps, seed=5, settings=changes, **where))

    start("whole")
    with monkeypatch.context() as patch:

        def kill(*args: Any) -> None:
            raise Killed

        patch.setattr("pkubench.training.trackers.JSONLines.log", kill)
        patch.setattr("pkubench.training.checkpoints.write", kill)
        with pytest.raises(Killed):
            start("parts")
    assert not list((tmp_path / "parts").glob("checkpoint*"))
    run = read_training(tmp_path / "parts")
    assert run is not None
    assert (run.is_finished, run.facts["agent"], run.facts["seed"]) == (False, agent, 5)
    assert (
        run.facts["settings"][other] == read_training(tmp_path / "whole").facts["settings"][other]
    )  # type: ignore[union-attr]
    assert str(run.command).startswith(f"pkubench train {agent} ")

    with pytest.raises(ConfigError, match="--resume"):
        start("parts")
    with pytest.raises(
        ConfigError, match=rf"other settings: {other}=.*; resume .*: pkubench train"
    ):
        start("parts", resume=True, **{other: "0.5" if other == "gamma" else "7"})
    start("parts", resume=True)
    weights = [tmp_path / name / "weights.safetensors" for name in ("whole", "parts")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    largest = {"out": tmp_path / "largest", "steps": 20, "settings": settings}
    assert list(train(agent, make_task(task), seed=MAX_SEED, **largest))
    with pytest.raises(ConfigError, match=r"seed must lie in 0\.\."):
        where = {"out": tmp_path / "large", "steps": 60, "settings": settings}
        list(train(agent, make_task(task), seed=MAX_SEED + 1, **where))
    assert not (tmp_path / "large").exists()


def test_a_refused_process_leaves_the_folder_of_the_one_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, contested = tmp_path / "seed0", tmp_path / "seed1"
    others: list[int | None] = []

    def second(folder: Path, refusal: str) -> int | None:
        if folder == contested:  # another process makes and locks it just before this one
            others.append(lock_folder(folder, "not expected"))
        return lock_folder(folder, refusal)

    monkeypatch.setattr("pkubench.agents.saved.runs.lock_folder", second)
    with (
        pytest.raises(StorageError, match="another process is training into"),
        held([mine, contested]),
    ):
        pytest.fail("the folder is another's")
    assert contested.is_dir(), "it is empty until that process writes its first file"
    assert not mine.exists(), "made for nothing"
    unlock(others[0])


def test_a_run_folder_describes_its_run_from_the_beginning(tmp_path: Path) -> None:
    assert read_training(tmp_path) is None
    begin_training(tmp_path, HERE, COMMAND, resume=False)
    run = read_training(tmp_path)
    assert run is not None
    assert run.facts == {**json.loads(json.dumps(HERE)), "command": COMMAND}
    assert run.progress == "before its first report"
    assert run.resume_command == f"{COMMAND} --out {tmp_path} --resume"
    (tmp_path / "training.jsonl").write_text('{"steps": 200, "return": 1.0}\n{"steps": 3')
    assert run.progress == "step 200 of 400"
    begin_training(tmp_path, HERE, COMMAND, resume=True)
    with pytest.raises(ConfigError, match=r"another total_steps \(400, not 500\)"):
        begin_training(tmp_path, {**HERE, "total_steps": 500}, COMMAND, resume=True)
    with pytest.raises(ConfigError, match="has a run already"):
        begin_training(tmp_path, HERE, COMMAND, resume=False)


@pytest.mark.parametrize("flag", ["--batch-seeds", "--together"])
def test_seeds_trained_in_a_batch_resume_together(tmp_path: Path, flag: str) -> None:
    for seed in (10, 9):
        begin_training(tmp_path / f"seed{seed}", HERE, f"{COMMAND} {flag}", resume=False)
    assert training_folders(tmp_path) == [tmp_path / "seed9", tmp_path / "seed10"]
    assert trainings(tmp_path)[0].resume_command.endswith(f"{flag} --out {tmp_path} --resume")


def test_a_folder_with_only_a_curve_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "training.jsonl").write_text('{"steps": 10}\n')
    with pytest.raises(ConfigError, match="it does not contain a description of one"):
        begin_training(tmp_path, HERE, COMMAND, resume=True)
    assert not (tmp_path / TRAINING).exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON: Expecting"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ("\xff", "not valid JSON"),
    ],
    ids=["torn", "a list", "deep", "bytes"],
)
def test_a_damaged_description_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / TRAINING).write_bytes(text.encode("latin-1"))
    with pytest.raises(StorageError, match=words):
        read_training(tmp_path)


def test_a_damaged_line_of_a_curve_is_named(tmp_path: Path) -> None:
    assert read_curve(tmp_path) == []
    (tmp_path / "training.jsonl").write_text('{"steps": 1}\n{"return": 2}\n')
    with pytest.raises(StorageError, match=r"training.jsonl:2 has no entry 'steps'"):
        read_curve(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("hidden", "64", r"it must be a list such as \[64, 64\]"),
        ("gamma", "nan", "it must be a number"),
        ("num_envs", "2.5", "it must be a whole number"),
        ("shared", "1", "it must be true or false"),
    ],
)
def test_a_setting_of_a_wrong_type_names_what_fits(name: str, text: str, words: str) -> None:
    from pkubench.agents.families.on_policy.presets import preset

    with pytest.raises(ConfigError, match=words):
        with_settings(preset("happo", make_task(SPREAD)), {name: text})


def test_a_constraint_is_refused_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(SPREAD)
    # What a preset of another package starts from fits the task; the constraint it adds does not.
    own = Preset(
        name="own-lag",
        family="on-policy",
        summary="-",
        base="happo",
        settings={"constraint": "lagrangian"},
    )
    monkeypatch.setattr(registry, "_sorted_presets", lambda: {**registry._PRESETS, own.name: own})
    how: dict[str, Any] = {"steps": 10, "seeds": [0]}
    with pytest.raises(ConfigError, match="leave this setting out"):
        request("hasac", task, {"constraint": "lagrangian"}, **how)
    with pytest.raises(ConfigError, match="own-lag enforces a cost limit"):
        request("own-lag", task, {}, **how)
    with pytest.raises(ConfigError, match=r"sac-lag does not train on .*: it trains on "):
        request("sac-lag", task, {}, **how)


def test_a_request_is_checked_before_anything_is_built() -> None:
    task = make_task(SPREAD)
    for words, more in (
        ("no device 'tpu'; choose cpu or cuda", {"device": "tpu"}),
        ("trains one seed at a time", {"seeds": [0, 1]}),
        ("must be at least 1, got 0", {"steps": 0}),
        ("happo has no input 'teacher'", {"inputs": {"teacher": Path("x")}}),
    ):
        with pytest.raises(PkubenchError, match=words):
            request("happo", task, {}, **{"steps": 10, "seeds": [0], **more})
    with pytest.raises(ConfigError, match="is not trained"):
        request("random", task, {}, steps=10, seeds=[0])
    nothing = dataclasses.replace(task.protocol, budget={})
    endless = dataclasses.replace(task, protocol=nothing)
    with pytest.raises(ConfigError, match="give a number of steps"):
        request("happo", endless, {}, steps=None, seeds=[0])
    kuhn = make_task("KuhnPoker-v0")
    assert request("cfr+", kuhn, {"iterations": "7"}, steps=None, seeds=[0]).total == 7


def test_a_command_says_what_is_not_usual() -> None:
    task = make_task(SPREAD)
    asked = request("happo", task, {"gamma": "0.9"}, steps=10, seeds=[2])
    usual = "pkubench train happo pkubench/SimpleSpreadContinuous-v0 --steps 10 --seed 2"
    assert asked.command() == f"{usual} --set gamma=0.9 --validate 0"
    asked = dataclasses.replace(asked, validation=validation_for(task))
    assert asked.command() == f"{usual} --set gamma=0.9"
    best = validation_for(task, points=30, keep="best")
    asked = dataclasses.replace(asked, settings={}, validation=best)
    flags = "--validate 30 --validation-episodes 8 --window 15 --keep best"
    assert asked.command() == f"{usual} {flags}"
