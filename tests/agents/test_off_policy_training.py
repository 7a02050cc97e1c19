"""Training off-policy agents: resuming, seeds side by side, saved agents, learning."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.adapters.onnx import load_policy
from pkubench.agents.adapters.onnx_export import export_onnx
from pkubench.agents.families.off_policy import hasac, train
from pkubench.agents.families.off_policy.loading import load
from pkubench.agents.families.off_policy.presets import NAMES, preset
from pkubench.agents.families.off_policy.training import train_together
from pkubench.agents.registry import presets
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.replay import ReplayBuffer
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.saved.files import load_saved, load_tensors, save_agent
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, UnknownName, WeightsError
from pkubench.tasks.registry import make_task
from tests.agents.worlds import MEAN_LENGTH, SharingWorld, SpeedWorld, task_of

SMALL = {
    "num_envs": "4",
    "train_interval": "5",
    "warmup_steps": "40",
    "hidden": "[16, 12]",
    "batch_size": "32",
    "buffer_size": "400",
    "checkpoint_steps": "80",
    "n_step": "2",
}
SPREAD = "SimpleSpreadContinuous-v0"


def _settings(**more: Any) -> dict[str, str]:
    return {**SMALL, **{k: str(v) for k, v in more.items()}}


def _train(
    agent: str, task: Any, out: Path, steps: int, seed: int = 0, resume: bool = False, **more: Any
) -> list[Any]:
    settings = _settings(**more)
    run = train(agent, task, steps=steps, seed=seed, settings=settings, out=out, resume=resume)
    return list(run)


def _weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("agent", ["hasac", "hatd3", "sac-lag", "td3-pid"])
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, agent: str
) -> None:
    task = make_task("SimpleSpeakerListener-v0")
    if agent != "hasac":
        task = task_of(SpeedWorld, cost_limit=0.5)
    more = {"cost_norm": "true"} if agent == "td3-pid" else {}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train(agent, task, whole, 600, **more)
    run = train(agent, task, steps=600, seed=0, settings=_settings(**more), out=parts)
    for _ in range(13):
        next(run)
    run.close()
    assert not (parts / "weights.safetensors").exists()
    rest = _train(agent, task, parts, 600, resume=True, **more)
    assert rest[0].steps == 280
    assert _weights(parts) == _weights(whole)
    curves = [
        [
            [json.loads(line).get(name) for name in ("return", "multiplier")]
            for line in (f / "training.jsonl").read_text().splitlines()
        ]
        for f in (parts, whole)
    ]
    assert curves[0] == curves[1]
    assert (len({multiplier for _, multiplier in curves[0]}) > 10) == ("-" in agent)


def test_an_interrupt_in_the_middle_of_an_update_goes_back_to_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(SPREAD)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train("hasac", task, whole, 300)
    update = OffPolicyLearner._update_actors
    calls = 0

    def strike(self: OffPolicyLearner, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 33:
            raise KeyboardInterrupt
        return update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(OffPolicyLearner, "_update_actors", strike)
        with pytest.raises(KeyboardInterrupt):
            _train("hasac", task, parts, 300)
    _train("hasac", task, parts, 300, resume=True)
    assert _weights(parts) == _weights(whole)


@pytest.mark.parametrize("name", ["SimpleSpeakerListener-v0", "SpeedWorld"])
def test_the_replay_is_told_what_each_step_led_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    task = task_of(SpeedWorld) if name == "SpeedWorld" else make_task(name)
    played: list[Any] = []
    told: list[Any] = []
    collect, add = Collector.collect, ReplayBuffer.add

    def spy_collect(self: Collector, *args: Any, **kwargs: Any) -> Any:
        played.append(collect(self, *args, **kwargs))
        return played[-1]

    def spy_add(self: ReplayBuffer, *args: Any) -> None:
        told.append((self.layout, *args))
        add(self, *args)

    monkeypatch.setattr(Collector, "collect", spy_collect)
    monkeypatch.setattr(ReplayBuffer, "add", spy_add)
    _train("hatd3", task, tmp_path, 1000)
    ends = np.zeros(2, int)
    for data, (layout, rows, after, terminated, truncated) in zip(played, told, strict=True):
        for agent, columns in layout.observations.items():
            np.testing.assert_array_equal(rows[..., columns], data.observations[agent])
            np.testing.assert_array_equal(after[..., columns], data.next_observations[agent])
        for agent, columns in layout.actions.items():
            numbers = rows[..., columns]
            if name != "SpeedWorld":
                assert (numbers.sum(-1) == 1).all()
                numbers = numbers.argmax(-1)
            np.testing.assert_array_equal(numbers, data.actions[agent])
        np.testing.assert_array_equal(rows[..., layout.reward], data.rewards)
        np.testing.assert_array_equal(rows[..., layout.cost], data.costs)
        np.testing.assert_array_equal(terminated, data.terminated)
        np.testing.assert_array_equal(truncated, data.truncated)
        ends += terminated.sum(), truncated.sum()
    assert (ends > 0).tolist() == [name == "SpeedWorld", True]


def test_a_completed_run_holds_no_replay_and_resuming_it_changes_nothing(tmp_path: Path) -> None:
    task = task_of(SpeedWorld)
    _train("hatd3", task, tmp_path, 200)
    before = _weights(tmp_path)
    assert not list(tmp_path.glob("checkpoint*"))
    assert _train("hatd3", task, tmp_path, 200, resume=True) == []
    assert _weights(tmp_path) == before
    with pytest.raises(ConfigError, match="--resume"):
        _train("hatd3", task, tmp_path, 200)
    with pytest.raises(ConfigError, match=r"other settings: gamma=0\.95, not 0\.5;"):
        _train("hatd3", task, tmp_path, 200, resume=True, gamma=0.5)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("hasac", SPREAD),
        ("matd3", SPREAD),
        ("masac", "SimpleSpread-v0"),
        ("sac-lag", "SpeedWorld"),
    ],
)
def test_a_seed_trained_beside_others_becomes_what_it_becomes_alone(
    tmp_path: Path, agent: str, name: str
) -> None:
    task = task_of(SpeedWorld, cost_limit=1.0) if name == "SpeedWorld" else make_task(name)
    seeds = [3, 8, 5]
    together = train_together(
        agent,
        task,
        steps=300,
        seeds=seeds,
        settings=SMALL,
        outs=[tmp_path / f"seed{seed}" for seed in seeds],
    )
    assert [len(reports) for reports in together] == [3] * 15
    _train(agent, task, tmp_path / "alone", 300, seed=8)
    alone, beside = (load_tensors(tmp_path / f / "weights.safetensors") for f in ("alone", "seed8"))
    other = load_tensors(tmp_path / "seed5" / "weights.safetensors")
    assert alone.keys() == beside.keys()
    for key, values in alone.items():
        # a product of several matrices may round otherwise than one of each
        np.testing.assert_allclose(beside[key], values, atol=1e-5)
    assert any(np.abs(other[key] - alone[key]).max() > 0.01 for key in alone)


def test_a_batch_of_seeds_resumes_from_its_folders(tmp_path: Path) -> None:
    def start(folder: Path, resume: bool = False) -> Any:
        return train_together(
            "hasac",
            make_task(SPREAD),
            steps=300,
            seeds=[0, 1],
            settings=SMALL,
            outs=[folder / "seed0", folder / "seed1"],
            resume=resume,
        )

    list(start(tmp_path / "whole"))
    run = start(tmp_path / "parts")
    for _ in range(9):
        next(run)
    run.close()
    checkpoint = tmp_path / "parts" / "seed1" / "checkpoint.safetensors"
    kept = checkpoint.rename(tmp_path / "kept")
    with pytest.raises(ConfigError, match=r"stopped at different steps \(\[0, 180\]\)"):
        list(start(tmp_path / "parts", resume=True))
    kept.rename(checkpoint)
    list(start(tmp_path / "parts", resume=True))
    for seed in ("seed0", "seed1"):
        assert _weights(tmp_path / "parts" / seed) == _weights(tmp_path / "whole" / seed)


def test_a_damaged_checkpoint_is_named_not_loaded(tmp_path: Path) -> None:
    task = task_of(SpeedWorld)
    run = train("hatd3", task, steps=400, seed=0, settings=SMALL, out=tmp_path)
    for _ in range(6):
        next(run)
    run.close()
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="corrupt or truncated"):
        _train("hatd3", task, tmp_path, 400, resume=True)


@pytest.mark.parametrize(
    ("agent", "name"),
    [("hasac", SPREAD), ("hatd3", SPREAD), ("masac", SPREAD), ("hasac", "SimpleSpread-v0")],
)
def test_a_saved_team_acts_with_the_mode_of_the_trained_networks(
    tmp_path: Path, agent: str, name: str
) -> None:
    task = make_task(name)
    _train(agent, task, tmp_path / "run", 200)
    team: Any = load(load_saved(tmp_path / "run"))
    env = make_batch(name, 40)
    seen, _ = env.reset(np.arange(40))
    tensors = load_tensors(tmp_path / "run" / "weights.safetensors")
    export_onnx(team, tmp_path / "onnx")
    exported: Any = load_policy(tmp_path / "onnx", task)
    for member in env.agents:
        network = "shared" if agent == "masac" else member
        h = torch.from_numpy(seen[member])
        for k, part in enumerate(("linears.0", "linears.1", "head")):
            weight, bias = (
                torch.from_numpy(tensors[f"{network}.{part}.{kind}"]) for kind in ("weight", "bias")
            )
            h = h @ weight.t() + bias
            is_tanh = k == 1 and name == SPREAD and agent != "hatd3"
            if k < 2:
                h = torch.tanh(h) if is_tanh else torch.relu(h)
        # the actions are in [0, 1]
        wanted = h.argmax(-1) if name != SPREAD else 0.5 + 0.5 * torch.tanh(h[:, :5])
        for policy in (team.members[member], exported.members[member]):
            state = policy.begin(np.arange(40))
            actions, _ = policy.act(seen[member], state, np.ones(40, bool))
            np.testing.assert_allclose(actions, wanted.numpy(), atol=1e-5)
    assert load_agent(str(tmp_path / "run"), task)


def test_a_stochastic_actor_samples_its_gaussian(tmp_path: Path) -> None:
    _train("hasac", task_of(SpeedWorld), tmp_path, 100)
    policy: Any = load(load_saved(tmp_path), acting={"mode": "sampled"})
    n = 20_000
    seen = np.full((n, 2), 0.5)
    actions, _ = policy.act(seen, policy.begin(np.arange(n)), np.ones(n, bool))
    mean, log_std = policy._outputs(seen[:1])[0]
    u = np.arctanh(actions[:, 0].astype(np.float64))
    assert abs(u.mean() - mean) < 4 * np.exp(log_std) / np.sqrt(n)
    assert u.std() == pytest.approx(np.exp(log_std), rel=0.03)


Change = Any


def _member(**fields: Any) -> Change:
    return lambda config, tensors: config["members"]["agent"].update(fields)


def _spec(**fields: Any) -> Change:
    return lambda config, tensors: config["members"]["agent"]["spec"].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_member(head="cubic"), "head 'cubic'"),
        (_member(head="categorical"), "categorical head"),
        (_member(bounds="wrap"), "bounds 'wrap'"),
        (_member(spec="x"), "incomplete"),
        (_member(network="other"), "lack the tensor"),
        (_spec(outputs=5), "5 outputs"),
        (_spec(inputs=2.5), "2.5 numbers"),
        (_spec(last_activation="gelu"), "activation 'gelu'"),
        (_spec(hidden=[-8, 12]), "layers of"),
        (lambda config, tensors: config.update(members=[]), "'members'"),
        (lambda config, tensors: config.pop("task"), "'task'"),
        (lambda config, tensors: tensors.pop("agent.head.bias"), "lack the tensor"),
        (
            lambda config, tensors: tensors.update({"agent.head.bias": np.full(2, np.nan, "f4")}),
            "NaN",
        ),
    ],
)
def test_what_does_not_describe_an_agent_is_refused(
    tmp_path: Path, change: Change, words: str
) -> None:
    spec = {
        "inputs": 2,
        "hidden": [8, 12],
        "outputs": 2,
        "activation": "relu",
        "last_activation": "tanh",
        "layer_norm": False,
    }
    member = {"network": "agent", "spec": spec, "head": "gaussian", "bounds": "rescale"}
    config: dict[str, Any] = {
        "kind": "off-policy",
        "agent": "hasac",
        "task": task_of(SpeedWorld).id,
        "members": {"agent": member},
    }
    shapes = {"linears.0.weight": (8, 2), "linears.0.bias": (8,), "linears.1.weight": (12, 8)}
    shapes |= {"linears.1.bias": (12,), "head.weight": (2, 12), "head.bias": (2,)}
    tensors: dict[str, Any] = {f"agent.{k}": np.zeros(v, np.float32) for k, v in shapes.items()}
    save_agent(tmp_path / "good", config, tensors)
    load(load_saved(tmp_path / "good"))
    change(config, tensors)
    save_agent(tmp_path / "bad", config, tensors)
    with pytest.raises((WeightsError, AgentError), match=words):
        load(load_saved(tmp_path / "bad"))


def test_wrong_settings_are_one_clear_error(tmp_path: Path) -> None:
    task = task_of(SharingWorld)
    for setting, value, error, words in (
        ("gama", 0.9, UnknownName, "gamma"),
        ("gamma", 1.5, ConfigError, r"lie in \[0, 1\]"),
        ("batch_size", 0, ConfigError, "at least 1"),
        ("hidden", "[]", ConfigError, "layer sizes"),
        ("shared", "true", ConfigError, "simultaneous"),
        ("actor_lr", "NaN", ConfigError, "finite"),
        ("buffer_size", 15, ConfigError, r"n_step \+ 2 rows a lane, 16 in all: got 15"),
    ):
        with pytest.raises(error, match=words):
            _train("hasac", task, tmp_path, 100, **{setting: value})
    with pytest.raises(UnknownName):
        preset("hasack", task)


def test_the_smallest_replay_allowed_trains(tmp_path: Path) -> None:
    assert _train("hatd3", make_task(SPREAD), tmp_path, 400, buffer_size=16)[-1].steps == 400


def test_every_preset_is_in_the_catalogue_and_its_ablation_differs_in_the_scheme_alone() -> None:
    listed = {n for n, s in presets().items() if s.family == "off-policy"}
    assert listed == set(NAMES)
    pairs = [
        *((n, f"{n}-simultaneous", {"scheme": "simultaneous"}) for n in TWINS),
        ("haddpg", "maddpg", {"scheme": "replayed"}),
        ("hatd3", "matd3", {"scheme": "replayed"}),
        ("hasac", "masac", {"scheme": "simultaneous", "shared": True}),
    ]
    for task in ("SimpleSpreadContinuous", "MultiAnt4x2", "MultiHopper3x1"):
        for name, other, differences in pairs:
            one, two = (hasac.preset_for(n, task) for n in (name, other))
            assert two == dataclasses.replace(one, **differences)
            assert one.scheme == "sequential"


PUBLISHED = """
hasac  Ant4x2         20 1000 1e-3 3e-4  5 fixed
hasac  Ant2x4         20 2200 1e-3 3e-4  5 fixed
hasac  HalfCheetah2x3 20 1000 1e-3 1e-3 10 tuned
hasac  HalfCheetah6x1 20 1000 1e-3 1e-3 10 tuned
hasac  Walker2d2x3    20 1000 5e-4 1e-3 20 fixed
hasac  Walker2d6x1    20 1000 5e-4 1e-3 20 fixed
hatd3  Ant4x2         10 1000 5e-4 1e-3  5 2
hatd3  HalfCheetah2x3 10 1000 5e-4 1e-3 10 2
hatd3  Hopper3x1      10 1000 5e-4 1e-3  5 2
hatd3  Walker2d2x3    10 1000 5e-4 1e-3 20 8
hatd3  Walker2d6x1    10 1000 5e-4 1e-3 25 2
hatd3  Humanoid17x1   10 1000 5e-4 1e-3  5 2
haddpg Ant4x2         10 1000 5e-4 1e-3 20 1
haddpg HalfCheetah2x3 10 1000 5e-4 1e-3 20 1
haddpg Hopper3x1      10 1000 5e-4 1e-3 20 1
haddpg Walker2d2x3    10 1000 5e-4 1e-3 10 1
haddpg Walker2d6x1    10 1000 5e-4 1e-3 20 1
"""
"""HARL's tuned files: lanes, batch, the actors' and critics' rates, n-step, and how the temperature
is found (SAC) or at every which update the actors move."""
TAKEN = """
hasac  Hopper3x1      20 1000 1e-3 1e-3 10 tuned
hasac  Humanoid17x1   20 1000 1e-3 1e-3 10 tuned
haddpg Humanoid17x1   10 1000 5e-4 1e-3 20 1
"""
"""The same where HARL has no file."""
TWINS = {"haddpg": ("haddpg", "maddpg"), "hatd3": ("hatd3", "matd3"), "hasac": ("hasac", "masac")}


def test_paper_presets_have_the_published_numbers() -> None:
    listed = set()
    for line in (PUBLISHED + TAKEN).split("\n"):
        if not line:
            continue
        method, world, *numbers = line.split()
        lanes, batch, actor_lr, critic_lr, n_step = map(float, numbers[:5])
        listed.add((method, f"Multi{world}"))
        for name in TWINS[method]:
            c = hasac.preset_for(f"{name}-paper", f"Multi{world}")
            found = (c.num_envs, c.batch_size, c.actor_lr, c.critic_lr, c.n_step)
            assert found == (lanes, batch, actor_lr, critic_lr, n_step), line
            assert (c.hidden, c.gamma, c.tau) == ((256, 256), 0.99, 0.005)
            is_ant_ddpg = (method, world) == ("haddpg", "Ant4x2")
            every = 10 if lanes == 10 and not is_ant_ddpg else 20
            assert c.updates * every == c.interval_steps
            assert c.exploration == (0.05 if is_ant_ddpg else 0.1)
            if method == "hasac":
                alpha = (1.0, True) if numbers[5] == "tuned" else (0.2, False)
                assert (c.alpha, c.alpha_auto) == alpha, line
            else:
                assert c.policy_delay == int(numbers[5]), line
            small = hasac.preset_for(name, f"Multi{world}")
            assert (small.num_envs, small.hidden, small.batch_size) == (20, (64, 64), 256)
            assert (small.n_step, small.policy_delay) == (1, c.policy_delay)
    rules = {"sac": "hasac", "td3": "hatd3", "ddpg": "haddpg"}
    tuned = {(rules[rule], task) for rule, tasks in hasac.PAPER.items() for task in tasks}
    assert tuned == listed
    for name, hidden, critic_lr, n_step in (
        ("hasac", (256, 256), 5e-4, 20),
        ("hatd3", (128, 128), 1e-3, 1),
        ("haddpg", (128, 128), 1e-3, 1),
    ):
        for twin in TWINS[name]:
            c = hasac.preset_for(f"{twin}-paper", "SimpleSpreadContinuous")
            assert (c.num_envs, c.batch_size, c.actor_lr, c.updates) == (20, 1000, 5e-4, 50)
            assert (c.hidden, c.critic_lr, c.n_step) == (hidden, critic_lr, n_step)


LEARNING = {
    "num_envs": 8,
    "train_interval": 5,
    "updates_per_step": 1,
    "warmup_steps": 500,
    "hidden": "[32, 32]",
    "batch_size": 128,
    "buffer_size": 20_000,
    "actor_lr": 3e-3,
    "critic_lr": 3e-3,
    "alpha_lr": 1e-2,
    "n_step": 1,
    "gamma": 0.9,
}


@pytest.mark.parametrize("agent", ["hasac", "hatd3", "haddpg"])
def test_a_known_optimum_is_found(tmp_path: Path, agent: str) -> None:
    """SpeedWorld: reward 1 - (1 - a)^2, so a = 1 gives 1 a step; uniform actions give 0.42."""
    more: dict[str, Any] = {"alpha": 0.1} if agent == "hasac" else {}
    run = _train(agent, task_of(SpeedWorld), tmp_path, 6000, **LEARNING, **more)
    late = float(np.mean([p.metrics["return"] for p in run[-20:]]))
    assert late > 0.8 * MEAN_LENGTH  # actions explore
    policy: Any = load(load_saved(tmp_path))
    seen = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    actions, _ = policy.act(seen, policy.begin(np.arange(50)), np.ones(50, bool))
    assert actions.mean() > 0.8


def test_separate_policies_reach_what_a_shared_one_cannot(tmp_path: Path) -> None:
    task, more = task_of(SharingWorld), {"alpha": 0.05, "alpha_auto": "false"}
    separate = _train("hasac", task, tmp_path / "h", 5000, **LEARNING, **more)
    shared = _train("masac", task, tmp_path / "m", 5000, **LEARNING, **more)
    assert separate[-1].metrics["return"] > 3.7
    assert shared[-1].metrics["return"] < 2.6
