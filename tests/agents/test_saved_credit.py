"""Credit models that are saved beside the agent, and asked again about recorded episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.components import changed
from pkubench.agents.learner import Context, Export
from pkubench.agents.registry import preset
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.resolve.saved import credit_of, learned_credit_of, load_folder, tensors_read
from pkubench.agents.rl.credit.episodes import Episodes
from pkubench.agents.rl.on_policy import make_learner
from pkubench.agents.rl.on_policy.saved_credit import load_credit, rollout_of, start
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.envs.core.recording import Recording
from pkubench.errors import AgentError, WeightsError
from pkubench.evaluation.credit_quality import recorded
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from pkubench.training.validation import Validation, Validator
from tests.agents.credit_envs import LEARNED, made_up, started

TASK = make_task("AliceAndBob-v0")
SMALL: dict[str, str] = {
    **{"num_envs": "6", "minibatches": "1", "epochs": "1", "critic_epochs": "1"},
    **{"fit_every": "6", "fit_episodes": "4", "warmup_episodes": "6", "buffer": "64"},
    **{"width": "8", "coalitions": "2", "encoder.hidden": "[8]"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of ``stas`` after two updates."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    for _ in train("stas", TASK, seed=1000, out=folder, steps=480, settings=SMALL):
        pass
    return folder


@pytest.fixture(scope="module")
def episodes(run: Path) -> Recording:
    source = resolve_agent(f"{run}+mode=sampled", TASK)
    return recorded(source.runs[0].load(), TASK, 5)


@pytest.mark.parametrize("name", [*LEARNED, "ircr", "uniform", "undecomposed-sil"])
def test_what_was_learned_makes_the_same_credit_of_another_model(name: str) -> None:
    model, other = started(name), started(name, seed=1)
    known = made_up([3, 6, 2])
    if name == "ircr":
        model.low, model.high = -4.0, 9.0
    wanted = model.assign(known)
    if name in (*LEARNED, "ircr"):
        assert not np.allclose(other.assign(known), wanted)
    other.load_learned(model.learned())
    np.testing.assert_array_equal(other.assign(known), wanted)
    assert bool(model.learned()) == (name in (*LEARNED, "ircr"))


def test_a_saved_model_gives_the_shares_of_the_trained_one(run: Path) -> None:
    config = changed(preset("stas").config(TASK), {**_plain(SMALL)})
    context = Context(agent="stas", task=TASK, settings=config, seed=1000, total=480)
    learner: Any = make_learner(context)
    learner.iterate(), learner.iterate()
    known = recorded(resolve_agent("random", TASK).runs[0].load(), TASK, 4)
    norms = learner.learner.inputs.norms
    # The episodes, written down once more: normalised as the networks see them, agent by agent.
    seen = np.zeros((4, 2, 41, 19), np.float32)
    acted = np.zeros((4, 2, 40), np.int64)
    for k, agent in enumerate(known.agents):
        for i, length in enumerate(known.lengths):
            seen[i, k, : length + 1] = norms[agent](known.observations[agent][: length + 1, i])
            acted[i, k, :length] = known.actions[agent][:length, i]
    wanted = learner.learner.signals.credit.assign(
        Episodes(seen, acted, known.lengths, known.returns)
    )
    found = load_credit(run, TASK)(known)
    # Moments are saved in single precision.
    np.testing.assert_allclose(found, wanted.transpose(2, 0, 1), atol=1e-4)
    assert np.abs(found).max() > 1e-2
    learner.close()


def _plain(settings: dict[str, str]) -> dict[str, Any]:
    return {k: [8] if v == "[8]" else int(v) for k, v in settings.items()}


def test_shares_are_those_of_the_return_whatever_agents_are_trained_on(
    episodes: Recording,
) -> None:
    valid = episodes.valid[..., None]
    even = np.where(valid, episodes.returns[:, None] / episodes.lengths[:, None] / 2, 0.0)
    for times in (True, False):
        config = changed(preset("uniform").config(TASK), {"times_agents": times})
        np.testing.assert_allclose(start(config, TASK, {})[1](episodes), even * np.ones(2))
    dense = start(preset("dense").config(TASK), TASK, {})[1](episodes)
    np.testing.assert_allclose(dense.sum(-1), episodes.team_rewards)
    found = start(preset("difference").config(TASK), TASK, {})[1](episodes)
    np.testing.assert_array_equal(found, episodes.info["difference_reward"][1:] * valid)


def test_actions_are_those_of_the_policies_heads(episodes: Recording) -> None:
    from gymnasium import spaces

    _, of = start(preset("uniform").config(TASK), TASK, {})
    shifted = replace(of, action_spaces=dict.fromkeys(episodes.agents, spaces.Discrete(4, start=1)))
    rollout = rollout_of(episodes, shifted)
    np.testing.assert_array_equal(rollout.actions["bob"], episodes.actions["bob"] - 1)
    box = spaces.Box(np.array([0.0], np.float32), np.array([4.0], np.float32))
    moved = replace(
        of,
        action_spaces=dict.fromkeys(episodes.agents, box),
        config=changed(of.config, {"action_map": "affine"}),
    )
    halves = replace(
        episodes, actions={a: np.full((40, 5, 1), 3.0, np.float32) for a in episodes.agents}
    )
    assert (rollout_of(halves, moved).actions["bob"] == 0.5).all()


def test_weights_have_what_acting_reads_and_the_credit_is_beside_them(
    run: Path, tmp_path: Path
) -> None:
    assert {p.name for p in run.iterdir()} >= {"weights.safetensors", "credit.safetensors"}
    saved = load_saved(run)
    assert set(tensors_read(run, TASK)) == set(saved.tensors)
    # Without the file the agent acts all the same, and one line says what is missing.
    shipped = _copied(run, tmp_path / "shipped", "config.json", "weights.safetensors")
    source = resolve_agent(str(shipped), TASK)
    assert source.runs[0].load() is not None
    assert learned_credit_of("it", source.runs[0]) is None
    with pytest.raises(WeightsError, match=r"has no credit\.safetensors.*pkubench train"):
        credit_of("it", source.runs[0])
    # A file of another run is noticed.
    mixed = _copied(run, tmp_path / "mixed", *(p.name for p in run.iterdir() if p.is_file()))
    data = bytearray((mixed / "credit.safetensors").read_bytes())
    data[-1] ^= 1
    (mixed / "credit.safetensors").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="SHA-256") as damaged:
        load_credit(mixed, TASK)
    assert "was not saved" not in str(damaged.value)


def test_a_model_of_another_shape_is_refused(run: Path, tmp_path: Path) -> None:
    saved = load_saved(run)
    wrong = {"credit": {"weights": np.zeros(3, np.float32)}}
    save_agent(tmp_path / "run", saved.config, saved.tensors, extra=wrong)
    with pytest.raises(WeightsError, match="does not fit"):
        load_credit(tmp_path / "run", TASK)
    older = {**saved.config, "settings": {"gamma": 0.9}}
    save_agent(tmp_path / "older", older, saved.tensors)
    with pytest.raises(AgentError, match=r"earlier release.*pkubench train"):
        load_credit(tmp_path / "older", TASK)


def test_agents_that_were_not_trained_assign_no_credit() -> None:
    run = resolve_agent("random", TASK).runs[0]
    assert run.function is not load_folder and learned_credit_of("random", run) is None
    with pytest.raises(AgentError, match="random is not a saved agent"):
        credit_of("random", run)


@pytest.fixture
def validator() -> Iterator[Validator]:
    from pkubench.agents.registry import family_of
    from pkubench.envs.core.registry import make_batch

    how = Validation(points=1, episodes=1, window=1, keep="best")
    family = family_of(preset("stas"))
    made = Validator(how, family, TASK, make_batch(TASK.id, 1), 0, 100)
    yield made
    made.close()


def test_the_best_weights_keep_the_credit_of_their_time(validator: Validator) -> None:
    from pkubench.training.validation import Best

    extra = {"credit": {"weights": np.arange(3.0)}}
    validator.best = Best(7, (1, 2.0), Export({}, {}, extra=extra))
    state = validator.state()
    validator.best = None
    validator.load_state(state)
    best: Any = validator.best
    np.testing.assert_array_equal(best.export.extra["credit"]["weights"], np.arange(3.0))


def _copied(run: Path, to: Path, *names: str) -> Path:
    to.mkdir()
    for name in names:
        (to / name).write_bytes((run / name).read_bytes())
    return to
