"""The in-run memory: returns of episodes, writes, quotas, shuffled values, and banks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.families.retrieval.bank import make_bank, read_bank
from pkubench.agents.families.retrieval.episodes import EpisodeRecorder, Experience, Steps
from pkubench.agents.families.retrieval.networks import GridEncoder
from pkubench.agents.families.retrieval.retrievers import AttentionRetriever
from pkubench.agents.families.retrieval.slots import Slots
from pkubench.errors import ConfigError, DataError
from pkubench.tasks.registry import make_task
from tests.agents.retrieval_parts import training

ENCODER = GridEncoder(normalise=True)


def steps(ends: list[list[float | None]], *, start: int = 0, first: list[bool]) -> Steps:
    """Return steps of one environment a list: None goes on, a number ends with that reward."""
    rows = np.array([[x is not None for x in of] for of in ends]).T
    count, envs = rows.shape
    begins = np.zeros_like(rows)
    begins[0], begins[1:] = first, rows[:-1]
    images = np.zeros((count, envs, 7, 7, 3), np.uint8)
    images[..., 0, 0, 0] = start + np.arange(count)[:, None]
    values = images[..., 0, 0, 0].astype(np.float32) / 10
    rewards = np.array([[x or 0.0 for x in of] for of in ends], np.float32).T
    tasks = np.broadcast_to(np.arange(envs), rows.shape).copy()
    return Steps(images, tasks, values, rewards, begins, rows)


def experience(tasks: list[int], returns: list[float]) -> Experience:
    count = len(tasks)
    images = np.zeros((count, 7, 7, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    values = np.full(count, 0.25, np.float32)
    numbers = np.arange(count) + 10
    return Experience(images, np.array(tasks), np.array(returns, np.float32), values, numbers)


def slots(tasks: int = 2, seed: int = 0, **settings: Any) -> Slots:
    made = AttentionRetriever(**{"slots": 6, **settings})
    return Slots(made, tasks, torch.Generator().manual_seed(seed))


def test_returns_of_an_episode_by_hand() -> None:
    recorder = EpisodeRecorder(1, 0.99)
    found, _ = recorder.add(steps([[None] * 4 + [0.9]], first=[True]))
    assert found.returns == pytest.approx([0.9 * 0.99**k for k in (4, 3, 2, 1, 0)])
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    found, _ = recorder.add(steps([[None, None, 0.0]], first=[True]))  # truncated: nothing earned
    assert found.returns.tolist() == [0.0, 0.0, 0.0]


def test_episodes_go_on_across_rollouts_and_have_numbers_of_their_own() -> None:
    recorder = EpisodeRecorder(2, 0.5)
    none, numbers = recorder.add(steps([[None, None, None], [1.0, None, None]], first=[True, True]))
    assert numbers.T.tolist() == [[0, 0, 0], [1, 2, 2]]
    assert none.returns.tolist() == [1.0] and none.tasks.tolist() == [1]
    saved = recorder.state()
    found, numbers = recorder.add(
        steps([[1.0, None, None], [None, 1.0, 1.0]], start=3, first=[False, False])
    )
    assert numbers.T.tolist() == [[0, 3, 3], [2, 2, 4]]
    assert found.returns.tolist() == [0.125, 0.25, 0.5, 1.0, 0.125, 0.25, 0.5, 1.0, 1.0]
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 1, 2, 3, 4, 5]
    assert found.values == pytest.approx([0, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.tasks.tolist() == [0] * 4 + [1] * 5
    assert found.episodes.tolist() == [0] * 4 + [2] * 4 + [4]
    again = EpisodeRecorder(2, 0.5)
    again.load_state(saved)
    other, _ = again.add(
        steps([[1.0, None, None], [None, 1.0, 1.0]], start=3, first=[False, False])
    )
    assert all((a == b).all() for a, b in zip(found, other, strict=True))


def test_centring_replaces_the_mean_return_by_the_mean_value_of_all_tasks_together() -> None:
    given = experience([0, 0, 1], [1.0, 0.5, 0.0])
    made = slots(centring="rollout")
    made.write(given)
    wanted = {0: 0.75, 1: 0.25, 2: -0.25}  # G - 0.5 + 0.25
    for image, value in zip(made.images[made.filled], made.values[made.filled], strict=True):
        assert value == pytest.approx(wanted[int(image[0, 0, 0])])
    made = slots()
    made.write(given)
    assert set(made.values[made.filled].tolist()) <= {1.0, 0.5, 0.0}


def test_each_task_writes_to_its_own_slots_over_the_oldest() -> None:
    made = slots()
    made.write(experience([1], [0.5]))
    assert made.filled.tolist() == [False] * 3 + [True, False, False]
    made.write(experience([1] * 50 + [0], [0.25] * 50 + [1.0]))
    assert made.filled.tolist() == [True, False, False] + [True] * 3
    assert made.values.tolist() == [1.0, 0, 0, 0.25, 0.25, 0.25]
    assert made.tasks[3:].tolist() == [1, 1, 1] and made.pointers.tolist() == [1, 1]
    assert 10 <= made.episodes[3] < 60 and made.episodes[0] == 60
    with pytest.raises(ConfigError, match="one a task"):
        slots(tasks=7)


def test_without_a_quota_any_task_overwrites_the_oldest() -> None:
    made = slots(quota=False)
    made.write(experience([0] * 4, [1.0] * 4))
    made.write(experience([1] * 3, [2.0] * 3))
    assert made.tasks.tolist() == [1, 0, 0, 0, 1, 1] and made.pointers.tolist() == [1]
    made.write(experience([1] * 9, [3.0] * 9))
    assert made.values.tolist() == [3.0] * 6


def test_writes_draw_with_replacement() -> None:
    made = slots(quota=False, slots=40)
    made.write(experience([0] * 40, [0.0] * 40))
    assert made.filled.all() and len(set(made.images[:, 0, 0, 0].tolist())) < 40


def test_the_control_shuffles_values_among_slots_and_nothing_else() -> None:
    given = experience([0, 1] * 20, np.linspace(0, 1, 40).tolist())
    true, shuffled = (slots(slots=20, shuffled=flag) for flag in (False, True))
    for made in (true, shuffled):
        made.write(given)
    assert (true.images == shuffled.images).all() and (true.values == shuffled.values).all()
    a, b = (made.contents(ENCODER) for made in (true, shuffled))
    assert a is not None and b is not None
    assert sorted(a.values.tolist()) == sorted(b.values.tolist())
    assert (a.values != b.values).sum() > 10
    for name in ("patches", "tasks", "episodes", "keys"):
        assert (getattr(a, name) == getattr(b, name)).all()
    before = shuffled.shown.copy()
    shuffled.write(experience([0], [5.0]))
    assert 5.0 in shuffled.shown and 5.0 not in before


def test_random_keys_are_drawn_for_each_write() -> None:
    made = slots()
    made.write(experience([0, 1], [0.0, 1.0]))
    before = made.keys.copy()
    made.write(experience([0], [0.0]))
    assert (before[3] == made.keys[3]).all() and not before[1].any() and made.keys[1].any()
    assert 0.7 < made.keys[3].std() < 1.3


def test_an_empty_memory_says_nothing() -> None:
    assert slots().contents(ENCODER) is None


def test_a_bank_fills_slots_of_each_task_without_repetition() -> None:
    states = np.zeros((9, 7, 7, 3), np.uint8)
    states[:, 0, 0, 0] = np.arange(9)
    bank = make_bank(states, np.arange(9.0), np.array([1] * 8 + [0]))
    made = slots()
    made.fill(bank)
    assert made.filled.tolist() == [True, False, False, True, True, True]
    assert (made.images[made.filled][:, 0, 0, 0] == made.values[made.filled]).all()
    chosen = made.values[3:].tolist()
    assert made.values[0] == 8.0 and len(set(chosen)) == 3 and max(chosen) < 8
    made.fill(bank)
    assert made.values[3:].tolist() != chosen  # another draw
    made.fill(make_bank(states[:3], np.arange(3.0), np.array([1] * 3)))
    assert made.filled.tolist() == [False] * 3 + [True] * 3  # nothing is left of the draw before
    assert sorted(made.values[3:].tolist()) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("states", np.zeros((2, 7, 7, 4), np.uint8)),
        ("states", np.zeros((2, 7, 7, 3))),
        ("states", np.full((2, 7, 7, 3), 256, np.uint16)),
        ("values", np.array([0.0, np.nan])),
        ("values", np.zeros(3)),
        ("tasks", np.array([0, -1])),
        ("tasks", np.zeros(2)),
    ],
)
def test_a_bank_of_another_form_is_refused(name: str, array: Any, tmp_path: Path) -> None:
    good = {"states": np.zeros((2, 7, 7, 3), np.uint8), "values": np.zeros(2), "tasks": [0, 0]}
    path, task = tmp_path / "bank.npz", make_task("MiniGridMT3-v0")
    np.savez(path, **good)  # type: ignore[arg-type]
    assert len(read_bank(str(path), task).sha256) == 64
    np.savez(path, **{**good, name: array})  # type: ignore[arg-type]
    with pytest.raises(DataError):
        read_bank(str(path), task)


def test_a_bank_that_cannot_be_read_or_used_is_refused(tmp_path: Path) -> None:
    path, task = tmp_path / "bank.npz", make_task("MiniGridMT3-v0")

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match):
            read_bank(str(path), task)

    refused("cannot be read: No such file")
    path.write_bytes(b"text")
    refused("not an .npz file")
    np.savez(path, images=np.zeros(3))
    refused("it has no states, values, tasks; .*slots")
    np.savez(path, states=np.zeros((2, 7, 7, 3), np.uint8), values=np.zeros(2), tasks=[0, 0])
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"states.npy") + 150] ^= 1
    path.write_bytes(whole)
    refused("damaged")
    bank = make_bank(np.zeros((1, 7, 7, 3), np.uint8), np.zeros(1), np.array([3]))
    with pytest.raises(ConfigError, match="of task 3"):
        training(inputs={"bank": bank})
    with pytest.raises(ConfigError, match="is for DoorKey-8x8-v0, and this trains on LavaGapS7-v0"):
        training(inputs={"bank": bank._replace(targets=("DoorKey-8x8-v0",))})
    with pytest.raises(ConfigError, match="no memory"):
        training("mt-ppo", inputs={"bank": bank})
    with pytest.raises(ConfigError, match="needs the input bank"):
        training(changes={"writes": False})
