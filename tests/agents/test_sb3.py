"""Stable-Baselines3 and sb3-contrib models: who wrote a zip, and that it acts as its predict."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import pkubench
from pkubench.agents.adapters.fitting import is_same
from pkubench.agents.adapters.onnx_export import export_onnx
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.cli.main import main
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.errors import AgentError, AgentNotice, PkubenchError, RefusedError, WeightsError
from pkubench.tasks.task import Task
from tests.evaluation.counting import counting_task

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")
contrib = pytest.importorskip("sb3_contrib")
pytest.importorskip("onnxruntime")

from stable_baselines3.common.policies import ActorCriticPolicy  # noqa: E402
from stable_baselines3.common.torch_layers import FlattenExtractor as RealFlatten  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

from pkubench.agents.adapters.predicting import PredictingPolicy  # noqa: E402
from pkubench.agents.adapters.sb3 import load_model, load_policy  # noqa: E402

ON_POLICY = ("PPO", "A2C", "TRPO", "ARS", "RecurrentPPO", "MaskablePPO")
OFF_POLICY = ("DQN", "SAC", "TD3", "DDPG", "CrossQ", "QRDQN", "TQC")
DISCRETE = ("DQN", "QRDQN", "MaskablePPO")
DENSE = ("PPO", "A2C", "TRPO", "DQN", "SAC", "TD3", "DDPG")
ACTIVE = np.ones(6, np.bool_)
RNG = np.random.default_rng(0)
UNBOUNDED = spaces.Box(-np.inf, np.inf, (2,), np.float64)


class Spaces(gymnasium.Env[Any, Any]):
    """An environment that is nothing but its spaces."""

    def __init__(self, observed: spaces.Space[Any], acted: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observed, acted

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, True, {}


def model_of(
    name: str,
    acted: spaces.Space[Any],
    observed: spaces.Space[Any] = UNBOUNDED,
    policy: Any = None,
    **settings: Any,
) -> Any:
    """A model with random weights, so that its actions are not all near zero."""
    algorithm = getattr(sb3, name, None) or getattr(contrib, name)
    if name in OFF_POLICY:
        settings["buffer_size"] = 10
    policy = policy or ("MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy")
    model = algorithm(policy, Spaces(observed, acted), seed=0, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def saved(model: Any, folder: Path, name: str = "model.zip") -> Path:
    model.save(folder / name)
    return folder / name


def check_close(actions: Any, expected: Any) -> None:
    """Equal but for what single precision loses."""
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


def task_of(acted: spaces.Space[Any], **settings: Any) -> Task:
    return counting_task(continuous=isinstance(acted, spaces.Box), **settings)


BOX, CHOICE = spaces.Box(-1.0, 3.0, (1,), np.float32), spaces.Discrete(3)


@pytest.mark.parametrize("name", [*ON_POLICY, *OFF_POLICY])
def test_a_model_is_known_by_its_zip_and_acts_as_its_predict(name: str, tmp_path: Path) -> None:
    acted = CHOICE if name in DISCRETE else BOX
    model = model_of(name, acted)
    path = saved(model, tmp_path)
    assert load_model(path)[1].name == ("TD3" if name == "DDPG" else name)
    agent: Any = load_policy(path, task_of(acted))
    state, memory, starts = agent.begin(np.arange(6)), None, np.ones(6, np.bool_)
    different = set()
    for _ in range(5):
        observation = RNG.normal(size=(6, 2)) * 3
        actions, state = agent.act(observation, state, ACTIVE)
        expected, memory = model.predict(observation, memory, starts, deterministic=True)
        starts[:] = False
        check_close(actions, expected)
        different |= set(np.asarray(actions).round(3).ravel().tolist())
    assert len(different) > 1
    if name in DENSE:
        export_onnx(agent, tmp_path / "policy.onnx")
    else:
        reason = "no memory" if name == "RecurrentPPO" else "sb3"
        with pytest.raises(AgentError, match=f"cannot be written as ONNX: .*{reason}"):
            export_onnx(agent, tmp_path / "policy.onnx")


def played(model: Any, task: Task, episodes: int) -> float:
    """The mean return of a plain loop with ``predict`` on an evaluation's episodes."""
    env, returns = gymnasium.make(task.id, disable_env_checker=True), []
    for seed in evaluation_seeds(0, episodes).tolist():
        observation, _ = env.reset(seed=seed)
        memory, start, done, total = None, np.ones(1, np.bool_), False, 0.0
        while not done:
            action, memory = model.predict(observation, memory, start, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            done, total, start = terminated or truncated, total + float(reward), start & False
        returns.append(total)
    env.close()
    return float(np.mean(returns))


@pytest.mark.parametrize("size", [11, 16])
def test_a_recurrent_model_scores_what_a_loop_with_predict_scores(
    size: int, tmp_path: Path
) -> None:
    """Also where the state is as wide as the observation, which a graph without it would fit."""
    task = pkubench.make_task("HopperVelocity-v0")
    observed = spaces.Box(-np.inf, np.inf, (11,), np.float64)
    acted = spaces.Box(-1.0, 1.0, (3,), np.float32)
    settings = {"policy_kwargs": {"lstm_hidden_size": size}}
    path = saved(model_of("RecurrentPPO", acted, observed, **settings), tmp_path)
    report = pkubench.evaluate(f"sb3:{path}", task, episodes=3, workers=0, trust=True)
    expected = played(contrib.RecurrentPPO.load(path), task, 3)
    assert report.failed == 0
    assert report.metrics["return"].mean == pytest.approx(expected, rel=1e-3)


def test_a_dense_model_and_its_onnx_file_give_the_same_bytes(tmp_path: Path) -> None:
    task = task_of(BOX)
    model = model_of("SAC", BOX)
    path = saved(model, tmp_path)
    trusted = pkubench.evaluate(f"sb3:{path}", task, episodes=4, workers=0, trust=True)
    export_onnx(pkubench.load_agent(f"sb3:{path}", task, trust=True), tmp_path / "policy.onnx")
    free = pkubench.evaluate(f"onnx:{tmp_path / 'policy.onnx'}", task, episodes=4, workers=0)
    assert trusted.label == "sb3" and free.score == trusted.score
    assert free.runs[0].hashes["episodes.jsonl"] == trusted.runs[0].hashes["episodes.jsonl"]
    assert trusted.score == pytest.approx(played(model, task, 4))


def test_masks_of_legal_actions_reach_a_maskable_model(tmp_path: Path) -> None:
    task = task_of(CHOICE, masked=True)
    model = model_of("MaskablePPO", CHOICE)
    path = saved(model, tmp_path)
    agent: Any = load_policy(path, task)
    from pkubench.agents.contract import MaskedObservation

    observation = RNG.normal(size=(6, 2))
    free, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    mask = np.ones((6, 3), np.int8)
    mask[np.arange(6), free] = 0
    actions, _ = agent.act(MaskedObservation(observation, mask), agent.begin(np.arange(6)), ACTIVE)
    expected, _ = model.predict(observation, deterministic=True, action_masks=mask)
    np.testing.assert_array_equal(actions, expected)
    assert (actions != free).all()
    assert pkubench.evaluate(f"sb3:{path}", task, episodes=2, workers=0, trust=True).failed == 0


# What is not exactly Stable-Baselines3's own


class FlattenExtractor(RealFlatten):  # type: ignore[misc, valid-type, unused-ignore]
    """Another one of the same name: it turns the signs."""

    def forward(self, observations: Any) -> Any:
        return -super().forward(observations)


class Contrary(ActorCriticPolicy):  # type: ignore[misc, valid-type, unused-ignore]
    """Does the opposite of what its layers say."""

    def _predict(self, observation: Any, deterministic: bool = False) -> Any:
        return -super()._predict(observation, deterministic)


class Single(RealFlatten):  # type: ignore[misc, valid-type, unused-ignore]
    """Works in single precision only."""

    def forward(self, observations: Any) -> Any:
        if observations.dtype != torch.float32:
            raise TypeError("float32, please")
        return super().forward(observations)


@pytest.mark.parametrize("part", [FlattenExtractor, Contrary, torch.nn.LeakyReLU])
def test_a_subclass_is_never_mistaken_for_its_base_class(part: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        FlattenExtractor: {"policy_kwargs": {"features_extractor_class": part}},
        Contrary: {"policy": part},
        torch.nn.LeakyReLU: {"policy_kwargs": {"activation_fn": part}},
    }[part]
    model = model_of("PPO", BOX, **settings)
    agent: Any = load_policy(saved(model, tmp_path), task_of(BOX))
    assert isinstance(agent, PredictingPolicy)
    observation = RNG.normal(size=(6, 2)) * 3
    actions, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    check_close(actions, model.predict(observation, deterministic=True)[0])
    with pytest.raises(AgentError, match=part.__name__):
        export_onnx(agent, tmp_path / "policy.onnx")


def test_a_graph_that_disagrees_with_predict_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(model_of("PPO", BOX), tmp_path)
    assert not isinstance(load_policy(path, task_of(BOX)), PredictingPolicy)
    predict = ActorCriticPolicy.predict

    def altered(*arguments: Any, **named: Any) -> Any:
        actions, state = predict(*arguments, **named)
        return actions * 1.001, state

    monkeypatch.setattr(ActorCriticPolicy, "predict", altered)
    assert isinstance(load_policy(path, task_of(BOX)), PredictingPolicy)


def test_a_policy_that_only_works_in_single_precision_acts_in_it_with_a_notice(
    tmp_path: Path,
) -> None:
    model = model_of("PPO", BOX, policy_kwargs={"features_extractor_class": Single})
    with pytest.warns(AgentNotice, match="acts in single precision"):
        agent: Any = load_policy(saved(model, tmp_path), task_of(BOX))
    observation = RNG.normal(size=(6, 2))
    actions, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    np.testing.assert_array_equal(actions, model.predict(observation, deterministic=True)[0])


# Spaces


def test_actions_learned_behind_rescale_action_are_stretched_to_the_tasks_bounds(
    tmp_path: Path,
) -> None:
    """On a task with bounds -1 and 3, [-1, 1] is one half of what it must be."""
    task, unit = task_of(BOX), spaces.Box(-1.0, 1.0, (1,), np.float32)
    for name in ("PPO", "RecurrentPPO"):
        model = model_of(name, unit)
        path = saved(model, tmp_path, f"{name}.zip")
        with pytest.warns(AgentNotice, match=r"rescaled to the task's Box\(-1, 3, "):
            report = pkubench.evaluate(f"sb3:{path}", task, episodes=4, workers=0, trust=True)

        class ByHand:
            def __init__(self, model: Any = model) -> None:
                self.predict = model.predict

            def begin(self, seeds: Any) -> Any:
                return None, np.ones(len(seeds), np.bool_)

            def act(self, observation: Any, state: Any, active: Any) -> Any:
                actions, memory = self.predict(observation, *state, deterministic=True)
                return 1 + 2 * actions, (memory, np.zeros(len(active), np.bool_))

        by_hand = pkubench.evaluate(ByHand(), task, episodes=4, workers=0)
        assert report.score == by_hand.score and report.failed == 0


def test_a_model_of_the_humanoid_scores_with_its_actions_at_the_right_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = pkubench.make_task("HumanoidVelocity-v0")
    observed = spaces.Box(-np.inf, np.inf, (376,), np.float64)
    unit = spaces.Box(-1.0, 1.0, (17,), np.float32)
    model = model_of("PPO", unit, observed)
    path = saved(model, tmp_path)
    with pytest.warns(AgentNotice, match=r"Box\(-0.4, 0.4, \(17,\), float32\)"):
        agent: Any = pkubench.load_agent(f"sb3:{path}", task, trust=True)
    observation = RNG.normal(size=(6, 376))
    actions, _ = agent.act(observation, None, ACTIVE)
    expected = np.float32(0.4) * model.predict(observation, deterministic=True)[0]
    check_close(actions, expected)
    file = str(tmp_path / "policy.onnx")
    assert main(["export", f"sb3:{path}", task.id, "--onnx", file, "--trust", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("note: model.zip acts in Box(-1, 1, (17,), float32); its actions")
    assert printed.err.count("\n") == 1 and json.loads(printed.out)["onnx"] == file
    again: Any = pkubench.load_agent(f"onnx:{file}", task)
    np.testing.assert_array_equal(again.act(observation, None, ACTIVE)[0], actions)


ODD = np.float32([[-1.0, -1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("observed", "acted", "message"),
    [
        (UNBOUNDED, spaces.Box(-2, 2, (1,)), r"actions Box\(-2, 2,.*takes Box\(-1, 3,"),
        (UNBOUNDED, spaces.Box(0, 1, (1,)), r"Box\(0, 1,.*Box\(-1, 3,"),
        (UNBOUNDED, spaces.Box(-1, 2, (1,)), r"Box\(-1, 2,.*Box\(-1, 3,"),
        (UNBOUNDED, spaces.Box(0, 3, (1,)), r"Box\(0, 3,.*Box\(-1, 3,"),
        (UNBOUNDED, spaces.Box(-1, 1, (2,)), r"\(2,\), float32\).*\(1,\), float32\)"),
        (UNBOUNDED, spaces.Discrete(3), r"actions Discrete\(3\), the task takes Box"),
        (spaces.Box(*ODD), BOX, r"Box\(-1, 1..2, \(2,\).*has Box\(-inf, inf.*other bounds"),
        (spaces.Box(-9, 9, (2,), np.int64), BOX, "int64.*float64"),
        (spaces.Box(-np.inf, np.inf, (8,)), BOX, "4 times as many numbers: VecFrameStack of 4"),
        (spaces.Box(-np.inf, np.inf, (3,)), BOX, "one number more: the time"),
        (spaces.Discrete(5), BOX, r"observations Discrete\(5\), the task has Box"),
    ],
)
def test_spaces_that_differ_are_both_named(
    observed: Any, acted: Any, message: str, tmp_path: Path
) -> None:
    path = saved(model_of("PPO", acted, observed), tmp_path)
    with pytest.raises(AgentError, match=message) as caught:
        resolve_agent(f"sb3:{path}", task_of(BOX), trust=True)
    assert "\n" not in str(caught.value)


def test_spaces_are_the_same_up_to_the_precision_of_their_numbers() -> None:
    single, double = (spaces.Box(-0.1, 0.1, (2,), kind) for kind in (np.float32, np.float64))
    assert is_same(single, double)
    whole, real = (spaces.Box(0, 1, (2,), kind) for kind in (np.int64, np.float64))
    assert not is_same(whole, real)
    assert is_same(spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 3]))
    assert not is_same(spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 4]))
    assert not is_same(spaces.MultiBinary(3), spaces.MultiDiscrete([2, 2, 2]))


@pytest.mark.parametrize(
    "acted", [spaces.Discrete(4), spaces.MultiDiscrete([3]), spaces.Discrete(3, start=1)]
)
def test_choices_that_differ_are_both_named(acted: Any, tmp_path: Path) -> None:
    path = saved(model_of("PPO", acted), tmp_path)
    with pytest.raises(AgentError, match=r"Discrete\(.*(Discrete\(3\)|from 0)"):
        resolve_agent(f"sb3:{path}", task_of(CHOICE), trust=True)


def test_a_model_of_one_agent_is_not_a_team(tmp_path: Path) -> None:
    path = saved(model_of("PPO", CHOICE), tmp_path)
    with pytest.raises(AgentError, match=r"one agent, the task has \['p0', 'p1'\]"):
        resolve_agent(f"sb3:{path}", counting_task(players=2), trust=True)


# What lies outside the file


def normalised(folder: Path, **settings: Any) -> tuple[Path, Any, Any]:
    """A zip of a training behind VecNormalize, its model, and the wrapper with its statistics."""
    task = task_of(BOX)
    env = VecNormalize(
        DummyVecEnv([lambda: gymnasium.make(task.id, disable_env_checker=True)]),
        clip_obs=1.5,
        **settings,
    )
    model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0)
    model.learn(64)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3.0)
    return saved(model, folder, "rl_model_64_steps.zip"), model, env


@pytest.mark.parametrize(
    "name",
    [
        "vecnormalize.pkl",
        "rl_model_vecnormalize_64_steps.pkl",
        "rl_model_64_steps/vecnormalize.pkl",
    ],
)
def test_the_statistics_of_vecnormalize_are_asked_for_and_applied(
    name: str, tmp_path: Path
) -> None:
    path, model, env = normalised(tmp_path)
    task = task_of(BOX)
    with pytest.raises(AgentError, match=r"behind VecNormalize.*env.save\('vecnormalize.pkl'\)"):
        resolve_agent(f"sb3:{path}", task, trust=True)
    statistics = tmp_path / name
    statistics.parent.mkdir(exist_ok=True)
    env.save(statistics)
    with pytest.warns(AgentNotice, match=f"normalized by {statistics.name}"):
        source = resolve_agent(f"sb3:{path}", task, trust=True)
    assert set(source.runs[0].hashes) == {path.name, statistics.name}
    agent: Any = source.runs[0].load()
    observation = RNG.normal(size=(6, 2)) * 3
    actions, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    expected, _ = model.predict(env.normalize_obs(observation), deterministic=True)
    check_close(actions, expected)
    assert not np.allclose(actions, model.predict(observation, deterministic=True)[0], atol=1e-3)
    export_onnx(agent, tmp_path / "policy.onnx")
    again: Any = pkubench.load_agent(f"onnx:{tmp_path / 'policy.onnx'}", task)
    np.testing.assert_array_equal(again.act(observation, None, ACTIVE)[0], actions)


def test_rewards_alone_that_were_normalised_change_no_observation(tmp_path: Path) -> None:
    path, model, env = normalised(tmp_path, norm_obs=False)
    env.save(tmp_path / "vecnormalize.pkl")
    with pytest.warns(AgentNotice):
        agent: Any = pkubench.load_agent(f"sb3:{path}", task_of(BOX), trust=True)
    observation = RNG.normal(size=(6, 2)) * 3
    actions, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    check_close(actions, model.predict(observation, deterministic=True)[0])


def test_statistics_that_do_not_belong_to_the_model_are_named(tmp_path: Path) -> None:
    plain = saved(model_of("PPO", BOX), tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(3))
    with pytest.warns(AgentNotice, match="vecnormalize.pkl is not used"):
        resolve_agent(f"sb3:{plain}", task_of(BOX), trust=True).runs[0].load()
    path, _, _ = normalised(tmp_path)
    with pytest.warns(AgentNotice), pytest.raises(WeightsError, match="not a saved VecNormalize"):
        resolve_agent(f"sb3:{path}", task_of(BOX), trust=True).runs[0].load()


# Files that are something else

ON_POLICY_SETTINGS = ("clip_range", "gae_lambda")


def _rewritten(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    settings = json.loads(entries["data"])
    change(entries, settings)
    if "data" in entries:
        entries["data"] = json.dumps(settings).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-2000]),
            "by torch.save, or is truncated",
        ),
        (lambda path: path.write_text("policy"), "not a zip file"),
        (lambda path: torch.save({"a": torch.ones(1)}, path), "by torch.save, or is truncated"),
        (lambda path: _rewritten(path, lambda e, s: e.pop("data")), "has no settings"),
        (lambda path: _rewritten(path, lambda e, s: e.pop("policy.pth")), "no weights"),
        (lambda path: _rewritten(path, lambda e, s: s.pop("action_space")), "no action_space"),
        (lambda path: _rewritten(path, lambda e, s: s.pop("policy_class")), "no policy_class"),
        (
            lambda path: _rewritten(path, lambda e, s: [s.pop(n) for n in ON_POLICY_SETTINGS]),
            "policies.ActorCriticPolicy, which was saved by none of",
        ),
        (
            lambda path: _rewritten(path, lambda e, s: e.update({"policy.pth": b"x"})),
            "saved by PPO and cannot be loaded",
        ),
    ],
)
def test_a_zip_that_is_something_else_is_one_helpful_line(
    damage: Any, message: str, tmp_path: Path
) -> None:
    path = saved(model_of("PPO", BOX), tmp_path)
    damage(path)
    with pytest.raises(PkubenchError, match=message) as caught:
        resolve_agent(f"sb3:{path}", task_of(BOX), trust=True).runs[0].load()
    assert "\n" not in str(caught.value)


class Foreign(sb3.common.policies.BasePolicy):  # type: ignore[misc, name-defined, unused-ignore]
    """A policy that none of the known algorithms trains."""

    def _predict(self, observation: Any, deterministic: bool = False) -> Any:
        raise NotImplementedError


def test_a_policy_of_an_unknown_library_is_named(tmp_path: Path) -> None:
    path = saved(model_of("PPO", BOX), tmp_path)
    from stable_baselines3.common.save_util import data_to_json

    foreign = json.loads(data_to_json({"policy_class": Foreign}))["policy_class"]
    _rewritten(path, lambda entries, settings: settings.update(policy_class=foreign))
    with pytest.raises(AgentError, match=r"test_sb3.Foreign.*none of RecurrentPPO, .*own"):
        load_policy(path, task_of(BOX))


def test_a_missing_sb3_contrib_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(model_of("ARS", BOX), tmp_path)
    trpo = saved(model_of("TRPO", BOX), tmp_path, "trpo.zip")
    find = importlib.util.find_spec
    loads = pickle.loads

    def missing(name: str, *rest: Any) -> Any:
        return None if name == "sb3_contrib" else find(name, *rest)

    def opened(data: bytes) -> Any:
        if b"sb3_contrib" in data:
            raise ModuleNotFoundError("No module named 'sb3_contrib'", name="sb3_contrib.ars")
        return loads(data)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setattr(pickle, "loads", opened)
    for model in (path, trpo):
        with pytest.raises(AgentError, match="pip install sb3-contrib"):
            load_model(model)


def test_no_pickle_is_opened_without_trust(tmp_path: Path, monkeypatch: Any) -> None:
    path = saved(model_of("PPO", BOX), tmp_path)

    def opened(data: bytes) -> Any:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(pickle, "loads", opened)
    with pytest.raises(RefusedError, match="--trust"):
        resolve_agent(f"sb3:{path}", task_of(BOX))


def test_what_only_training_needs_may_be_unreadable(tmp_path: Path) -> None:
    """As pickled functions are, when another version of Python saved them."""
    model = model_of("PPO", BOX, learning_rate=lambda left: left * 1e-3)
    path = saved(model, tmp_path)
    broken = {":type:": "function", ":serialized:": "gASVAAAAAAAAAAA="}
    names = ("lr_schedule", "learning_rate", "clip_range", "ep_info_buffer")
    _rewritten(path, lambda entries, settings: settings.update(dict.fromkeys(names, broken)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent: Any = load_policy(path, task_of(BOX))
    observation = RNG.normal(size=(6, 2))
    actions, _ = agent.act(observation, agent.begin(np.arange(6)), ACTIVE)
    check_close(actions, model.predict(observation, deterministic=True)[0])


# Processors

ACTING = """
import hashlib, sys
import numpy as np, torch
from pkubench.agents.adapters.sb3 import load_policy
from tests.evaluation.counting import counting_task

digests = []
for path in sys.argv[1:]:
    agent = load_policy(__import__("pathlib").Path(path), counting_task(continuous=True))
    rng, state = np.random.default_rng(0), agent.begin(np.arange(16))
    digest = hashlib.sha256()
    for _ in range(200):
        actions, state = agent.act(rng.normal(size=(16, 2)), state, np.ones(16, np.bool_))
        digest.update(actions.tobytes())
    digests.append(digest.hexdigest())
print(torch.backends.cpu.get_cpu_capability(), *digests)
"""


def digests_under(paths: list[Path], **environment: str) -> tuple[str, list[str]]:
    """The instructions that torch uses in a fresh process, and a digest of each model's actions."""
    known = {name: value for name, value in os.environ.items() if name != "OPENBLAS_L2_SIZE"}
    result = subprocess.run(
        [sys.executable, "-c", ACTING, *map(str, paths)],
        env={**known, "OMP_NUM_THREADS": "1", "PYTHONPATH": ".", **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    capability, *digests = result.stdout.split()
    return capability, digests


def processor_models(folder: Path) -> list[Path]:
    """A dense one, one with a state, and one whose layers are its own."""
    models = {
        "dense": model_of("PPO", BOX),
        "recurrent": model_of("RecurrentPPO", BOX, policy_kwargs={"lstm_hidden_size": 64}),
        "own": model_of("SAC", BOX, policy_kwargs={"activation_fn": torch.nn.SiLU}),
    }
    return [saved(model, folder, f"{name}.zip") for name, model in models.items()]


def test_a_policy_that_predicts_computes_in_double_precision_and_rounds(tmp_path: Path) -> None:
    model = model_of("SAC", BOX, policy_kwargs={"activation_fn": torch.nn.SiLU})
    agent: Any = load_policy(saved(model, tmp_path), task_of(BOX))
    observation = RNG.normal(size=(500, 2)).astype(np.float32)
    actions, _ = agent.act(observation, agent.begin(np.arange(500)), np.ones(500, np.bool_))
    actor = model.policy.actor.double()
    with torch.no_grad():
        squashed = torch.tanh(actor.mu(actor.latent_pi(torch.as_tensor(observation).double())))
    assert actions.dtype == np.float32 and len(np.unique(actions)) > 100
    np.testing.assert_array_equal(actions, (-1 + 2 * (squashed + 1)).numpy().astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["Haswell", "SkylakeX", "Nehalem"])
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_actions_are_the_same_bytes_under_every_kernel(
    capability: str, kernel: str, tmp_path: Path
) -> None:
    if capability == "avx2" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("this processor has no AVX2")
    paths = processor_models(tmp_path)
    _, natural = digests_under(paths)
    under = {"ATEN_CPU_CAPABILITY": capability, "OPENBLAS_CORETYPE": kernel}
    assert digests_under(paths, **under)[1] == natural
