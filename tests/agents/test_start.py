"""A run that starts from another: its networks to the bit, and errors that say what differs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.saved.files import load_extra, load_saved
from pkubench.errors import ConfigError
from pkubench.training.session import train
from tests.agents.toy_envs import SharingEnv, SpeedEnv, task_of

SMALL = {
    "num_envs": "8",
    "rollout_steps": "8",
    "hidden": "[16]",
    "epochs": "2",
    "critic_epochs": "2",
    "minibatches": "2",
    "observation_norm": "false",
}
STILL = {"actor_lr": "1e-12", "critic_lr": "1e-12"}
"""Rates at which nothing changes in single precision."""


def run(out: Path, seed: int = 0, **changes: Any) -> Path:
    task, more = changes.pop("task", task_of(SpeedEnv)), {}
    if "start" in changes:
        more["inputs"] = {"start": changes.pop("start")}
    settings = {**SMALL, **changes}
    list(train("ppo", task, seed=seed, out=out, steps=192, settings=settings, **more))
    return out


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run, one that starts from it, and one that starts from that and stays."""
    folder = tmp_path_factory.mktemp("chain")
    first = run(folder / "first")
    second = run(folder / "second", seed=1, start=first)
    return first, second, run(folder / "third", seed=2, start=second, **STILL)


def test_a_run_begins_with_the_actors_and_critics_of_another(
    chain: tuple[Path, Path, Path],
) -> None:
    first, second, third = (load_saved(folder).tensors for folder in chain)
    assert first.keys() == second.keys() == third.keys()
    for name, tensor in second.items():
        assert third[name] == pytest.approx(tensor, abs=1e-6)
    moved = max(float(np.abs(second[name] - first[name]).max()) for name in first)
    assert 1e-4 < moved < 0.2  # trained further, and not from scratch
    critics = [load_extra(folder, "critics") for folder in chain[1:]]
    for name, tensor in critics[0].items():
        if not name.endswith(".norm"):  # of returns, which are counted on
            assert critics[1][name] == pytest.approx(tensor, abs=1e-6)
    assert load_saved(chain[1]).config["inputs"] == {
        "start": load_saved(chain[0]).config["weights_sha256"]
    }


def test_a_run_from_scratch_keeps_no_critics_and_both_act(chain: tuple[Path, Path, Path]) -> None:
    assert not (chain[0] / "critics.safetensors").exists()
    assert (chain[1] / "critics.safetensors").exists()
    for folder in chain[:2]:
        assert load_agent(str(folder), task_of(SpeedEnv)) is not None


def test_what_does_not_fit_is_said_in_one_line(
    chain: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    for changes, words in (
        ({"hidden": "[32]"}, "networks of another shape"),
        ({"observation_norm": "true"}, "observation_norm=false"),
        ({"std": "sigmoid"}, "was trained with std=log"),
        ({"value_norm": "false"}, "critics trained with value_norm=true"),
        ({"task": task_of(SharingEnv)}, "has no actors of"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(tmp_path / "x", start=chain[1], **changes)
    lone = tmp_path / "lone"
    shutil.copytree(chain[1], lone)
    (lone / "critics.safetensors").unlink()
    assert run(tmp_path / "y", start=lone, **STILL).is_dir()  # critics begin from scratch
