"""States to tensors and plain data, and back; global generators; seeds of validation."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.envs.core.generators import (
    generator_states,
    kept_generators,
    seed_generators,
    set_generators,
)
from pkubench.envs.core.seeding import (
    EVALUATION_SEED_START,
    PROTOCOL_EPISODES,
    TrainingSeeds,
    evaluation_seeds,
    validation_seeds,
)
from pkubench.errors import WeightsError
from pkubench.tasks.registry import tasks
from pkubench.training.state import join, split


def test_a_state_comes_back_bit_for_bit() -> None:
    state = {
        "a/b": {"w~": np.arange(6, dtype=np.int8).reshape(2, 3)},
        "a": {"b": np.array([np.nan, -0.0])},
        "list": [np.array(True), {"deep": np.zeros((0, 4), np.float32)}, "text", None],
        "pair": (1, 0.1),
        "numbers": [np.float64(1 / 3), np.int64(2**62), True],
    }
    tensors, plain = split(state)
    assert set(tensors) == {"a~1b/w~0", "a/b", "list/0", "list/1/deep"}
    back = join(tensors, json.loads(json.dumps(plain)))
    assert back["a/b"]["w~"].dtype == np.int8 and back["list"][0].shape == ()
    assert back["a"]["b"].tobytes() == np.array([np.nan, -0.0]).tobytes()
    assert back["list"][1]["deep"].shape == (0, 4) and back["list"][2:] == ["text", None]
    assert back["pair"] == [1, 0.1] and back["numbers"] == [1 / 3, 2**62, True]
    del tensors["a/b"]
    with pytest.raises(WeightsError, match="lacks the array 'a/b'"):
        join(tensors, plain)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"a": {1, 2}}, "'a' is a set"),
        ({"a": b"raw"}, "'a' is a bytes"),
        ({"a": {3: 1}}, "has the key 3"),
        ({"a": np.array(["x"])}, "dtype <U1"),
        ({"a": {"$tensor": 1}}, r"the key '\$tensor'"),
    ],
)
def test_what_cannot_be_written_is_named(state: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        split(state)


def _drawn() -> tuple[Any, ...]:
    return (
        random.gauss(0, 1),
        np.random.normal(),  # noqa: NPY002
        float(torch.rand(1)),
    )


def test_global_generators_are_written_down_and_put_back() -> None:
    with kept_generators():
        seed_generators(2**40 + 3)
        first = _drawn()
        states = join(*split(generator_states()))
        expected = _drawn()
        assert _drawn() != expected
        set_generators(states)
        assert _drawn() == expected
        seed_generators(2**40 + 3)
        assert _drawn() == first
    with pytest.raises(WeightsError, match="generators are damaged"):
        set_generators({"python": {}, "numpy": {}})


def test_validation_seeds_are_nobody_elses() -> None:
    longest = max(task.protocol.episodes for task in tasks())
    assert longest <= PROTOCOL_EPISODES
    taken = evaluation_seeds(0, PROTOCOL_EPISODES)
    runs = [validation_seeds(seed, 20_000) for seed in range(20)]
    assert all(len(np.unique(seeds)) > 19_990 for seeds in runs)
    seeds = np.concatenate(runs)
    assert (seeds >= EVALUATION_SEED_START).all() and (seeds < 2**32).all()
    assert not np.isin(seeds, taken).any()
    # By chance 12 of so many would have been among them: the check has something to do.
    assert len(seeds) * PROTOCOL_EPISODES / 2**31 > 10
    training = TrainingSeeds(3, 64)
    drawn = np.concatenate([training.next(np.arange(64)) for _ in range(50)])
    assert drawn.max() < EVALUATION_SEED_START
    assert validation_seeds(7, 8, 16).tolist() == validation_seeds(7, 24)[16:].tolist()
    assert validation_seeds(7, 8).tolist() != validation_seeds(8, 8).tolist()
