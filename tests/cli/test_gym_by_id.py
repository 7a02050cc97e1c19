"""An environment of an installed package is trained, scored and verified, with two limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

KEYS = ("--cost-key=-distance_penalty:3", "--cost-key", "-velocity_penalty", "--cost-limit", "1")
NAME = "gym:InvertedDoublePendulum-v5(cost=-distance_penalty:3,cost=-velocity_penalty:1)"


def test_two_limits_from_training_to_verified_records(pkubench: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("mujoco")
    run, out = tmp_path / "run", tmp_path / "results"
    flags = ["--steps", "512", "--set", "rollout_steps=32", "--validate", "0", "--out", str(run)]
    pkubench("train", "ppo-lag", "gym:InvertedDoublePendulum-v5", *KEYS, *flags)
    training = json.loads((run / "training.json").read_text())
    assert training["task"] == NAME
    last = json.loads((run / "training.jsonl").read_text().splitlines()[-1])
    assert {f"multiplier.cost.-{key}_penalty" for key in ("distance", "velocity")} <= set(last)
    pkubench("evaluate", str(run), "--episodes", "16", "--out", str(out))
    (lines,) = out.rglob("episodes.jsonl")
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(records) == 16
    # the reward of a step is 10 alive, less both penalties, and 0 alive in the last one
    for record in records:
        penalties = record["cost"] + record["metrics"]["total_cost.-velocity_penalty"]
        alive = 10.0 * (record["length"] - 1)
        assert record["return"] == pytest.approx(alive - penalties, abs=1e-9)
    pkubench("verify", str(out), "--rerun", "16")
