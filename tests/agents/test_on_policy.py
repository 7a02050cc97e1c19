"""The composed on-policy learner: its update against a slow reference, learning, resuming."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import with_settings
from pkubench.agents.families.on_policy.harl import TUNED
from pkubench.agents.families.on_policy.loading import load
from pkubench.agents.families.on_policy.presets import PRESETS, tuned
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.critic import CriticStack
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.saved.files import load_saved, load_tensors
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, UnknownName, WeightsError
from pkubench.tasks.registry import make_task
from pkubench.training.checkpoints import Spacing
from pkubench.training.session import train
from tests.agents.configs import Flat, config_of, that_fit, with_changes
from tests.agents.toy_envs import MEAN_LENGTH, SharingEnv, SpeedEnv, task_of

SMALL = {
    "num_envs": "8",
    "rollout_steps": "8",
    "hidden": "[16]",
    "epochs": "3",
    "critic_epochs": "3",
    "minibatches": "2",
}


def _train(agent: str, task: Any, out: Path, steps: int, seed: int = 0, **more: Any) -> list[Any]:
    settings = {**SMALL, **{k: str(v) for k, v in more.pop("settings", {}).items()}}
    settings = that_fit(PRESETS[agent], settings)
    return list(train(agent, task, steps=steps, seed=seed, settings=settings, out=out, **more))


def _learner(config: OnPolicyConfig, seed: int = 3) -> tuple[OnPolicyLearner, Any]:
    env = make_batch("SimpleSpread-v0", config.num_envs)
    learner = OnPolicyLearner(env, config, seed)
    collector = Collector(env, seed, config.window, learner.inputs)
    return learner, collector.collect(config.rollout_steps, learner.behave, False)


def _slow_happo(
    learner: OnPolicyLearner, data: Any, config: OnPolicyConfig
) -> dict[str, list[torch.Tensor]]:
    """HAPPO from the paper's formulae, one sample and one agent at a time where it matters."""
    T, N = data.first.shape
    rewards, rule = data.team_rewards, Flat(config)
    critic = learner.stacks[0].members[0]
    values = critic.values(data.states, "cpu").astype(np.float64)
    after = critic.values(data.next_states, "cpu").astype(np.float64)
    advantage = np.zeros((T, N))
    for index in range(N):
        running = 0.0
        for t in reversed(range(T)):
            alive = 0.0 if data.terminated[t, index] else 1.0
            delta = rewards[t, index] + config.gamma * alive * after[t, index]
            delta -= values[t, index]
            on = 0.0 if data.terminated[t, index] or data.truncated[t, index] else 1.0
            running = delta + config.gamma * config.lam * on * running
            advantage[t, index] = running
    a = advantage.reshape(-1)
    a = torch.from_numpy((a - a.mean()) / (a.std() + config.advantage_epsilon)).float()
    # the critics are trained first and draw no random numbers with a single minibatch
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    order = torch.randperm(len(learner.agents), generator=generator).tolist()
    factor = torch.ones(T * N)
    result = {}
    for k in order:
        agent = learner.agents[k]
        actor = learner.actors[agent]
        copy = type(actor)(
            actor.net.spec,
            learner.action_spaces[agent],
            config.std,
            config.log_std_init,
            torch.Generator(),
        )
        copy.load_state_dict(actor.state_dict())
        optimiser = torch.optim.Adam(copy.parameters(), lr=rule.actor_lr, eps=1e-5)
        observations = torch.from_numpy(data.observations[agent].reshape(T * N, -1))
        actions = torch.from_numpy(data.actions[agent].reshape(-1))
        old = torch.from_numpy(data.log_probs[agent].reshape(-1))
        for _ in range(rule.epochs):
            p = torch.distributions.Categorical(logits=copy.net(observations))
            ratio = torch.exp(p.log_prob(actions) - old)
            low, high = 1 - rule.clip, 1 + rule.clip
            smaller = torch.where(
                ratio * a < ratio.clamp(low, high) * a, ratio * a, ratio.clamp(low, high) * a
            )
            loss = -(factor * smaller).mean() - rule.entropy * p.entropy().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(copy.parameters(), config.max_grad_norm)
            optimiser.step()
        with torch.no_grad():
            p = torch.distributions.Categorical(logits=copy.net(observations))
            factor = factor * torch.exp(p.log_prob(actions) - old)
        result[agent] = [w.detach() for w in copy.parameters()]
    return result


def test_a_happo_update_equals_a_slow_reference_written_from_the_paper() -> None:
    config = config_of(
        scheme="sequential",
        num_envs=6,
        rollout_steps=30,
        hidden=(32,),
        epochs=3,
        actor_lr=5e-3,
        value_norm=False,
    )
    learner, data = _learner(config)
    expected = _slow_happo(learner, data, config)
    learner.update(data, math.nan, 0.0)
    for agent, weights in expected.items():
        for ours, slow in zip(learner.actors[agent].parameters(), weights, strict=True):
            torch.testing.assert_close(ours.detach(), slow, atol=1e-5, rtol=0)


def test_the_product_of_ratios_is_the_joint_ratio_after_a_sweep() -> None:
    config = config_of(
        scheme="sequential", num_envs=8, rollout_steps=25, hidden=(16,), actor_lr=1e-2
    )
    learner, data = _learner(config)
    factors: list[torch.Tensor] = []
    update = learner._update_actor

    given: dict[str, Any] = {}

    def spy(name: str, samples: Any) -> Any:
        factors.append(samples.factor.clone())
        given[name] = samples
        return update(name, samples)

    learner._update_actor = spy  # type: ignore[method-assign]
    generator = torch.Generator()
    generator.set_state(learner.generator.get_state())
    order = torch.randperm(3, generator=generator).tolist()
    learner.update(data, math.nan, 0.0)
    first = [learner.agents[k] for k in order[:2]]
    ratio = torch.ones_like(factors[0])
    for agent in first:
        pi = given[agent].policy(learner.actors[agent])
        ratio = ratio * (pi.log_prob(given[agent].actions) - given[agent].log_probs).exp().detach()
    assert torch.equal(factors[0], torch.ones_like(factors[0]))
    torch.testing.assert_close(factors[2], ratio)
    assert float((factors[2] - 1).abs().max()) > 1e-3


def test_agents_are_updated_in_a_random_order() -> None:
    config = config_of(scheme="sequential", num_envs=2, rollout_steps=5, hidden=(8,))
    learner, data = _learner(config)
    orders = set()
    update = learner._update_actor

    def spy(name: str, *rest: Any) -> Any:
        names.append(name)
        return update(name, *rest)

    learner._update_actor = spy  # type: ignore[method-assign]
    for _ in range(40):
        names: list[str] = []
        learner.update(data, math.nan, 0.0)
        orders.add(tuple(names))
    assert len(orders) == 6


def test_separate_policies_reach_what_a_shared_one_cannot(tmp_path: Path) -> None:
    """The parameter-sharing gap for two agents: 1 against 2 * 2**-2."""
    task = task_of(SharingEnv)
    settings = {"num_envs": 32, "rollout_steps": 8, "actor_lr": 0.01, "entropy": 0.0}
    for agent, steps in (("happo", 20_000), ("haa2c", 8_000), ("hatrpo", 8_000)):
        separate = _train(agent, task, tmp_path / agent, steps, settings=settings)
        assert separate[-1].metrics["return"] > 3.8
    shared = _train("mappo", task, tmp_path / "m", 20_000, settings=settings)
    assert shared[-1].metrics["return"] < 2.4


def test_ppo_lag_finds_the_best_feasible_return_where_ppo_ignores_the_limit(
    tmp_path: Path,
) -> None:
    limit = MEAN_LENGTH / 2
    task = task_of(SpeedEnv, cost_limit=limit)
    settings = {"num_envs": 16, "rollout_steps": 32, "actor_lr": 0.003, "minibatches": 2}
    settings |= {"lr_decay": "false", "epochs": 10, "critic_epochs": 10}
    free = _train("ppo", task, tmp_path / "p", 25_000, settings=settings)
    safe = _train("ppo-lag", task, tmp_path / "l", 40_000, settings=settings)

    def late(run: list[Any], name: str) -> float:
        return float(np.mean([p.metrics[name] for p in run[-25:]]))

    assert late(free, "cost") > 0.8 * MEAN_LENGTH
    assert late(safe, "cost") == pytest.approx(limit, rel=0.2)
    assert late(safe, "return") == pytest.approx(0.75 * MEAN_LENGTH, rel=0.2)
    assert late(safe, "multiplier") > 0.1


@pytest.mark.parametrize(
    ("agent", "env"),
    [("happo", SharingEnv), ("ppo-lag", SpeedEnv), ("hatrpo", SharingEnv)],
)
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, agent: str, env: Any
) -> None:
    task = task_of(env, cost_limit=2.0 if env is SpeedEnv else None)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train(agent, task, whole, 640)
    run = train(agent, task, steps=640, seed=0, settings=that_fit(PRESETS[agent], SMALL), out=parts)
    for _ in range(5):
        next(run)
    run.close()
    rest = _train(agent, task, parts, 640, resume=True)
    assert rest[0].steps > 64
    for name in ("weights.safetensors", "config.json"):
        if name == "config.json":
            ours, theirs = (json.loads((f / name).read_text()) for f in (parts, whole))
            assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
        else:
            assert (parts / name).read_bytes() == (whole / name).read_bytes()
    curves = [
        [json.loads(line)["return"] for line in (f / "training.jsonl").read_text().splitlines()]
        for f in (parts, whole)
        if "return" in (f / "training.jsonl").read_text().splitlines()[0]
    ]
    assert all(c == curves[0] for c in curves)
    steps = [json.loads(x)["steps"] for x in (parts / "training.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(("agent", "of_an_actor"), [("happo", 3 * 2), ("hatrpo", 1)])
def test_the_curve_and_the_config_count_the_gradient_steps(
    tmp_path: Path, agent: str, of_an_actor: int
) -> None:
    of_an_update = 2 * of_an_actor + 3 * 2  # two actors, and the critic's passes over minibatches
    reports = _train(agent, task_of(SharingEnv), tmp_path, 128)
    lines = (tmp_path / "training.jsonl").read_text().splitlines()
    curve = [json.loads(line)["gradient_steps"] for line in lines]
    assert curve == [of_an_update, 2 * of_an_update]
    assert [report.metrics["gradient_steps"] for report in reports] == curve
    assert json.loads((tmp_path / "config.json").read_text())["gradient_steps"] == 2 * of_an_update


def test_an_interrupt_in_the_middle_of_an_update_leaves_no_half_updated_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(SharingEnv)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train("happo", task, whole, 640)
    fit = CriticStack.fit
    calls = 0

    def strike(self: CriticStack, *args: Any) -> list[float]:
        nonlocal calls
        calls += 1
        losses = fit(self, *args)
        if calls == 4:
            raise KeyboardInterrupt
        return losses

    monkeypatch.setattr(Spacing, "is_due", True)
    with monkeypatch.context() as patch:
        patch.setattr(CriticStack, "fit", strike)
        with pytest.raises(KeyboardInterrupt):
            _train("happo", task, parts, 640)
    assert _train("happo", task, parts, 640, resume=True)[0].steps == 256
    assert (parts / "weights.safetensors").read_bytes() == (
        whole / "weights.safetensors"
    ).read_bytes()


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    task = make_task("SimpleSpread-v0")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _train("happo", task, tmp_path / name, 128, seed=seed)
    a, b, c = ((tmp_path / n / "weights.safetensors").read_bytes() for n in "abc")
    assert a == b
    assert a != c


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(tmp_path: Path) -> None:
    task = task_of(SharingEnv)
    _train("happo", task, tmp_path, 128)
    with pytest.raises(ConfigError, match="--resume"):
        _train("happo", task, tmp_path, 128)
    with pytest.raises(ConfigError, match=r"other settings: update\.clip=0\.2, not 0\.1;"):
        _train("happo", task, tmp_path, 128, resume=True, settings={"clip": 0.1})


def test_a_damaged_checkpoint_is_named_not_loaded(tmp_path: Path) -> None:
    task = task_of(SharingEnv)
    part = train("happo", task, steps=128, seed=0, settings=SMALL, out=tmp_path)
    next(part)
    part.close()
    [path] = tmp_path.glob("checkpoint/*/state.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="torn or changed"):
        _train("happo", task, tmp_path, 128, resume=True)


@pytest.mark.parametrize(
    ("agent", "task"),
    [("happo", "SimpleSpread-v0"), ("ippo", "SimpleReferenceContinuous-v0")],
)
def test_the_numpy_actor_acts_like_the_torch_one(tmp_path: Path, agent: str, task: str) -> None:
    _train(agent, make_task(task), tmp_path, 128)
    team = load(load_saved(tmp_path))
    env = make_batch(task, 50)
    observations, _ = env.reset(np.arange(50))
    tensors = load_tensors(tmp_path / "weights.safetensors")
    config = config_of(hidden=(16,))
    learner = OnPolicyLearner(env, config, 99)
    for name, member in team.members.items():  # type: ignore[union-attr]
        weights = {
            k.removeprefix(f"{name}."): torch.from_numpy(v)
            for k, v in tensors.items()
            if k.startswith(f"{name}.")
        }
        actor = learner.actors[name]
        actor.net.load_state_dict({k: v for k, v in weights.items() if k != "log_std"})
        with torch.no_grad():
            theirs = actor.net(torch.from_numpy(observations[name])).numpy()
        np.testing.assert_allclose(member._outputs(observations[name]), theirs, atol=1e-5)
        action, _ = member.act(observations[name], member.begin(np.arange(50)), np.ones(50, bool))
        assert env.action_spaces[name].contains(action[0])


def test_a_stochastic_actor_samples_from_its_distribution(tmp_path: Path) -> None:
    _train("happo", task_of(SharingEnv), tmp_path, 64)
    team = load(load_saved(tmp_path), acting={"mode": "sampled"})
    member = team.members["a"]  # type: ignore[union-attr]
    n = 20_000
    observation, mask = np.ones((n, 2), np.float32), np.ones((n, 2), np.int8)
    actions, _ = member.act(observation, member.begin(np.arange(n)), np.ones(n, bool))
    chance = member.action_probabilities(observation[:1], mask[:1])[0, 1]
    assert abs(actions.mean() - chance) < 4 * math.sqrt(0.25 / n)


def test_an_agent_of_other_spaces_is_refused(tmp_path: Path) -> None:
    _train("happo", task_of(SharingEnv), tmp_path, 64)
    with pytest.raises(AgentError, match="trained for"):
        load(load_saved(tmp_path), make_task("SimpleSpread-v0"))


def test_wrong_settings_are_one_clear_error(tmp_path: Path) -> None:
    task = task_of(SharingEnv)
    with pytest.raises(UnknownName, match="clip"):
        _train("happo", task, tmp_path, 64, settings={"clipp": 0.1})
    with pytest.raises(ConfigError, match=r"clip must lie in \(0, 1\)"):
        _train("happo", task, tmp_path, 64, settings={"clip": 1.5})
    with pytest.raises(ConfigError, match="shared=false"):
        _train("happo", task, tmp_path, 64, settings={"shared": "true"})
    with pytest.raises(ConfigError, match="needs a cost limit"):
        _train("ppo-lag", task, tmp_path, 64)
    limited = task_of(SpeedEnv, cost_limit=4.0)
    with pytest.raises(ConfigError, match="at least 0"):
        _train("ppo-lag", limited, tmp_path, 64, settings={"cost_limit": -1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("actor_lr", "NaN"),
        ("critic_lr", "Infinity"),
        ("entropy", "-0.1"),
        ("window", "0"),
        ("threads", "0"),
        ("hidden", '["a"]'),
        ("hidden", "[64, 0]"),
        ("hidden", "[true]"),
        ("target_kl", "-1"),
        ("huber_delta", "0"),
        ("lambda_init", "-1"),
        ("lambda_upper", "-1"),
        ("log_std_init", "NaN"),
    ],
)
def test_a_setting_out_of_its_domain_is_named_before_training(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        with_settings(config_of(), {name: text})


@pytest.mark.parametrize(
    ("agent", "task", "numbers"),
    [  # the official tuned configuration files, read by hand
        (
            "happo-paper",
            "MultiHalfCheetah2x3-v1",
            "clip=.05 epochs=15 critic_epochs=15",
        ),
        (
            "mappo-paper",
            "MultiHopper3x1-v0",
            "clip=.05 value_clip=.05 epochs=10 lr_decay=1",
        ),
        ("happo-paper", "MultiWalker2d2x3-v0", "clip=.05 minibatches=2 actor_lr=.001 entropy=0"),
        ("happo-paper", "MultiWalker2d6x1-v0", "clip=.1 entropy=.01 epochs=5 lr_decay=0"),
        ("happo-paper", "MultiAnt4x2-v1", "clip=.1 entropy=0 epochs=5 lr_decay=0 gamma=.99"),
        ("mappo-paper", "MultiHumanoid17x1-v0", "clip=.1 entropy=0 lr_decay=1 rollout_steps=100"),
        (
            "hatrpo-paper",
            "MultiAnt4x2-v1",
            "kl_limit=.005 value_clip=.2 fisher_every=1",
        ),
        ("hatrpo-paper", "MultiHalfCheetah2x3-v1", "kl_limit=.01"),
        ("hatrpo-paper", "MultiHopper3x1-v0", "kl_limit=.001"),
        ("hatrpo-paper", "MultiWalker2d6x1-v0", "kl_limit=.005"),
        ("hatrpo-paper", "SimpleSpread-v0", "kl_limit=.005 cg_damping=.1 search_decay=.8"),
        ("haa2c-paper", "MultiHopper3x1-v0", "actor_lr=.0001 critic_lr=.0001 epochs=3 lr_decay=1"),
        ("haa2c-paper", "MultiWalker2d2x3-v0", "actor_lr=.0001 epochs=5 critic_lr_decay=1"),
        ("haa2c-paper", "MultiAnt4x2-v1", "actor_lr=.0005 value_clip=.1 entropy=0 lr_decay=1"),
    ],
)
def test_a_paper_preset_has_the_official_numbers_of_its_task(
    agent: str, task: str, numbers: str
) -> None:
    config = with_changes(PRESETS[agent], **tuned(agent, f"pkubench/{task}"))
    values = Flat(config)
    found = {name: float(getattr(values, name)) for name in re.findall(r"[a-z_]+(?==)", numbers)}
    assert found == {n: float(v) for n, _, v in (x.partition("=") for x in numbers.split())}
    assert values.hidden == ((128, 128, 128) if task.startswith("Multi") else (128, 128))


PLACES = ("SimpleSpread", "SimpleReferenceContinuous", "MultiHopper3x1")
LIMITED = ("SimpleSpread", "SimpleReferenceContinuous", "MultiHalfCheetah2x3Velocity")
"""HAPPO-Lag has the settings of robots where there is a limit, and HAPPO has the same there."""


@pytest.mark.parametrize(
    ("one", "other", "differences", "task"),
    [
        (*pair, task)
        for *pair, places in (
            ("happo", "happo-simultaneous", {"scheme": "simultaneous"}, PLACES),
            ("hatrpo", "hatrpo-simultaneous", {"scheme": "simultaneous"}, PLACES),
            ("haa2c", "haa2c-simultaneous", {"scheme": "simultaneous"}, PLACES),
            ("happo-simultaneous", "mappo", {"shared": True}, PLACES),
            ("mappo", "ippo", {"shared": False, "critic": "local"}, PLACES),
            (
                *("happo", "happo-lag"),
                *({"constraint": "lagrangian", "lambda_unit": "deviation"}, LIMITED),
            ),
        )
        for task in places
    ],
)
def test_an_ablation_differs_only_in_what_it_removes(
    task: str, one: str, other: str, differences: dict[str, Any]
) -> None:
    first, second = (
        with_changes(PRESETS[n], **tuned(n, f"pkubench/{task}-v0")) for n in (one, other)
    )
    assert second == with_changes(first, **differences)
    assert second != first


def test_every_row_of_tuned_numbers_belongs_to_an_agent_and_is_valid() -> None:
    for start, rows in TUNED.items():
        for agent in rows:
            config = with_changes(PRESETS[agent], **tuned(agent, f"pkubench/{start}-v0"))
            assert config.batch_steps in (2000, 4000)


def test_the_critics_learning_rate_decays_only_where_set() -> None:
    for decays in (False, True):
        learner, data = _learner(config_of(num_envs=2, rollout_steps=5, hidden=(8,)))
        learner.config = with_changes(learner.config, critic_lr_decay=decays)
        learner.update(data, math.nan, 0.25)
        rate = learner.stacks[0].trainer.adam.lr
        assert rate == pytest.approx(5e-4 * (0.75 if decays else 1.0))
