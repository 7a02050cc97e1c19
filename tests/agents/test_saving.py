"""Saved agents survive a round trip; anything damaged or dangerous is named, never loaded."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pkubench.agents.saved.files import CONFIG, WEIGHTS, load_saved, load_tensors, save_agent
from pkubench.agents.saved.runs import CHECKPOINT, CURVE, TRAINING
from pkubench.errors import ConfigError, StorageError, WeightsError

FACTS = {"kind": "on-policy", "agent": "happo", "task": "pkubench/SimpleSpread-v0"}


def _save(folder: Path) -> None:
    save_agent(folder, FACTS, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)})


def test_a_saved_agent_comes_back_bit_for_bit(tmp_path: Path) -> None:
    _save(tmp_path)
    config, tensors, files, _ = load_saved(tmp_path)
    assert files == {}
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert config == {"format": 1, **FACTS, "weights_sha256": digest}
    assert tensors["w"].dtype == np.float32
    assert tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_further_files_are_checked_like_the_weights(tmp_path: Path) -> None:
    files = {"vocab.txt": b"up\ndown\n"}
    save_agent(tmp_path, FACTS, {"w": np.zeros(3)}, files)
    assert load_saved(tmp_path).files == files
    (tmp_path / "vocab.txt").write_bytes(b"down\nup\n")
    with pytest.raises(WeightsError, match=r"vocab.txt is not the file that was saved"):
        load_saved(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"not complete: it has no vocab.txt"):
        load_saved(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../vocab.txt", "a/b", "", ".", "..", "config.json", "/etc/x", CURVE, TRAINING, CHECKPOINT],
)
def test_a_further_file_is_in_the_agents_folder_and_none_of_its_own(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "agent"
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        save_agent(folder, FACTS, {"w": np.zeros(3)}, {name: b"x"})
    assert not folder.exists()
    _save(folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"files": {name: "0" * 64}}))
    with pytest.raises(WeightsError, match="file names without folders"):
        load_saved(folder)


def test_a_changed_byte_that_leaves_finite_numbers_is_named(tmp_path: Path) -> None:
    _save(tmp_path)
    path = tmp_path / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert np.isfinite(load_tensors(path)["w"]).all()
    with pytest.raises(WeightsError, match="not the file that was saved"):
        load_saved(tmp_path)


def test_a_kill_between_weights_and_config_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pkubench.agents.saved.files.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        save_agent(tmp_path, FACTS, {"w": np.zeros(3)})
    with pytest.raises(WeightsError, match="if saving was interrupted"):
        load_saved(tmp_path)


def test_weights_saved_without_a_digest_are_not_checked(tmp_path: Path) -> None:
    _save(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({"format": 1, **FACTS}))
    assert load_saved(tmp_path).tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("count", range(1, 24))
def test_no_header_length_of_safetensors_is_taken_for_a_pickle(tmp_path: Path, count: int) -> None:
    tensors = {f"tensor{k:02d}": np.full(1, k, np.float32) for k in range(count)}
    save_agent(tmp_path, FACTS, tensors)
    assert sorted(load_tensors(tmp_path / WEIGHTS)) == sorted(tensors)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_renamed_safetensors_is_refused_without_being_read(
    tmp_path: Path, protocol: int
) -> None:
    _save(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(pickle.dumps({"w": [1.0]}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"pickle|corrupt"):
        load_saved(tmp_path)


def test_a_torch_archive_is_refused(tmp_path: Path) -> None:
    _save(tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"")
    (tmp_path / WEIGHTS).write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError, match="pickle"):
        load_saved(tmp_path)


@pytest.mark.parametrize("length", [0, 4, 20, -1])
def test_truncated_weights_are_named(tmp_path: Path, length: int) -> None:
    _save(tmp_path)
    path = tmp_path / WEIGHTS
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WeightsError, match="corrupt or truncated"):
        load_saved(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 1}), "\xff"])
def test_a_damaged_config_is_named(tmp_path: Path, text: str) -> None:
    _save(tmp_path)
    (tmp_path / CONFIG).write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=CONFIG):
        load_saved(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    _save(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps({"format": 99, **FACTS}))
    with pytest.raises(WeightsError, match="format 99"):
        load_saved(tmp_path)


def test_a_folder_without_weights_is_not_an_agent(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not a saved agent"):
        load_saved(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path)
    before = (tmp_path / WEIGHTS).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save_agent(tmp_path, FACTS, {"w": np.zeros(3)})
    assert (tmp_path / WEIGHTS).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
