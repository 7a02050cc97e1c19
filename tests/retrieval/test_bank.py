"""The memory bank: what it holds, its file, and the slots that are drawn from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.data.episodes import Episodes
from pkubench.errors import ConfigError, DataError
from pkubench.retrieval import bank as module
from pkubench.retrieval.bank import MemoryBank, packed
from tests.retrieval.hand_made import VALUES, by_hand, image


def forged(path: Path, *, rehashed: bool, **changes: Any) -> Path:
    """Write the bank by hand with other arrays or facts; None leaves one out."""
    bank = by_hand()
    facts, arrays = {**bank._facts(), "sha256": bank.sha256}, bank._arrays()
    for name, value in changes.items():
        target: dict[str, Any] = arrays if name in arrays else facts
        if value is None:
            del target[name]
        else:
            target[name] = value
    if rehashed:
        known = {name: of for name, of in facts.items() if name != "sha256"}
        facts["sha256"] = module._content_hash(known, arrays)
    path.write_bytes(packed(arrays, facts))
    return path


def test_returns_to_go_are_discounted_sums_and_zero_where_time_ran_out() -> None:
    np.testing.assert_allclose(by_hand().returns_to_go, VALUES, rtol=1e-14)
    assert by_hand(gamma=1.0).returns_to_go.tolist() == [0.9] * 5 + [0.0] * 3 + [0.5] * 2


def test_states_know_their_task_and_episode() -> None:
    states = by_hand().states(np.array([9, 0, 5]))
    assert states.tasks.tolist() == [1, 0, 0] and states.episodes.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(states.images, [image(9), image(0), image(5)])
    assert by_hand().missions == (
        "use the key to open the door and then get to the goal",
        "avoid the lava and get to the green goal square",
    )


def test_a_bank_comes_back_as_it_was_written_and_equal_ones_have_equal_bytes(
    tmp_path: Path,
) -> None:
    bank = by_hand()
    for name in ("a.npz", "b.npz"):
        by_hand().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = MemoryBank.load(tmp_path / "a.npz")
    assert found.sha256 == bank.sha256 and found.levels == bank.levels
    for name, array in bank._arrays().items():
        np.testing.assert_array_equal(found._arrays()[name], array)
        assert found._arrays()[name].dtype == array.dtype


@pytest.mark.parametrize("name", sorted(module._KINDS))
def test_a_byte_of_any_array_changes_the_hash(name: str, tmp_path: Path) -> None:
    changed = by_hand()._arrays()[name].copy()
    changed.view(np.uint8).reshape(-1)[-1] ^= 1
    path = forged(tmp_path / "bank.npz", rehashed=False, **{name: changed})
    with pytest.raises(DataError, match="does not have the hash") as refused:
        MemoryBank.load(path)
    assert "\n" not in str(refused.value)


def test_the_description_is_part_of_the_hash(tmp_path: Path) -> None:
    assert by_hand(gamma=0.98).sha256 != by_hand().sha256
    path = forged(tmp_path / "bank.npz", rehashed=False, levels=["DoorKey-5x5-v0", "LavaGapS6-v0"])
    with pytest.raises(DataError, match="does not have the hash"):
        MemoryBank.load(path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rewards": None}, "no rewards in the memory bank"),
        ({"rewards": np.full(10, np.nan)}, "NaN or infinite rewards in episode 0"),
        ({"levels": ["DoorKey-5x5-v0", "Nowhere-v0"]}, "unknown tasks: Nowhere-v0"),
        ({"levels": None}, "unknown tasks: none"),
        ({"level": np.array([0, 0, 2])}, "level has values 0 to 2"),
        ({"behaviour": np.array([0, 0, 3])}, "behaviour has values 0 to 3"),
        ({"task": np.array([0, -1, 0])}, "task has values -1 to 0"),
        ({"actions": np.full(10, 7, np.uint8)}, "numbers from 0 to 6"),
        ({"directions": np.full(10, 4, np.uint8)}, "directions has values 4 to 4"),
        ({"seeds": np.arange(2)}, r"seeds has shape \(2,\), wanted \(3,\)"),
        ({"task": np.zeros(3)}, "task is float64, wanted i8"),
        ({"images": np.full((10, 7, 7, 3), 11, np.uint8)}, "beyond"),
        ({"images": np.zeros((10, 5, 5, 3), np.uint8)}, "final_observations has shape"),
        ({"truncated": np.zeros(3, bool)}, "episode 1 neither terminated nor was truncated"),
        ({"returns_to_go": np.zeros(10)}, "not the discounted sums"),
        ({"gamma": 0.0}, r"gamma is 0.0, and lies in \(0, 1\]"),
        ({"behaviours": ["me"]}, "behaviours are"),
        ({"version": 2}, "version 2, wanted a pkubench memory bank of version 1"),
        ({"format": "other"}, "is a other of version 1"),
    ],
)
def test_what_is_wrong_with_a_bank_is_said_in_one_line(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    path = forged(tmp_path / "bank.npz", rehashed=True, **changes)
    with pytest.raises(DataError, match=problem) as refused:
        MemoryBank.load(path)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_banks_are_refused_and_run_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        MemoryBank.load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "cut.npz").write_bytes(packed(by_hand()._arrays())[:-200])
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    np.save(tmp_path / "one.npy", np.zeros(2))

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    objects: Any = np.array([Bomb()], dtype=object)
    np.savez(tmp_path / "bomb.npz", about=objects)
    for name in ("text.npz", "cut.npz", "other.npz", "one.npy", "bomb.npz"):
        with pytest.raises(DataError, match="is not a pkubench memory bank") as refused:
            MemoryBank.load(tmp_path / name)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_images_have_the_shape_of_a_view() -> None:
    with pytest.raises(DataError, match=r"wanted \(7, 7, 3\) uint8"):
        by_hand(
            episodes=Episodes(
                observations=np.zeros((1, 5)),
                final_observations=np.zeros((1, 5)),
                actions=np.zeros(1, np.int64),
                rewards=np.zeros(1),
                terminated=np.ones(1, bool),
                starts=np.array([0, 1]),
            )
        )


def test_slots_have_the_returns_of_their_rows_and_are_all_different() -> None:
    bank = by_hand()
    for quota in (False, True):
        slots = bank.slots(4, seed=1, quota=quota)
        numbers = [int(np.flatnonzero((bank.images == of).all((1, 2, 3)))[0]) for of in slots[0]]
        assert len(set(numbers)) == 4
        assert slots.states.dtype == np.uint8 and slots.values.dtype == np.float32
        np.testing.assert_array_equal(slots.values, VALUES[numbers].astype(np.float32))
        np.testing.assert_array_equal(slots.tasks, bank.row_tasks[numbers])
        again = bank.slots(4, seed=1, quota=quota)
        assert all(np.array_equal(*pair) for pair in zip(slots, again, strict=True))
    whole = bank.slots(10, seed=0, quota=False)
    assert sorted(whole.values.tolist()) == sorted(VALUES.astype(np.float32).tolist())


def test_a_quota_is_even_by_task_and_by_episode() -> None:
    bank = by_hand()
    assert bank.slots(3, seed=0).tasks.tolist() == [0, 0, 1]
    draws = [bank.slots(2, seed=seed) for seed in range(400)]
    assert all(slots.tasks.tolist() == [0, 1] for slots in draws)
    first = np.mean([slots.values[0] > 0 for slots in draws])
    assert first == pytest.approx(1 / 2, abs=0.06)  # by steps it would be 5 of 8
    free = [bank.slots(1, seed=seed, quota=False).tasks[0] for seed in range(400)]
    assert np.mean(free) == pytest.approx(2 / 10, abs=0.08)
    by_step = [bank.slots(1, seed=seed, quota=False).values[0] > 0 for seed in range(400)]
    assert np.mean(by_step) == pytest.approx(7 / 10, abs=0.09)


def test_slots_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(DataError, match="11 slots are asked for, of 10 steps"):
        by_hand().slots(11, 0, quota=False)
    with pytest.raises(DataError, match="by hand: 3 slots are asked for, of 2 steps"):
        by_hand().slots(6, 0)
    with pytest.raises(DataError, match="has the task 1, and the agent knows those below 1"):
        by_hand().slots(2, 0, num_tasks=1)
    with pytest.raises(ConfigError, match="at least one slot"):
        by_hand().slots(0, 0)
    assert len(by_hand().slots(2, 0, num_tasks=2).values) == 2


def test_a_file_of_slots_has_the_arrays_by_name_and_its_hash(tmp_path: Path) -> None:
    slots = by_hand().slots(4, 0)
    digest = slots.save(tmp_path / "slots.npz")
    assert digest == hashlib.sha256((tmp_path / "slots.npz").read_bytes()).hexdigest()
    with np.load(tmp_path / "slots.npz", allow_pickle=False) as file:
        assert set(file.files) == {"states", "values", "tasks"}
        for name in file.files:
            np.testing.assert_array_equal(file[name], getattr(slots, name))


def test_another_name_leaves_the_hash() -> None:
    assert by_hand(episodes=replace(by_hand().episodes, name="x")).sha256 == by_hand().sha256
