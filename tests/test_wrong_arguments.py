"""Arguments that a newcomer gets wrong, from Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pkubench
from pkubench.cli.main import main
from pkubench.envs.core.registry import EnvSpec, register_environment
from pkubench.errors import ConfigError, PkubenchError, StorageError

WEIGHTS = Path(pkubench.__file__).parent / "weights/ppo"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "1000"}, "steps must be a whole number"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"validate": 2.5}, "validate must be a whole number"),
        ({"settings": ["gamma"]}, "settings must be a mapping"),
        ({"agent": 5}, "agent must be the name of a preset"),
        ({"out": 5}, "out must be a path"),
        ({"settings": {"num_envs": 10**9}}, "reduce num_envs or rollout_steps"),
        ({"inputs": {"teacher": "x"}}, "happo has no input 'teacher'; it takes start"),
        (
            {"settings": {"memory": "gru", "memory.kp": 1}},
            "no setting 'memory.kp'; it has memory.units",
        ),
        ({"track": "nowhere"}, "no tracker 'nowhere'"),
    ],
)
def test_training_refuses_arguments_of_another_kind(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arguments = {"agent": "happo", "task": "SimpleSpread-v0", "out": tmp_path / "run", **given}
    with pytest.raises(PkubenchError, match=message):
        pkubench.train(**arguments)
    assert not (tmp_path / "run").exists()


def test_tasks_that_are_computed_are_not_validated() -> None:
    with pytest.raises(ConfigError, match="so nothing is validated"):
        pkubench.train("cfr", "KuhnPoker-v0", steps=2, validate=3)


def test_a_resumed_run_says_which_settings_of_validation_differ(tmp_path: Path) -> None:
    def train(**how: Any) -> None:
        pkubench.train(
            "happo",
            "SimpleSpread-v0",
            steps=200,
            settings={"num_envs": 4, "rollout_steps": 25, "hidden": [8]},
            out=tmp_path / "run",
            **how,
        )

    train(validate=2, validation_episodes=2)
    for how, message in (
        ({"validate": 1, "validation_episodes": 2}, "other settings of validation: points=2, not"),
        ({"validate": 0}, "a run with a validation; .*--validate 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(resume=True, **how)
    blocked = tmp_path / "blocked"
    (blocked).mkdir()
    (blocked / "training.json").write_text((tmp_path / "run/training.json").read_text())
    (blocked / "checkpoint").write_text("a file")
    with pytest.raises(StorageError, match="checkpoint is a file"):
        pkubench.train("happo", "SimpleSpread-v0", out=blocked, resume=True)


def test_an_environments_id_needs_a_version() -> None:
    with pytest.raises(ConfigError, match="namespace/Name-vN"):
        register_environment(EnvSpec(id="mine/Maze", entry_point="mine:Maze", horizon=5))


def test_agents_are_given_by_path_and_act_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(iter(sorted(WEIGHTS.glob("*/seed0"))))
    task = folder.parent.name
    assert pkubench.load_agent(folder, task)
    with pytest.raises(ConfigError, match="named by text or a path"):
        pkubench.load_agent(5)  # type: ignore[arg-type]
    report = pkubench.evaluate(
        folder, task, episodes=1, act={"mode": "sampled"}, workers=0, out=tmp_path / "results"
    )
    assert report.agent == "seed0+mode=sampled"
    pkubench.evaluate("random", task, episodes=1, workers=0, out=tmp_path / "results")
    arguments = ["leaderboard", "show", "--results", str(tmp_path / "results"), "--json"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    (shown,) = json.loads(out)["tasks"]
    assert [entry["name"] for entry in shown["standings"]] == ["random"]
    assert "left out: it was evaluated with mode=sampled" in err
    words = ["evaluate", str(folder), task, "--episodes", "1", "--act", "mode=sampled"]
    assert main([*words, "--out", str(tmp_path / "more")]) == 0
    assert "cannot be submitted" in capsys.readouterr().err


def test_a_component_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gru", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    wanted = {"units": 64, "chunk": None, "output_norm": False}
    assert shown["components"] == {"memory": wanted}
    assert main(["show", "gru"]) == 0
    assert "memory.units" in capsys.readouterr().out
