"""``--data``: resolved before training, its hash part of the run, gradient steps as the unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pkubench
from pkubench.agents.saved.files import load_saved
from pkubench.cli.main import main
from pkubench.data import minari_files
from pkubench.data.minari_files import write
from pkubench.errors import ConfigError, DataError
from tests.offline.toys import ACTION, ID, SEEN, TASK, corridor
from tests.training.toys import toys

__all__ = ["toys"]
pytest.importorskip("minari")
pytestmark = pytest.mark.usefixtures("toys")
SHORT = "RiskyCorridor-v0"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(minari_files.ROOT_VARIABLE, str(tmp_path / "sets"))
    return write(corridor(), SEEN, ACTION, card={})


def train(out: Path, **more: object) -> pkubench.training.api.Trained:
    settings = {"steps": 20, "seed": 3, "validate": 0, "out": out, "inputs": {"data": ID}}
    return pkubench.train("toy-data", SHORT, **{**settings, **more})


def test_a_learner_gets_the_episodes_and_the_run_their_hash(data: Path, tmp_path: Path):
    done = train(tmp_path / "run")
    saved = load_saved(done.folder)
    assert saved.config["inputs"] == {"data": corridor().sha256}
    assert (saved.config["gradient_steps"], saved.config["total_steps"]) == (20, 20)
    np.testing.assert_allclose(saved.tensors["weight"], 20 * 1.5 / 5)
    assert done.steps == 20
    command = json.loads((tmp_path / "run" / "training.json").read_text())["command"]
    assert f"--data {ID}" in command and "--steps 20" in command


def test_a_run_is_not_resumed_on_other_data(data: Path, tmp_path: Path):
    def stop(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", on_progress=stop)
    write(corridor().select([0]), SEEN, ACTION, card={})
    with pytest.raises(ConfigError, match="other settings: data="):
        train(tmp_path / "run", resume=True)
    write(corridor(), SEEN, ACTION, card={})
    assert train(tmp_path / "run", resume=True).steps == 20


def test_the_command_line_names_data(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    words = ["train", "toy-data", SHORT, "--validate", "0", "--steps", "20", "--json"]
    assert main([*words, "--data", ID, "--out", str(tmp_path / "run")]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][0]["steps"] == 20
    for flags, message in (
        ((), "toy-data needs the input 'data' (--data PATH): recorded episodes"),
        (("--data", "pkubench/none-v0"), "no data set 'pkubench/none-v0'"),
        (("--data", ID, "--input", f"data={ID}"), "data is given twice"),
    ):
        assert main([*words, *flags, "--out", str(tmp_path / "other")]) == 2
        err = capfd.readouterr().err
        assert message in err and len(err.splitlines()) == 1
    assert not (tmp_path / "other").exists()


def test_data_of_another_task_stops_before_anything_is_written(data: Path, tmp_path: Path):
    with pytest.raises(DataError, match=f"{ID} is a data set of {TASK}, not of"):
        pkubench.train(
            "toy-data", "SpeedLimit-v0", steps=5, out=tmp_path / "x", inputs={"data": ID}
        )
    assert not (tmp_path / "x").exists()
