"""Agents that learn from a data set: windows, cloning, the Decision Transformer, and acting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.contract import Agent, Outcome
from pkubench.agents.families.sequence.loading import load, target_return
from pkubench.agents.learner import Context
from pkubench.agents.nn.fast.policy import NetworkPolicy
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.offline import make_learner
from pkubench.agents.rl.offline.acting import DecisionPolicy
from pkubench.agents.rl.offline.data import Windows, best_episodes, prepare
from pkubench.agents.rl.offline.learners.decision import DecisionLearner
from pkubench.agents.rl.offline.training import OfflineTraining
from pkubench.agents.saved.files import SavedAgent, load_saved
from pkubench.data.episodes import EpisodesBuilder
from pkubench.errors import AgentError, ConfigError, DataError, WeightsError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task
from pkubench.training.session import train
from pkubench.training.state import join, split
from pkubench.training.validation import Validation
from tests.agents.offline_toys import (
    CHAIN,
    DIAL,
    ChainEnv,
    DialEnv,
    chain_data,
    context_of,
    dial_data,
)

SMALL: dict[str, Any] = {"width": 32, "layers": 1, "warmup_steps": 20, "dropout": 0.0}
DIAL_DATA, CHAIN_DATA = dial_data(), chain_data()


def trained(context: Context) -> OfflineTraining:
    learner = make_learner(context)
    assert isinstance(learner, OfflineTraining)
    while learner.counters.gradient_steps < context.total:
        learner.iterate()
    return learner


def agent_of(learner: OfflineTraining, task: Task, **acting: Any) -> Agent:
    export = learner.export()
    config = {"task": task.id, **export.config}
    return load(SavedAgent(config, dict(export.tensors)), task, acting)


def returns_of(agent: Agent, task: Task, env: Any, episodes: int = 4) -> list[float]:
    plan = [Episode(number=k, seed=k, agent_seed=k) for k in range(episodes)]
    records = list(run_block(env(episodes), agent, task, plan))
    assert not any(record.failure for record in records)
    return [float(record.return_ or 0.0) for record in records]


@pytest.fixture(scope="module")
def dial() -> OfflineTraining:
    return trained(
        context_of("dt", DIAL, DIAL_DATA, 300, context=4, lr=4e-3, batch_size=32, **SMALL)
    )


def test_actions_are_mapped_to_the_unit_interval_and_states_to_the_unit_normal() -> None:
    env = DialEnv(1)
    data = prepare(DIAL_DATA, env.observation_spaces["agent"], env.action_spaces["agent"])
    np.testing.assert_allclose(data.actions[:, 0], DIAL_DATA.actions[:, 0] - 1.0, atol=1e-6)
    normal = data.normalised()
    np.testing.assert_allclose(normal.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(normal.std(0), 1.0, atol=1e-4)
    after, ends = data.next_rows()
    np.testing.assert_array_equal(after[2], data.states[3])
    np.testing.assert_array_equal(after[3], DIAL_DATA.final_observations[0])
    assert not ends.any()


def test_only_columns_that_are_padding_in_every_window_are_left_out() -> None:
    rows = np.arange(8).reshape(2, 4)
    valid = np.array([[True, True, False, False], [True, True, True, False]])
    trimmed = Windows(rows, valid).trimmed()
    assert trimmed.rows.tolist() == [[0, 1, 2], [4, 5, 6]]
    assert trimmed.valid.tolist() == [[True, True, False], [True, True, True]]
    whole = Windows(rows, np.ones((2, 4), np.bool_)).trimmed()
    assert whole.rows.tolist() == rows.tolist()


def test_windows_begin_at_any_step_and_end_with_their_episode() -> None:
    env = ChainEnv(1)
    data = prepare(CHAIN_DATA, env.observation_spaces["agent"], env.action_spaces["agent"])
    drawn = data.draw_windows(20_000, 5, np.random.default_rng(0))
    first, number = drawn.rows[:, 0], data.episodes.num_steps
    counts = np.bincount(first, minlength=number)
    assert counts.min() > 0 and counts.max() < 4 * 20_000 / number
    episode = np.repeat(np.arange(len(data.episodes)), data.episodes.lengths)
    assert (episode[drawn.rows] == episode[first][:, None]).all()
    left = data.episodes.num_steps_left()[first]
    np.testing.assert_array_equal(drawn.valid.sum(1), np.minimum(left + 1, 5))
    inside = drawn.rows[drawn.valid]
    np.testing.assert_array_equal(inside, (first[:, None] + np.arange(5))[drawn.valid])


def test_the_best_episodes_are_those_of_the_highest_return_within_the_share() -> None:
    builder = EpisodesBuilder()
    for length, reward in ((2, 1.0), (4, 0.75), (1, 2.0), (3, 1.0)):  # returns 2, 3, 2, 3
        seen = np.zeros((length + 1, 1), np.float32)
        builder.add(seen, np.zeros(length, np.int64), np.full(length, reward), terminated=True)
    data = builder.build()
    assert best_episodes(data, 0.1).tolist() == [1]  # at least the best one, earlier on a tie
    assert best_episodes(data, 0.7).tolist() == [1, 3]
    assert best_episodes(data, 0.69).tolist() == [1]
    assert best_episodes(data, 0.9).tolist() == [1, 3, 0]
    assert best_episodes(data, 1.0).tolist() == [1, 3, 0, 2]


def test_a_window_has_the_return_that_includes_its_own_reward(dial: OfflineTraining) -> None:
    learner = dial.learner
    assert isinstance(learner, DecisionLearner) and learner.scale == 1.0
    steps = learner.windows(np.array([[8, 9, 10, 11]]))  # the third episode
    action = DIAL_DATA.actions[8, 0]
    np.testing.assert_allclose(steps.returns[0], action * np.array([4, 3, 2, 1]), rtol=1e-5)
    np.testing.assert_array_equal(steps.times[0], [0, 1, 2, 3])


def test_padding_does_not_enter_the_loss(dial: OfflineTraining) -> None:
    learner: Any = dial.learner
    given = np.random.default_rng(0)
    drawn = learner.data.draw_windows(learner.setup.batch_size, 4, np.random.default_rng(0))
    outputs, actions = learner.unpadded(given)
    assert not drawn.valid.all() and len(outputs) == len(actions) == drawn.valid.sum()
    np.testing.assert_array_equal(actions.numpy(), learner.data.actions[drawn.rows[drawn.valid]])


def test_what_is_asked_for_is_the_return_to_go_of_what_is_got(dial: OfflineTraining) -> None:
    agent = agent_of(dial, DIAL, target_return=5.0)
    assert isinstance(agent, DecisionPolicy)
    env, active = DialEnv(2), np.ones(2, np.bool_)
    observations, _ = env.reset(np.arange(2))
    state = agent.begin(np.arange(2))
    asked, got = [], []
    for _ in range(4):
        asked.append(state.to_go)
        actions, state = agent.act(observations["agent"], state, active)
        step = env.step({"agent": actions})
        got.append(step.rewards[:, 0])
        observations = step.observations
        state = agent.observe(Outcome(got[-1], None), state)
    np.testing.assert_allclose(asked, [5.0 - sum(got[:t], np.zeros(2)) for t in range(4)])
    assert state.to_go == pytest.approx(5.0 - sum(got))


@pytest.mark.parametrize("asked", [2.0, 4.0, 6.0])
def test_a_decision_transformer_gets_what_it_is_asked_for(
    dial: OfflineTraining, asked: float
) -> None:
    found = returns_of(agent_of(dial, DIAL, target_return=asked), DIAL, DialEnv)
    assert found == pytest.approx([asked] * 4, abs=0.4)


def test_by_default_it_is_asked_for_the_best_return_of_its_data(dial: OfflineTraining) -> None:
    agent = agent_of(dial, DIAL)
    assert isinstance(agent, DecisionPolicy) and agent.target_return == pytest.approx(8.0)


@pytest.mark.parametrize(("kind", "context"), [("dial", 2), ("chain", 3)])
def test_the_cache_changes_no_action_and_is_given_up_beyond_the_window(
    kind: str, context: int
) -> None:
    task, data, env = {
        "dial": (DIAL, DIAL_DATA, DialEnv),
        "chain": (CHAIN, CHAIN_DATA, ChainEnv),
    }[kind]
    learner = trained(context_of("dt", task, data, 60, context=context, **SMALL))
    agent = agent_of(learner, task)
    plain = agent_of(learner, task)
    assert isinstance(agent, DecisionPolicy) and isinstance(plain, DecisionPolicy)
    plain.is_cached = False
    made, active = env(3), np.ones(3, np.bool_)
    observations, _ = made.reset(np.arange(3))
    states = [agent.begin(np.arange(3)), plain.begin(np.arange(3))]
    for t in range(4):
        outputs = []
        for which, policy in enumerate((agent, plain)):
            actions, states[which] = policy.act(observations["agent"], states[which], active)
            outputs.append(actions)
        assert (states[0].cache is not None) == (t < context)
        assert len(states[1].states) == min(t + 1, context)
        np.testing.assert_array_equal(*outputs)
        step = made.step({"agent": outputs[0]})
        observations = step.observations
        outcome = Outcome(step.rewards[:, 0], None)
        states = [p.observe(outcome, s) for p, s in zip((agent, plain), states, strict=True)]


class Recorder(DecisionPolicy):
    """Keeps the head's outputs."""

    def _outputs(self, state: Any, active: Any) -> Any:
        self.seen = [*getattr(self, "seen", []), super()._outputs(state, active)]
        return self.seen[-1]


def test_outputs_with_and_without_cache_are_equal_to_the_last_bits(dial: OfflineTraining) -> None:
    agent, found = agent_of(dial, DIAL), []
    assert isinstance(agent, DecisionPolicy)
    for is_cached in (True, False):
        policy = Recorder(agent.net, agent.settings, 5.0, is_cached=is_cached)
        state = policy.begin(np.arange(3))
        for t in range(4):
            _, state = policy.act(np.full((3, 2), t, np.float32), state, np.ones(3, np.bool_))
            state = policy.observe(Outcome(np.arange(3.0), None), state)
        found.append(np.stack(policy.seen))
    np.testing.assert_allclose(found[0], found[1], atol=1e-12, rtol=0)
    assert np.ptp(found[0]) > 0.1


def test_an_episode_does_not_depend_on_the_ones_beside_it(dial: OfflineTraining) -> None:
    agent = agent_of(dial, DIAL, target_return=3.0)
    together = returns_of(agent, DIAL, DialEnv, 4)
    assert returns_of(agent, DIAL, DialEnv, 1) == together[:1]


@pytest.mark.slow
def test_a_discrete_decision_transformer_takes_the_end_that_pays_what_is_asked() -> None:
    learner = trained(
        context_of("dt", CHAIN, CHAIN_DATA, 250, context=5, lr=4e-3, batch_size=32, **SMALL)
    )
    for asked in (1.0, 0.5):
        agent = agent_of(learner, CHAIN, target_return=asked)
        assert returns_of(agent, CHAIN, ChainEnv, 1) == [asked]
    sampled = returns_of(agent_of(learner, CHAIN, mode="sampled"), CHAIN, ChainEnv, 12)
    assert set(sampled) <= {0.0, 0.5, 1.0}


def test_cloning_takes_the_mean_action_and_of_the_best_tenth_the_best() -> None:
    for name, wanted in (("bc", 4.0), ("bc-10", 7.6)):
        learner = trained(context_of(name, DIAL, DIAL_DATA, 400, lr=3e-3, hidden=[32]))
        agent = agent_of(learner, DIAL)
        assert isinstance(agent, NetworkPolicy)
        assert returns_of(agent, DIAL, DialEnv) == pytest.approx([wanted] * 4, abs=0.3)


def test_cloning_of_discrete_actions_has_their_frequencies() -> None:
    learner = trained(context_of("bc", CHAIN, CHAIN_DATA, 300, lr=3e-3, hidden=[16]))
    agent = agent_of(learner, CHAIN, mode="sampled")
    assert isinstance(agent, NetworkPolicy)
    found = agent.action_probabilities(np.eye(5)[1:4], np.ones((3, 2), np.int8))
    np.testing.assert_allclose(found, 0.5, atol=0.15)


AGENTS = [("dt", DIAL, DIAL_DATA), ("dt", CHAIN, CHAIN_DATA), ("bc-10", DIAL, DIAL_DATA)]
AGENTS += [("odt", DIAL, DIAL_DATA), ("odt", CHAIN, CHAIN_DATA)]
AGENTS += [(name, DIAL, DIAL_DATA) for name in ("iql", "cql")]
AGENTS += [(name, CHAIN, CHAIN_DATA) for name in ("iql", "cql", "tt")]
QUICK: Mapping[str, dict[str, Any]] = {
    "dt": {"width": 16, "layers": 1, "updates": 5, "batch_size": 8},
    "odt": {"width": 16, "layers": 1, "updates": 5, "batch_size": 8, "pretrain_steps": 5},
    "bc-10": {"hidden": [8], "updates": 5, "batch_size": 8},
    "iql": {"hidden": [8], "updates": 5, "batch_size": 8},
    "cql": {"hidden": [8], "updates": 5, "batch_size": 8},
    "tt": {"width": 8, "layers": 1, "bins": 4, "updates": 5, "batch_size": 8, "beam": 4},
}


@pytest.mark.parametrize(("name", "task", "data"), AGENTS)
def test_a_run_resumed_from_its_state_ends_with_the_same_bits(
    name: str, task: Task, data: Any
) -> None:
    def finished(cut: bool) -> dict[str, Any]:
        torch.manual_seed(3)
        learner = make_learner(context_of(name, task, data, 20, **QUICK[name]))
        learner.iterate()
        learner.iterate()
        if cut:
            generator = torch.get_rng_state()
            tensors, plain = split(learner.state())
            torch.manual_seed(99)
            learner = make_learner(context_of(name, task, data, 20, **QUICK[name]))
            learner.load_state(join(tensors, plain))
            torch.set_rng_state(generator)
        learner.iterate()
        assert learner.counters.gradient_steps == 15
        return dict(learner.export().tensors)

    whole, resumed = finished(False), finished(True)
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(("name", "task", "data"), AGENTS)
def test_what_is_exported_acts(name: str, task: Task, data: Any) -> None:
    learner = trained(context_of(name, task, data, 5, **QUICK[name]))
    for mode in ("mode", "sampled"):
        agent = agent_of(learner, task, mode=mode)
        env = DialEnv if task is DIAL else ChainEnv
        assert len(returns_of(agent, task, env, 3)) == 3


def test_dropout_changes_training_and_not_acting() -> None:
    settings = {**SMALL, "dropout": 0.5, "context": 4}
    learner = trained(context_of("dt", DIAL, DIAL_DATA, 20, **settings))
    agent = agent_of(learner, DIAL, target_return=3.0)
    assert returns_of(agent, DIAL, DialEnv) == returns_of(agent, DIAL, DialEnv)


@pytest.mark.parametrize("asked", [-8.1, 16.1, float("nan"), float("inf")])
def test_a_target_far_from_the_data_is_refused(asked: float) -> None:
    with pytest.raises(ConfigError, match="out of range: the returns of the data are 0 to 8"):
        target_return(asked, 0.0, 8.0)
    assert [target_return(a, 0.0, 8.0) for a in (None, -8.0, 16.0)] == [8.0, -8.0, 16.0]
    assert target_return(-10.0, -5.0, -5.0) == -10.0  # equal returns: the largest is the scale


def test_an_agent_that_is_not_asked_for_a_return_refuses_a_target() -> None:
    learner = trained(context_of("bc", DIAL, DIAL_DATA, 5, hidden=[8], updates=5))
    with pytest.raises(ConfigError, match="no effect here"):
        agent_of(learner, DIAL, target_return=3.0)


def test_data_of_other_spaces_is_refused() -> None:
    with pytest.raises(DataError, match="observations"):
        make_learner(context_of("dt", DIAL, CHAIN_DATA))


def test_an_agent_of_other_spaces_or_damaged_is_refused(dial: OfflineTraining) -> None:
    with pytest.raises(AgentError, match="action space"):
        agent_of(dial, CHAIN)
    export = dial.export()
    for change in ({"form": "gpt"}, {"spec": {}}, {"context": 0}):
        policy = {**export.config["policy"], **change}
        config = {"task": DIAL.id, "policy": policy}
        with pytest.raises(WeightsError):
            load(SavedAgent(config, dict(export.tensors)), DIAL, {})


def test_a_description_of_a_network_too_large_to_build_is_refused(dial: OfflineTraining) -> None:
    export = dial.export()
    spec = export.config["policy"]["spec"]
    for width in (2**20, 2**62):  # a terabyte, and more than can be counted
        inner = {**spec["transformer"], "width": width}
        policy = {**export.config["policy"], "spec": {**spec, "transformer": inner}}
        with pytest.raises(WeightsError) as caught:
            load(SavedAgent({"task": DIAL.id, "policy": policy}, dict(export.tensors)), DIAL, {})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dt", "odt"])
def test_a_session_trains_validates_stops_and_resumes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.data.sources.episodes_for", lambda source, task: DIAL_DATA)
    settings = {key: str(value) for key, value in {**QUICK[name], "context": 4}.items()}
    how = Validation(points=2, episodes=2, window=1)
    options: dict[str, Any] = {"settings": settings, "inputs": {"data": "x"}, "validation": how}

    def folder(stop: int | None) -> Path:
        out = tmp_path / f"{name}{stop}"
        running = train(name, DIAL, steps=20, seed=3, out=out, **options)
        for progress in running:
            if progress.steps == stop:
                running.close()
                break
        else:
            return out
        for _ in train(name, DIAL, steps=20, seed=3, out=out, resume=True, **options):
            pass
        return out

    whole, halted = folder(None), folder(10)
    weights = [(of / "weights.safetensors").read_bytes() for of in (whole, halted)]
    assert weights[0] == weights[1]
    config = load_saved(whole).config
    assert config["gradient_steps"] == 20 and len(config["validation"]["points"]) == 2
    agent = load_agent(f"{whole}+target_return=3", DIAL)
    assert isinstance(agent, DecisionPolicy) and agent.target_return == 3.0
    with pytest.raises(ConfigError, match="needs the input 'data'"):
        next(train(name, DIAL, steps=20, seed=3, out=tmp_path / "no", settings=settings))
