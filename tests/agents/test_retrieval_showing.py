"""Saved agents show in films what they retrieve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from pkubench.agents.contract import Illustrator
from pkubench.agents.families.retrieval.bank import make_bank
from pkubench.agents.families.retrieval.loading import load
from pkubench.agents.families.retrieval.networks import Groups
from pkubench.agents.families.retrieval.showing import MEMORY, PLACES, Recall
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.saved import learned_credit_of
from pkubench.agents.saved.files import (
    SavedAgent,
    has_extra,
    load_extra,
    load_saved,
    save_agent,
)
from pkubench.cli.filming import Reel, filmed_episode
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import WeightsError
from pkubench.retrieval.picture import CAPTION, CARD, view_picture
from pkubench.tasks.registry import make_task
from tests.agents.retrieval_parts import training, views

FULL = "retrieval-hypernetwork"
TASK = "pkubench/MiniGridMT3-v0"


def trained(agent: str = FULL, **changes: Any) -> RetrievalTraining:
    """Return a training after an update, with a memory that a bank of views has filled."""
    count = 60
    states = views(np.random.default_rng(0), count).numpy()
    states[:, 3:] = states[0, 3:]  # not too far from each other
    bank = make_bank(states, np.linspace(0.0, 1.0, count), np.arange(count) % 3)
    made = training(agent, {"rollout_steps": 8, "epochs": 1, **changes}, inputs={"bank": bank})
    made.iterate()
    return made


def saved(made: RetrievalTraining, folder: Path) -> SavedAgent:
    """Return a training's agent as it is read from its run folder."""
    export = made.export()
    config = {**export.config, "kind": "retrieval", "agent": FULL, "task": TASK}
    save_agent(folder, config, dict(export.tensors), export.files, export.extra)
    return load_saved(folder)


def by_the_learner(made: RetrievalTraining, seen: Any, task: int) -> tuple[Any, Any]:
    """Return every filled slot's weight for one view, and the filled slots."""
    slots: Any = made.slots
    at, net = np.flatnonzero(slots.filled), made.net.double()
    with torch.no_grad():
        layer = net.generate().retrieval
        stored = net.policy.encoder(torch.from_numpy(slots.images[at]))
        feature = net.policy.encoder(torch.from_numpy(seen[None]))
        if made.config.retrieval.name == "kernel":
            own = 1.0 / ((stored - feature).square().sum(1) + 1e-3)
            own[torch.from_numpy(slots.tasks[at] != task)] = 0.0
            own[own < own.topk(min(11, len(own))).values[-1]] = 0.0
            return (own / own.sum()).numpy(), at
        assert layer is not None
        keys = layer(stored, Groups.of(slots.tasks[at], 3))
        if getattr(made.config.retrieval, "keys", "") == "random":
            keys = torch.from_numpy(slots.keys[at]).double()
        query = layer(feature, Groups.of(np.array([task]), 3))
        return (keys @ query[0] / 8.0).softmax(0).numpy(), at


@pytest.mark.parametrize("name", ["", "-shuffled", "-random-keys", "-episodic", "-no-hypernetwork"])
def test_what_is_shown_is_what_the_learner_would_read(name: str, tmp_path: Path) -> None:
    made = trained(FULL + name)
    agent: Any = load(saved(made, tmp_path))
    assert isinstance(agent, Illustrator) and made.slots is not None
    data = made.collect()
    for env in (0, 3, 5):
        seen = data.observations[SOLE_AGENT][5, env]
        slots, weights, value = agent.recall.look_up(agent.inputs_of(seen[None]))
        every, at = by_the_learner(made, seen, env // 2)
        np.testing.assert_allclose(weights, np.sort(every)[::-1][:PLACES], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(every[slots], weights, rtol=1e-5, atol=1e-9)
        assert value == pytest.approx(every @ made.slots.shown[at], rel=1e-4, abs=1e-6)
        np.testing.assert_array_equal(agent.recall.values[slots], made.slots.shown[at[slots]])
        np.testing.assert_array_equal(agent.recall.images[slots], made.slots.images[at[slots]])


def test_pictures_have_the_best_first_and_one_size(tmp_path: Path) -> None:
    made = trained()
    agent: Any = load(saved(made, tmp_path))
    assert agent.recall.names == ["LavaGapS7", "RedBlueDoors-6x6", "MemoryS11"]
    seen = made.collect().observations[SOLE_AGENT][3, :1]
    picture = agent.beside(seen, None)
    slots = agent.recall.look_up(agent.inputs_of(seen)).slots
    for k, slot in enumerate(slots):
        top, left = (place * size + 8 for place, size in zip(divmod(k, 2), CARD, strict=True))
        own = picture[top : top + 112, left : left + 112]
        np.testing.assert_array_equal(own, view_picture(agent.recall.images[slot]))
    assert picture.shape[0] == 2 * CARD[0] + CAPTION  # what is read in all, below
    assert (picture[2 * CARD[0] :] < 100).all(-1).any()
    empty: Any = load(saved(training(), tmp_path))
    assert not len(empty.recall.tasks)
    blank = empty.beside(seen, None)
    assert blank.shape == picture.shape and (blank == 255).all()


def test_agents_without_a_memory_show_nothing_and_recurrent_ones_do(tmp_path: Path) -> None:
    for name in ("mt-ppo", f"{FULL}-no-memory"):
        assert not isinstance(load(saved(training(name), tmp_path / name)), Illustrator)
    made = trained(memory="gru")
    agent: Any = load(saved(made, tmp_path))
    seen = made.collect().observations[SOLE_AGENT][3, :1]
    assert isinstance(agent, Illustrator)
    assert agent.beside(seen, agent.begin(np.zeros(1, np.int64))).shape[2] == 3


def test_weights_alone_act_the_same_and_show_nothing(tmp_path: Path) -> None:
    made = trained()
    whole: Any = load(saved(made, tmp_path))
    (tmp_path / f"{MEMORY}.safetensors").unlink()  # as in bundles and shipped weights
    alone: Any = load(load_saved(tmp_path))
    assert isinstance(whole, Illustrator) and not isinstance(alone, Illustrator)
    seen, everyone = made.collect().observations[SOLE_AGENT][3], np.ones(6, np.bool_)
    actions = [agent.act(seen, None, everyone)[0] for agent in (whole, alone)]
    np.testing.assert_array_equal(*actions)


def test_a_damaged_memory_is_refused(tmp_path: Path) -> None:
    made = saved(trained(), tmp_path)
    other = saved(training(FULL, task="MiniGridMT5-v0"), tmp_path / "other")
    network: Any = load(made)
    with pytest.raises(WeightsError, match="not of this agent"):
        Recall(network.recall.network, other.config[MEMORY], load_extra(tmp_path / "other", MEMORY))
    arrays = load_extra(tmp_path, MEMORY)
    for name in arrays:
        with pytest.raises(WeightsError):
            Recall(network.recall.network, made.config[MEMORY], {**arrays, name: np.zeros(3)})
    for facts in ({}, {**made.config[MEMORY], "settings": {"retrieval": "none"}}):
        with pytest.raises(WeightsError):
            Recall(network.recall.network, facts, arrays)
    (tmp_path / f"{MEMORY}.safetensors").write_bytes(b"text")
    with pytest.raises(WeightsError, match="is not the file that was saved"):
        load(load_saved(tmp_path))


class Film:
    """Frames in a list."""

    every = 1

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def add(self, picture: np.ndarray) -> None:
        self.frames.append(picture)

    def hold(self) -> None:
        pass


def test_a_saved_run_is_filmed_beside_what_it_retrieves(tmp_path: Path) -> None:
    saved(trained(), tmp_path)
    task = make_task(TASK)
    task = replace(task, protocol=replace(task.protocol, horizon=3))
    [planned] = task.scoring.plan(task, 0, 1)
    run = resolve_agent(str(tmp_path), task).runs[0]
    assert has_extra(tmp_path) and learned_credit_of("it", run) is None
    film, agent = Film(), run.load()
    record = filmed_episode(agent, task, planned, cast(Reel, film), lambda step: None)
    assert record.failure is None and len(film.frames) == 4
    cards = agent.beside(np.zeros((1, 7, 7, 4), np.uint8), None)  # type: ignore[union-attr]
    for frame in film.frames:
        beside = frame[: cards.shape[0], -cards.shape[1] :]
        assert (beside != 255).any() and (frame[cards.shape[0] :, -cards.shape[1] :] == 255).all()
