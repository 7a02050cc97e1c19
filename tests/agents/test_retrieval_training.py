"""Training of the retrieval agents: plain PPO where nothing is added, resuming, saved policies."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.retrieval import convolved
from pkubench.agents.families.retrieval.bank import make_bank
from pkubench.agents.families.retrieval.loading import load
from pkubench.agents.families.retrieval.networks import Groups
from pkubench.agents.families.retrieval.presets import PRESETS
from pkubench.agents.families.retrieval.setup import INITIAL_VALUE, tasks_of
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.agents.registry import families, preset
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import EVALUATION_SEED_START
from pkubench.errors import AgentError, ConfigError, WeightsError
from pkubench.tasks.registry import make_task
from pkubench.training.validation import Validation, Validator
from tests.agents.retrieval_parts import SMALL, training

FULL = "retrieval-hypernetwork"


def generates_identity(made: RetrievalTraining) -> None:
    """Make every generated layer the identity, for good."""
    hyper: Any = made.net.hypernetwork
    with torch.no_grad():
        for head in (hyper.weight, hyper.bias):
            head.weight.zero_()
            head.bias.zero_()
        hyper.weight.bias.copy_(torch.eye(64).flatten())
    hyper.requires_grad_(False)


def masked_advantages(rewards: Any, values: Any, last: Any, done: Any) -> Any:
    """torch-ac's: the mask of a step is 0 where it ended an episode, however it ended."""
    advantages = np.zeros_like(values)
    for t in reversed(range(len(values))):
        mask = 1.0 - done[t]
        following = values[t + 1] if t + 1 < len(values) else last
        later = advantages[t + 1] if t + 1 < len(values) else np.zeros_like(last)
        delta = rewards[t] + 0.99 * following * mask - values[t]
        advantages[t] = delta + 0.99 * 0.95 * later * mask
    return advantages


def test_with_identity_layers_and_no_memory_an_update_is_plain_ppo() -> None:
    changes = {"truncation": "terminal", "normalise": False, "max_grad_norm": 0.05}
    made = training(f"{FULL}-no-memory", changes)
    made.net.double()
    generates_identity(made)
    data = made.collect()
    net = copy.deepcopy(made.net)
    generator = torch.Generator()
    generator.set_state(made.generator.get_state())
    batch = made.prepare(data)
    made.update(data)

    def evaluated(images: Tensor) -> tuple[Tensor, Tensor]:
        features = convolved(net, images, normalise=False)
        return net.policy.actor.net(features).log_softmax(-1), net.critic.net(features)[:, 0]

    seen = torch.from_numpy(data.observations[SOLE_AGENT][..., :3].copy())
    ahead = torch.from_numpy(data.next_observations[SOLE_AGENT][-1, ..., :3].copy())
    with torch.no_grad():
        old = evaluated(seen.flatten(0, 1))[1]
        last = evaluated(ahead)[1]
    done = (data.terminated | data.truncated).astype(float)
    values = old.view(done.shape).numpy()
    gain = masked_advantages(data.team_rewards, values, last.numpy(), done)
    advantages = batch.advantages  # whose discounts are rounded to float32
    torch.testing.assert_close(advantages, torch.from_numpy(gain.ravel()), rtol=0, atol=1e-6)
    before, actions = (
        torch.from_numpy(of[SOLE_AGENT].ravel()) for of in (data.log_probs, data.actions)
    )
    weights = [p for part in (net.policy, net.critic) for p in part.parameters()]
    adam = torch.optim.Adam(weights, lr=1e-3, eps=1e-8)
    for _ in range(SMALL["epochs"]):
        order = torch.randperm(len(old), generator=generator)
        for rows in order.split(SMALL["batch_size"]):
            log_p, value = evaluated(seen.flatten(0, 1)[rows])
            ratio = (log_p.gather(1, actions[rows, None])[:, 0] - before[rows]).exp()
            a = advantages[rows]
            surrogate = torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
            entropy = -(log_p.exp() * log_p).sum(1).mean()
            target = old[rows] + a
            clipped = old[rows] + (value - old[rows]).clamp(-0.2, 0.2)
            error = torch.max((value - target) ** 2, (clipped - target) ** 2).mean()
            adam.zero_grad()
            (-surrogate - 0.01 * entropy + 0.5 * error).backward()
            torch.nn.utils.clip_grad_norm_(weights, 0.05)
            adam.step()
    for a, b in zip(
        weights, [*made.net.policy.parameters(), *made.net.critic.parameters()], strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("agent", [*PRESETS, "gru"])
def test_before_its_first_step_an_update_has_the_probabilities_of_acting(agent: str) -> None:
    name, changes = (FULL, {"memory": "gru"}) if agent == "gru" else (agent, {})
    made = training(name, changes)
    made.iterate()
    data = made.collect()
    batch = made.prepare(data)
    contents = None if made.slots is None else made.slots.contents(made.net.policy.encoder)
    rows = next(made._minibatches(data))
    _, parts = made.objective(batch, rows, contents, data)
    wanted = -batch.advantages[rows].mean()
    torch.testing.assert_close(parts["policy_loss"], wanted, rtol=0, atol=1e-5)
    if agent == "gru":  # whole environments
        assert sorted((rows % 6).unique(return_counts=True)[1].tolist()) == [24, 24]


@pytest.mark.parametrize(
    ("agent", "changes"),
    [(FULL, {"memory": "gru", "shuffled": True}), (f"{FULL}-paper", {}), (f"{FULL}-episodic", {})],
)
def test_a_resumed_training_has_the_same_bits(agent: str, changes: dict[str, Any]) -> None:
    short = {**changes, "rollout_steps": 16}  # episodes last over several updates
    made = training(agent, short)
    for _ in range(3):
        made.iterate()
    state = copy.deepcopy(made.state())
    wanted = str([made.iterate() for _ in range(2)])  # NaN equals NaN as a text
    again = training(agent, short, seed=1001)
    again.collector.seeds.seed = 1000  # of the run folder, not of the state
    again.load_state(state)
    assert str([again.iterate() for _ in range(2)]) == wanted
    for name, value in made.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name]), name
    assert made.slots is not None and again.slots is not None
    for name, array in made.slots.state().items():
        assert (array == again.slots.state()[name]).all(), name
    with pytest.raises(WeightsError):
        again.load_state({**state, "net": {}})


def test_each_environment_plays_one_task_and_tasks_have_equal_shares() -> None:
    made = training(changes={"num_envs": 6, "rollout_steps": 24})
    data = [made.collect() for _ in range(3)]
    tasks = np.concatenate([tasks_of(of.observations[SOLE_AGENT]) for of in data])
    assert (tasks == [0, 0, 1, 1, 2, 2]).all()
    assert sum(of.terminated.sum() for of in data) > 0  # over resets too
    levels: Any = made.env.unwrapped
    assert (levels._seed < EVALUATION_SEED_START).all()  # of none that is evaluated or validated
    assert PRESETS[FULL].num_envs == 16
    for name, envs in (("MiniGridMT3-v0", 15), ("MiniGridMT5-v0", 15), ("MiniGridMT7-v0", 14)):
        assert preset(FULL).config(make_task(name)).num_envs == envs


def test_the_time_limit_is_bootstrapped_and_in_the_paper_it_is_an_end() -> None:
    for agent, factor in ((FULL, 0.99), (f"{FULL}-paper", 0.0)):
        made = training(agent)
        data = made.collect()
        data.truncated[5, 2] = True
        data.terminated[5, 2] = False
        # another state than the one that the next step begins in, as after a reset
        data.next_observations[SOLE_AGENT][5, 2] = data.observations[SOLE_AGENT][0, 5]
        batch = made.prepare(data)
        values, gains = (of.view(24, 6) for of in (batch.values, batch.advantages))
        after = data.next_observations[SOLE_AGENT][5, 2][None]
        following = made._critic(made.net.policy.encoder(torch.from_numpy(after)), tasks_of(after))
        wanted = data.team_rewards[5, 2] + factor * following[0] - float(values[5, 2])
        assert float(gains[5, 2]) == pytest.approx(float(wanted), abs=1e-6)
        assert abs(following[0]) > 1e-3


def test_the_memory_is_written_before_the_update_and_starts_as_its_setting_says() -> None:
    made, paper = training(), training(f"{FULL}-paper")
    assert made.slots is not None and not made.slots.filled.any()
    assert paper.slots is not None and paper.slots.filled.all()
    assert (paper.slots.tasks == 2).all()
    assert paper.slots.values == pytest.approx(INITIAL_VALUE)
    assert len(np.unique(paper.slots.images, axis=0)) <= 13
    data = made.collect()
    data.terminated[3, 0] = True
    made.prepare(data)
    assert made.slots.filled.sum() >= 4


def test_a_frozen_bank_is_drawn_anew_and_never_written() -> None:
    states = np.zeros((300, 7, 7, 3), np.uint8)
    states[:, 0, 0, 0] = np.arange(300) % 11
    bank = make_bank(states, np.linspace(2, 3, 300), np.arange(300) % 3)
    made = training(changes={"writes": False}, inputs={"bank": bank})
    assert made.slots is not None
    before = made.slots.values.copy()
    assert (before[made.slots.filled] >= 2).all() and made.slots.filled.sum() == 48
    for _ in range(3):
        made.iterate()
    assert (made.slots.values >= 2).all() and (made.slots.values != before).any()
    written = training(inputs={"bank": bank})
    for _ in range(4):
        written.iterate()
    assert written.slots is not None and (written.slots.values < 2).any()


def saved(made: RetrievalTraining) -> SavedAgent:
    export = made.export()
    config = {**export.config, "task": "pkubench/MiniGridMT3-v0"}
    return SavedAgent(config, dict(export.tensors), {})


@pytest.mark.parametrize(
    ("agent", "changes", "most"),
    [
        (FULL, {}, 28_000),
        ("mt-ppo", {}, 16_000),
        ("mt-ppo-heads", {}, 26_000),
        (FULL, {"memory": "gru"}, 53_000),
    ],
)
def test_a_saved_policy_acts_like_the_trained_one(
    agent: str, changes: dict[str, Any], most: int
) -> None:
    made = training(agent, changes)
    made.iterate()
    data = made.collect()
    found: Any = load(saved(made))
    assert sum(of.size for of in saved(made).tensors.values()) < most
    seen = data.observations[SOLE_AGENT]
    state = found.begin(np.arange(6))
    made.net.double()
    with torch.no_grad():
        layers = made.net.generate(decision_only=True)
        policy = made.net.policy
        hidden = torch.zeros(6, policy.units).double()
        for t in range(6):
            h = policy.encoder(torch.from_numpy(seen[t]))
            if policy.units:
                never = torch.zeros(1, 6, dtype=torch.bool)
                h, states = policy.remember(h[None], never, hidden)
                h, hidden = h[0], states[0]
            tasks = tasks_of(seen[t])
            logits = policy.logits(h, torch.from_numpy(tasks), Groups.of(tasks, 3), layers.decision)
            actions, state = found.act(seen[t], state, np.ones(6, np.bool_))
            assert (actions == logits.float().argmax(-1).numpy()).all()
    assert found.begin(np.arange(2)) is None or policy.units
    sampled: Any = load(saved(made), None, {"mode": "sampled"})
    state = sampled.begin(np.arange(6))
    first, state = sampled.act(seen[0], state, np.ones(6, np.bool_))
    assert first.shape == (6,)


def test_a_policy_of_other_missions_or_damaged_weights_is_refused() -> None:
    made = saved(training())
    with pytest.raises(AgentError, match="missions"):
        load(made, make_task("MiniGridMT5-v0"))
    with pytest.raises(AgentError, match="missions"):
        load(made, make_task("KeyToDoor-v0"))
    with pytest.raises(ConfigError, match="mode"):
        load(made, None, {"mode": "best"})
    for spec in ({"tasks": 4}, {"task_layer": "heads"}, {"channels": 9}, {"tasks": "x"}):
        config = {**made.config, "spec": {**made.config["spec"], **spec}}
        with pytest.raises((WeightsError, AgentError)):
            load(SavedAgent(config, made.tensors, {}))
    for name in made.tensors:
        with pytest.raises(WeightsError):
            load(SavedAgent(made.config, {**made.tensors, name: np.zeros(3)}, {}))


def test_the_paper_profile_has_the_released_codes_numbers() -> None:
    config: Any = PRESETS[f"{FULL}-paper"]
    assert (config.num_envs, config.rollout_steps, config.epochs) == (16, 128, 4)
    assert (config.batch_size, config.lr, config.adam_epsilon) == (256, 1e-3, 1e-8)
    assert (config.gamma, config.lam, config.clip) == (0.99, 0.95, 0.2)
    assert (config.entropy, config.value_weight, config.max_grad_norm) == (0.01, 0.5, 0.5)
    assert (config.retrieval.slots, config.retrieval.floor) == (50, 0.1)


def test_the_profile_says_which_defects_it_keeps() -> None:
    assert PRESETS[FULL].defects == ("no memory within an episode",)
    assert training(changes={"memory": "gru"}).config.defects == ()
    assert set(PRESETS[f"{FULL}-paper"].defects) == {
        *("raw cell numbers", "truncation as termination", "centring over tasks", "no quota"),
        *("initial memory of one task", "unscaled attention", "gradient of the confidence"),
        "no memory within an episode",
    }
    with pytest.raises(ConfigError, match="task_layer=hypernetwork"):
        training("mt-ppo", {"retrieval": "attention"})
    with pytest.raises(ConfigError, match="batch_size"):
        training(changes={"batch_size": 1000})


def test_a_validation_has_equally_many_episodes_of_each_task() -> None:
    made, task = training(), make_task("MiniGridMT3-v0")
    env = make_batch(task.id, 6, max_episode_steps=5)
    how = Validation(points=1, episodes=6, window=1)
    validator = Validator(how, families()["retrieval"], task, env, 0, 100)
    figures = validator.validate(made.export(), {"task": task.id}, 100, is_last=True)
    assert (env.options["task"] == [0, 1, 2, 0, 1, 2]).all()
    names = {name for name in figures if ":" in name}
    modes = ("validation", "validation_sampled")
    assert names == {f"{mode}_return:task={k}" for mode in modes for k in range(3)}
    by_task = [figures[f"validation_return:task={k}"] for k in range(3)]
    assert figures["validation_return"] == pytest.approx(np.mean(by_task))
    assert validator.points[0].first == 0 and not validator.points[0].failure
