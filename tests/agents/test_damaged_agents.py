"""Hand-edited files of on-policy agents: refused by name, never partly read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.families.on_policy.loading import load
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.errors import WeightsError
from tests.agents.toy_envs import SpeedEnv, task_of

Config = dict[str, Any]
Arrays = dict[str, Any]
Change = Callable[[Config, Arrays], Any]


def _write(folder: Path, change: Change = lambda config, tensors: None) -> Path:
    """Save an agent for ``SpeedEnv``: 2 observed numbers, 8 hidden units, 1 action."""
    spec = {"inputs": 2, "hidden": [8], "outputs": 1, "activation": "tanh", "layer_norm": False}
    member = {
        "network": "agent",
        "spec": spec,
        "std": "log",
        "action_map": "affine",
        "observation_norm": True,
    }
    config = {
        "kind": "on-policy",
        "agent": "ppo",
        "task": task_of(SpeedEnv).id,
        "members": {"agent": member},
    }
    shapes = {"linears.0.weight": (8, 2), "linears.0.bias": (8,), "head.weight": (1, 8)}
    shapes |= {"head.bias": (1,), "log_std": (1,), "observation_mean": (2,)}
    tensors = {f"agent.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors["agent.observation_std"] = np.ones(2, np.float32)
    change(config, tensors)
    save_agent(folder, config, tensors)
    return folder


def test_the_undamaged_agent_acts(tmp_path: Path) -> None:
    agent = load(load_saved(_write(tmp_path)), acting={"mode": "sampled"})
    state = agent.begin(np.arange(3))  # type: ignore[union-attr]
    actions, _ = agent.act(np.ones((3, 2)), state, np.ones(3, bool))  # type: ignore[union-attr]
    assert actions.shape == (3, 1) and np.isfinite(actions).all()


@pytest.mark.parametrize(("std", "wanted"), [("log", 0.2), ("sigmoid", 0.5 * 0.2 / 1.2)])
def test_a_loaded_agent_uses_every_part_of_its_file(
    tmp_path: Path, std: str, wanted: float
) -> None:
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(8, 2)), rng.normal(size=(1, 8)) / 10
    mean, deviation = np.array([3.0, -4.0]), np.array([2.0, 0.5])

    def fill(config: Config, tensors: Arrays) -> None:
        config["members"]["agent"]["std"] = std
        given = {"linears.0.weight": first, "head.weight": last, "head.bias": np.array([0.1])}
        given |= {"observation_mean": mean, "observation_std": deviation}
        given |= {"log_std": np.log([0.2])}
        tensors.update({f"agent.{name}": value.astype(np.float32) for name, value in given.items()})

    agent: Any = load(load_saved(_write(tmp_path, fill)))
    seen = rng.normal(mean, 3 * deviation, (50, 2))  # some of them beyond five deviations
    actions, _ = agent.act(seen, agent.begin(np.arange(50)), np.ones(50, bool))
    inputs = np.clip((seen - mean) / deviation, -5, 5)
    by_hand = np.tanh(inputs @ first.T) @ last.T + 0.1
    np.testing.assert_allclose(actions, np.clip(by_hand, -1, 1), atol=1e-5)
    assert agent.settings.std == pytest.approx(wanted, rel=1e-5)


def _tensor(name: str, value: Any) -> Change:
    return lambda config, tensors: tensors.__setitem__(f"agent.{name}", np.asarray(value))


def _member(**fields: Any) -> Change:
    return lambda config, tensors: config["members"]["agent"].update(fields)


def _spec(**fields: Any) -> Change:
    return lambda config, tensors: config["members"]["agent"]["spec"].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_tensor("observation_mean", np.full(2, np.nan, "f4")), r"observation_mean.*NaN"),
        (_tensor("observation_mean", np.zeros(1, "f4")), r"observation_mean.*shape \(1,\)"),
        (_tensor("observation_std", np.zeros(2, "f4")), "must be positive"),
        (_tensor("observation_std", -np.ones(2, "f4")), "must be positive"),
        (_tensor("log_std", np.full(1, np.nan, "f4")), r"log_std.*NaN"),
        (_tensor("log_std", np.zeros(4, "f4")), r"log_std.*shape \(4,\)"),
        (_tensor("log_std", np.full(1, 1e4, "f4")), "must be positive and finite"),
        (_tensor("head.weight", np.full((1, 8), 1e300)), "single precision"),
        (_tensor("head.weight", np.ones((1, 8), "i4")), "dtype int32"),
        (_tensor("head.weight", np.ones((1, 8), bool)), "dtype bool"),
        (_member(std="cubic"), "kind of deviation 'cubic'"),
        (_member(action_map="wrap"), "action_map 'wrap'"),
        (_member(spec="x"), "incomplete"),
        (_spec(activation="gelu"), "activation 'gelu'"),
        (_spec(hidden=["x"]), r"layers of \[2, 'x', 1\]"),
        (_spec(hidden=[-8]), r"layers of \[2, -8, 1\]"),
        (_spec(hidden=None), "incomplete"),
        (_spec(inputs=2.0), "layers of"),
        (lambda config, tensors: config.update(members=["agent"]), "'members'"),
        (lambda config, tensors: config.update(members={"agent": "x"}), "incomplete"),
        (lambda config, tensors: config.update(task=7), "'task'"),
        (lambda config, tensors: config.pop("task"), "'task'"),
    ],
)
def test_what_does_not_describe_an_agent_is_refused(
    tmp_path: Path, change: Change, words: str
) -> None:
    saved = load_saved(_write(tmp_path, change))
    with pytest.raises(WeightsError, match=words):
        load(saved)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": 1' + "0" * 10_000 + "}", "\xff"])
def test_json_that_python_cannot_read_is_one_error(tmp_path: Path, text: str) -> None:
    _write(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match="not valid JSON"):
        load_saved(tmp_path)


def test_numbers_numpy_does_not_know_are_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    header = {"agent.log_std": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + b"\x80\x3f"
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="BF16"):
        load_saved(tmp_path)
