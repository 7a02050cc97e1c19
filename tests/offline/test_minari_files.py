"""Files in Minari's format: ours as Minari reads them, Minari's as we do, and damaged ones."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.data import minari_files
from pkubench.data.episodes import EpisodesBuilder
from pkubench.data.minari_files import read, write
from pkubench.data.sources import episodes_for, withheld
from pkubench.envs.core.registry import make_batch
from pkubench.errors import DataError
from pkubench.tasks.registry import make_task
from tests.offline.toys import ACTION, ID, SEEN, TASK, corridor

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(minari_files.ROOT_VARIABLE, str(tmp_path))


@pytest.fixture
def written() -> Path:
    return write(corridor(), SEEN, ACTION, card={"summary": "two walks"})


def test_minari_reads_what_is_written(written: Path):
    dataset = minari.load_dataset(ID)
    assert (dataset.total_episodes, dataset.total_steps) == (2, 5)
    assert dataset.observation_space == SEEN and dataset.action_space == ACTION
    assert dataset.spec.env_spec.id == TASK
    first, second = dataset.iterate_episodes()
    assert first.observations.shape == (4, 21)
    assert first.observations.argmax(axis=1).tolist() == [0, 1, 2, 5]
    assert first.actions.tolist() == [1, 1, 2]
    assert first.rewards.tolist() == [-0.1, -0.1, 1.9]
    assert first.infos["cost"].tolist() == [0, 0, 0, 10]
    assert (first.terminations.tolist(), first.truncations.any()) == ([False, False, True], False)
    assert (second.terminations.any(), second.truncations.tolist()) == (False, [False, True])
    assert "two walks" in (written / "data" / "metadata.json").read_text()


def test_a_data_set_is_the_same_after_writing_and_reading(written: Path):
    for source in (ID, str(written), str(written / "data")):
        assert read(source).sha256 == corridor().sha256
    again = write(corridor().select([0]), SEEN, ACTION, card={})
    assert again == written and len(read(ID)) == 1  # it replaces what was there


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_data_sets_that_minari_writes_are_read(data_format: str):
    if data_format == "arrow":
        pytest.importorskip("pyarrow")
    from minari.data_collector import EpisodeBuffer

    buffer = [
        EpisodeBuffer(
            observations=np.ones((3, 21), np.float32),
            actions=np.array([0, 1]),
            rewards=[1.0, 2.0],
            terminations=[False, False],
            truncations=[False, True],
        )
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "other/walk-v0",
            buffer,
            observation_space=SEEN,
            action_space=ACTION,
            data_format=data_format,
        )
    episodes = episodes_for("other/walk-v0", make_task(TASK))
    assert (episodes.task, episodes.returns.tolist(), episodes.costs) == ("", [3.0], None)
    assert episodes.terminated.tolist() == [False]


def _without_rewards(file) -> None:
    del file["episode_1/rewards"]


def _with_nan(file) -> None:
    file["episode_1/rewards"][1] = np.nan


def _changed(file) -> None:
    file["episode_1/rewards"][1] = 7.0


def _empty_episode(file) -> None:
    for name, length in (("observations", 1), ("actions", 0), ("rewards", 0)):
        kept = file[f"episode_1/{name}"][:length]
        del file[f"episode_1/{name}"]
        file[f"episode_1/{name}"] = kept
    del file["episode_1/infos/cost"]
    file["episode_1/infos/cost"] = np.zeros(1)
    for name in ("terminations", "truncations"):
        del file[f"episode_1/{name}"]
        file[f"episode_1/{name}"] = np.zeros(0, dtype=bool)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_rewards, f"{ID} has no rewards"),
        (_with_nan, f"{ID}: NaN or infinite rewards in episode 1"),
        (_changed, f"{ID} is damaged: its content does not have the hash"),
        (_empty_episode, f"{ID}: episode 1 has length 0"),
    ],
)
def test_a_damaged_data_set_is_one_line(written: Path, damage, message: str):
    with h5py.File(written / "data" / "main_data.hdf5", "a") as file:
        damage(file)
    with pytest.raises(DataError, match=message) as caught:
        read(ID)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_is_not_there_or_cut_off(written: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"no data set 'pkubench/RiskyCorridor/tow-v0': neither"):
        read("pkubench/RiskyCorridor/tow-v0")
    with pytest.raises(DataError, match=r"is not a data set: it has no data/metadata\.json"):
        read(str(tmp_path))
    data = written / "data"
    whole = (data / "main_data.hdf5").read_bytes()
    (data / "main_data.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{ID} cannot be read"):
        read(ID)
    (data / "metadata.json").write_text("{")
    with pytest.raises(DataError, match=r"metadata.json cannot be read"):
        read(ID)


def test_a_data_set_of_another_task_is_refused(written: Path):
    assert episodes_for(ID, make_task(TASK)).sha256 == corridor().sha256
    with pytest.raises(DataError, match=f"{ID} is a data set of {TASK}, not of pkubench/SpeedL"):
        episodes_for(ID, make_task("SpeedLimit-v0"))
    facts = json.loads((written / "data" / "metadata.json").read_text())
    facts["task"] = ""
    (written / "data" / "metadata.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="is damaged"):  # the task is part of the content
        read(ID)
    del facts["episodes_sha256"]
    (written / "data" / "metadata.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"its observations are \(21,\) float32, and those of the"):
        episodes_for(ID, make_task("SpeedLimit-v0"))
    with pytest.raises(DataError, match="has the agents"):
        episodes_for(ID, make_task("SimpleSpread-v0"))


def test_no_code_that_a_data_set_names_is_run(written: Path, tmp_path: Path):
    path, trace = written / "data" / "metadata.json", tmp_path / "trace"
    facts = json.loads(path.read_text())
    spec = {"id": "a/B-v0", "entry_point": "os:mkdir", "kwargs": {"path": str(trace)}}
    facts["env_spec"] = json.dumps({**json.loads(facts["env_spec"]), **spec})
    for space in ("observation_space", "action_space"):
        path.write_text(json.dumps({k: v for k, v in facts.items() if k != space}))
        with pytest.raises(DataError, match=f"{ID} does not say what its spaces are"):
            read(ID)
    path.write_text(json.dumps({**facts, "agents": 3}))
    with pytest.raises(DataError, match="agents in the metadata must be a list of names, got 3"):
        read(ID)
    path.write_text(json.dumps({**facts, "observation_space": '{"type": "Graph"}'}))
    with pytest.raises(DataError, match=f"{ID} cannot be read"):
        read(ID)
    assert not trace.exists()


def test_an_observation_of_several_parts_is_refused(tmp_path: Path):
    write(corridor(), SEEN, ACTION, card={})
    shutil.copytree(tmp_path / ID, tmp_path / "parts")
    with h5py.File(tmp_path / "parts" / "data" / "main_data.hdf5", "a") as file:
        for number in (0, 1):
            kept = file[f"episode_{number}/observations"][:]
            del file[f"episode_{number}/observations"]
            file[f"episode_{number}/observations/a"] = kept
    path = tmp_path / "parts" / "data" / "metadata.json"
    facts = json.loads(path.read_text())
    from minari.serialization import serialize_space

    facts["observation_space"] = serialize_space(spaces.Dict({"a": SEEN}))
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"has observations of several parts \(dict\)"):
        read(str(tmp_path / "parts"))


def test_rewards_are_withheld_as_the_environment_withholds_them(written: Path):
    task = make_task(f"{TASK}+delay=2")
    assert episodes_for(ID, task).rewards.tolist() == [0, -0.2, 1.9, 0, -0.2]
    assert withheld(corridor(), 1).rewards.tolist() == corridor().rewards.tolist()
    late = withheld(corridor(), "episode").rewards
    np.testing.assert_allclose(late, [0, 0, 1.7, 0, -0.2], rtol=1e-15)


@pytest.mark.parametrize("delay", [1, 3, 20, "episode"])
def test_the_environment_with_the_delay_pays_the_same(delay: int | str):
    actions = np.random.default_rng(1).integers(0, 3, 30)
    rewards = {}
    for setting in (None, delay):
        env = make_batch(TASK, 1, max_episode_steps=30, delay=setting)
        env.reset(np.array([5]))
        rewards[setting] = []
        for action in actions:
            step = env.step({"agent": np.array([action])})
            rewards[setting].append(step.rewards[0, 0])
            if step.terminated[0] or step.truncated[0]:
                break
    builder = EpisodesBuilder()
    steps = len(rewards[None])
    builder.add(np.zeros((steps + 1, 1)), actions[:steps], rewards[None], True)
    found = withheld(builder.build(), delay).rewards
    np.testing.assert_allclose(found, rewards[delay], rtol=1e-12)
