"""Bundles: deterministic, complete, and read without trust."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.errors import BundleError, RecordError, StorageError
from pkubench.leaderboard import create_bundle, read_bundle
from pkubench.leaderboard.submissions.archive import Limits
from pkubench.leaderboard.submissions.weights import check_weights
from tests.leaderboard.writing import Writer, bind, spread_scores

TASK = "SimpleSpread-v0"
EPISODES = f"records/{TASK}/seed0/episodes.jsonl"
REPORT = f"records/{TASK}/report.json"
WEIGHTS = f"weights/{TASK}/seed0/weights.safetensors"

Edit = Callable[[dict[str, bytes]], None]


@pytest.fixture
def bundle_path(tmp_path: Path, results: Writer) -> Path:
    agent = results("tuned", TASK, spread_scores(-38.0, runs=2, episodes=8))
    return create_bundle(agent, tmp_path / "a.zip", weights=tmp_path / "weights").path


def rewritten(path: Path, edit: Edit, *, rehash: bool = True) -> Path:
    """Return a copy of a bundle with members changed, its manifest's hashes put right or not."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    if rehash:
        manifest = json.loads(members["manifest.json"])
        for name in manifest["members"].keys() & members.keys():
            data = members[name]
            digest = hashlib.sha256(data).hexdigest()
            manifest["members"][name] = {"sha256": digest, "bytes": len(data)}
        with contextlib.suppress(KeyError, TypeError, IndexError):  # what is refused before
            bind(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()
    out = path.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def with_manifest(change: Callable[[dict[str, Any]], None]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        with contextlib.suppress(KeyError, TypeError, IndexError):  # what is refused before
            bind(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return edit


def replaced(name: str, old: bytes, new: bytes) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return edit


def test_the_same_results_give_the_same_bytes(tmp_path: Path, results: Writer) -> None:
    agent = results("tuned", TASK, spread_scores(-38.0, runs=2, episodes=8))
    first = create_bundle(agent, tmp_path / "a.zip", weights=tmp_path / "weights")
    second = create_bundle(agent, tmp_path / "b" / "c.zip", weights=tmp_path / "weights")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.digest == second.digest


def test_a_bundle_holds_weights_records_and_what_the_config_tells(bundle_path: Path) -> None:
    bundle = read_bundle(bundle_path)
    (task,) = bundle.tasks
    assert bundle.manifest.kind == "saved"
    assert [run.name for run in task.runs] == ["seed0", "seed1"]
    assert [run.entry.training["seed"] for run in task.runs] == [0, 1]
    assert task.runs[1].entry.training["steps"] == 1000
    assert task.runs[1].entry.training["command"] == (
        "pkubench train tuned SimpleSpread-v0 --seed 1"
    )
    with zipfile.ZipFile(bundle_path) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert WEIGHTS in names
    assert f"weights/{TASK}/seed0/training.jsonl" in names


def test_records_of_two_agents_are_refused(tmp_path: Path, results: Writer) -> None:
    results("one", TASK, spread_scores(-38.0, runs=1, episodes=4))
    results("two", "SimpleReference-v0", spread_scores(-38.0, runs=1, episodes=4))
    with pytest.raises(BundleError, match="2 agents"):
        create_bundle(tmp_path / "results", tmp_path / "a.zip", include_weights=False)


def test_a_folder_without_records_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="pkubench evaluate"):
        create_bundle(tmp_path, tmp_path / "a.zip")


def test_an_agent_with_further_files_is_not_submitted_without_them(
    tmp_path: Path, results: Writer
) -> None:
    folder = results("mine", TASK, spread_scores(-38.0, runs=1, episodes=4))
    (info,) = folder.rglob("run.json")
    facts = json.loads(info.read_text())
    facts["hashes"]["vocab.txt"] = "0" * 64
    info.write_text(json.dumps(facts))
    with pytest.raises(BundleError, match=r"needs vocab.txt besides its weights.*--no-weights"):
        create_bundle(folder, tmp_path / "x.zip", weights=tmp_path / "weights")
    assert not (tmp_path / "x.zip").exists()


def test_weights_that_were_not_evaluated_do_not_get_in(tmp_path: Path, results: Writer) -> None:
    agent = results("tuned", TASK, spread_scores(-38.0, runs=1, episodes=4))
    weights = tmp_path / "weights" / "tuned" / TASK / "seed0" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="not where they were looked for"):
        create_bundle(agent, tmp_path / "a.zip", weights=tmp_path / "weights")
    left_out = create_bundle(agent, tmp_path / "a.zip", include_weights=False)
    assert left_out.tasks[0].runs[0].entry.weights == ()


def test_a_truncated_record_file_is_refused_before_anything_is_packed(
    tmp_path: Path, results: Writer
) -> None:
    agent = results("tuned", TASK, spread_scores(-38.0, runs=1, episodes=4))
    episodes = agent / TASK / "seed0" / "episodes.jsonl"
    episodes.write_bytes(episodes.read_bytes()[:-20])
    with pytest.raises((BundleError, RecordError), match="torn"):
        create_bundle(agent, tmp_path / "a.zip", weights=tmp_path / "weights")


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"not a zip at all")
    with pytest.raises(BundleError, match="not a zip"):
        read_bundle(tmp_path / "a.zip")
    with pytest.raises(StorageError, match="cannot read"):
        read_bundle(tmp_path / "missing.zip")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_zip_is_refused(bundle_path: Path, share: float) -> None:
    data = bundle_path.read_bytes()
    bundle_path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError):
        read_bundle(bundle_path)


def test_no_flipped_byte_gets_through(bundle_path: Path) -> None:
    data = bundle_path.read_bytes()
    whole = read_bundle(bundle_path)
    rng = np.random.default_rng(0)
    for position in rng.integers(len(data), size=60).tolist():
        bundle_path.write_bytes(
            data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
        )
        try:
            found = read_bundle(bundle_path)
        except BundleError:
            continue
        # Times, modes and such may change; what is read may not.
        assert found.digest == whole.digest
        assert [r.lines for r in found.tasks[0].runs] == [r.lines for r in whole.tasks[0].runs]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.pop("manifest.json"), "no manifest.json"),
        (lambda m: m.pop(EPISODES), "has no records/"),
        (lambda m: m.update({EPISODES: m[EPISODES] + b"\n"}), "SHA-256"),
        (lambda m: m.update({"extra.json": b"{}"}), "not in the manifest"),
        (lambda m: m.update({"run.py": b"print()"}), "never read"),
        (lambda m: m.update({"code/run.pyc": b""}), "never read"),
        (lambda m: m.update({"code/run.py": b"print()"}), "not in the manifest"),
        (lambda m: m.update({"../up.json": b"{}"}), "not an acceptable member name"),
        (lambda m: m.update({"/etc/passwd.json": b"{}"}), "not an acceptable member name"),
        (lambda m: m.update({"a/../../b.json": b"{}"}), "not an acceptable member name"),
        (lambda m: m.update({"a\\b.json": b"{}"}), "not an acceptable member name"),
        (lambda m: m.update({"C:/b.json": b"{}"}), "not an acceptable member name"),
        (lambda m: m.update({"MANIFEST.json": b"{}"}), "twice"),
        (lambda m: m.update({"manifest.json": b"[" * 100_000}), "nested too deeply|not valid JSON"),
        (lambda m: m.update({"manifest.json": b'{"schema": NaN}'}), "not a JSON number"),
        (lambda m: m.update({"manifest.json": b'{"schema": ' + b"9" * 5000 + b"}"}), "digits"),
        (lambda m: m.update({"manifest.json": b"\xff\xfe"}), "not valid JSON"),
        (lambda m: m.update({"manifest.json": b"[]"}), "must be an object"),
    ],
)
def test_a_tampered_archive_is_refused_by_name(bundle_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_bundle(rewritten(bundle_path, edit, rehash=False))


def _first_run(manifest: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = manifest["tasks"][0]["runs"][0]
    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=1), "this release reads 2"),
        (lambda m: m.update(schema=True), "must be a whole number"),
        (lambda m: m.pop("name"), "no 'name'"),
        (lambda m: m.update(name=" "), "name is empty"),
        (lambda m: m.update(name="x" * 81), "81 characters"),
        (lambda m: m.update(name="a\u202eb"), "control characters"),
        (lambda m: m.update(kind="wheel"), "known: named, saved"),
        (lambda m: m.update(kind="code"), "of the kind 'code' has code"),
        (lambda m: m.update(code=[WEIGHTS]), "no other has any"),
        (lambda m: m.update(kind="code", code=[WEIGHTS]), "code is below code/"),
        (lambda m: m.update(code_url="javascript:alert(1)"), "not a web address"),
        (lambda m: m.update(code_url="javascript://host/%0aalert(1)"), "not a web address"),
        (lambda m: m.update(code_url="https:///x"), "not a web address"),
        (lambda m: m.update(tasks=[]), "names no task"),
        (lambda m: m["tasks"].append(m["tasks"][0]), "twice"),
        (lambda m: m["tasks"][0].update(task="pkubench/SimpleSpred-v0"), "SimpleSpread-v0"),
        (lambda m: m["tasks"][0].update(task="SimpleSpread-v0"), "full id"),
        (lambda m: m["tasks"][0].update(task="payoff:/etc/passwd"), "no listed task"),
        (lambda m: m["tasks"][0].update(task="openspiel:chess"), "no listed task"),
        (lambda m: m["tasks"][0].update(runs=[]), "has no run"),
        (lambda m: _first_run(m).update(episodes="nowhere.jsonl"), "no hash"),
        (lambda m: _first_run(m).update(weights="x"), "must be a list"),
        (lambda m: _first_run(m)["training"].update(seed="zero"), "must be a whole number"),
        (lambda m: m["members"].update({WEIGHTS: {"sha256": "00", "bytes": 1}}), "SHA-256"),
        (lambda m: m.update(agent="other"), "says agent"),
    ],
)
def test_a_manifest_off_the_schema_is_refused_by_place(
    bundle_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        read_bundle(rewritten(bundle_path, with_manifest(change), rehash=False))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replaced(REPORT, b'"mean": -', b'"mean": -1'), r"does not follow.*metrics\.return"),
        (replaced(REPORT, b'"failed": 0', b'"failed": 1'), "does not follow"),
        (replaced(REPORT, b'"episodes.jsonl": "', b'"episodes.jsonl": "0'), "does not follow"),
        (replaced(EPISODES, b'"episode": 3', b'"episode": 2'), "removed, repeated or reordered"),
        (replaced(EPISODES, b'"length": 25', b'"length": 1e999'), "not an episode record"),
        (replaced(EPISODES, b'"return": -', b'"return": -1'), "the agents' sum is"),
        (replaced(EPISODES, b'"failure": null', b'"failure": null, "x": 1'), "as the harness"),
        (replaced(EPISODES, b'"seed": ', b'"seed": 1'), "has seed"),
        (
            replaced(f"records/{TASK}/seed0/run.json", b'"horizon": 25', b'"horizon": 5'),
            "says horizon",
        ),
        (
            replaced(f"records/{TASK}/seed0/run.json", b'"seed": 0', b'"seed": 7'),
            "evaluation with seed 7",
        ),
        (
            replaced(f"weights/{TASK}/seed0/config.json", b'"seed": 0', b'"seed": 5'),
            "not the file that was evaluated",
        ),
        (
            replaced(f"weights/{TASK}/seed0/training.jsonl", b"{", b"[{"),
            "training.jsonl:1 is not valid JSON",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(
    bundle_path: Path, edit: Edit, message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        read_bundle(rewritten(bundle_path, edit))


def test_a_removed_last_episode_is_noticed(bundle_path: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        members[EPISODES] = b"".join(members[EPISODES].splitlines(keepends=True)[:-1])

    with pytest.raises(BundleError, match="says episodes"):
        read_bundle(rewritten(bundle_path, edit))


def test_a_symlink_is_refused(bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path, "a") as archive:
        link = zipfile.ZipInfo("link.json")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BundleError, match="a link or a special file"):
        read_bundle(bundle_path)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_occurs_twice_is_refused(bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path, "a") as archive:
        archive.writestr(EPISODES, b"other\n")
    with pytest.raises(BundleError, match="twice"):
        read_bundle(bundle_path)


def test_a_zip_bomb_is_refused_by_what_it_declares(bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b"0" * 3_000_000)
    with pytest.raises(BundleError, match="unpacks to 3000000"):
        read_bundle(bundle_path, Limits(member=1_000_000))
    with pytest.raises(BundleError, match="at most 2000000 are read"):
        read_bundle(bundle_path, Limits(total=2_000_000))
    with pytest.raises(BundleError, match="at most 3 are read"):
        read_bundle(bundle_path, Limits(members=3))


def test_a_zip_bomb_that_lies_about_its_size_is_stopped_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 5_000_000)
    data = path.read_bytes()
    true, lie = struct.pack("<L", 5_000_000), struct.pack("<L", 100)
    assert data.count(true) == 2  # the local and the central header
    path.write_bytes(data.replace(true, lie))
    with pytest.raises(BundleError, match=r"larger than it says|damaged|cut short"):
        read_bundle(path)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"w": [1.0]}, protocol=2),
        pickle.dumps({"w": [1.0]}, protocol=5),
        b"PK\x03\x04" + bytes(40),
        b"",
        b"\x08\x00\x00\x00\x00\x00\x00\x00{}",
        struct.pack("<Q", 2**40) + b"{}",
    ],
)
def test_what_is_no_safetensors_file_is_refused_unread(data: bytes) -> None:
    with pytest.raises(BundleError, match="safetensors"):
        check_weights("w.safetensors", data)


def test_truncated_or_padded_safetensors_are_refused() -> None:
    from safetensors.numpy import save

    data = save({"a": np.arange(6.0), "b": np.zeros((2, 2), np.float32)})
    check_weights("w.safetensors", data)
    for changed in (data[:-1], data + b"\0"):
        with pytest.raises(BundleError):
            check_weights("w.safetensors", changed)


def test_onnx_graphs_with_outside_files_or_foreign_operators_are_refused() -> None:
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def model(node: Any, weight: Any) -> bytes:
        graph = helper.make_graph(
            [node],
            "policy",
            [helper.make_tensor_value_info("x", floats, [1, 2])],
            [helper.make_tensor_value_info("y", floats, [1, 2])],
            [weight],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
        data: bytes = helper.make_model(graph, opset_imports=opsets).SerializeToString()
        return data

    weight = helper.make_tensor("w", floats, [1, 2], [1.0, 2.0])
    add = helper.make_node("Add", ["x", "w"], ["y"])
    check_weights("p.onnx", model(add, weight))
    with pytest.raises(BundleError, match="'evil'"):
        foreign = helper.make_node("Add", ["x", "w"], ["y"], domain="evil")
        check_weights("p.onnx", model(foreign, weight))
    outside = onnx.TensorProto()
    outside.CopyFrom(weight)
    outside.ClearField("float_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../secret")
    with pytest.raises(BundleError):
        check_weights("p.onnx", model(add, outside))
    with pytest.raises(BundleError, match="not a valid ONNX"):
        check_weights("p.onnx", b"\x80\x04 pickle")
