"""Credit of whole episodes: from a rollout and back, under any learner, saved and resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.components import changed, choices
from pkubench.agents.families.on_policy import credit as presets
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.rl.credit.base import Credit
from pkubench.agents.rl.credit.episodes import Episodes, Layout, episodes_of, spans_of
from pkubench.agents.rl.credit.models.base import Batch
from pkubench.agents.rl.credit.replay import EpisodeReplay
from pkubench.agents.rl.on_policy.imitation import imitate
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.on_policy.mixing import Estimated, mixed
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError, PkubenchWarning, WeightsError
from pkubench.tasks.registry import make_task
from pkubench.training.checkpoints import Spacing
from pkubench.training.session import train
from tests.agents.configs import config_of
from tests.agents.credit_envs import (
    LEARNED,
    NETWORKS,
    WithheldOne,
    WithheldTeam,
    WithheldThree,
    context_of,
    made_up,
    started,
)
from tests.agents.encoded_envs import MortalTeam
from tests.agents.test_whole_episodes import Unlike
from tests.agents.toy_envs import task_of
from tests.training.toys import killed_after

OF_EPISODES = (*LEARNED, "ircr", "uniform", "undecomposed", "undecomposed-sil")
SMALL: dict[str, Any] = {
    "num_envs": 6,
    "rollout_steps": 4,
    "hidden": (4,),
    "epochs": 1,
    "critic_epochs": 1,
    "rollout": "episodes",
    "truncation": "terminal",
}
FITS = {"warmup_episodes": 0, "fit_every": 4, "fit_steps": 2, "fit_episodes": 8, "buffer": 64}


def made(
    env: type[BatchEnv] = WithheldTeam, seed: int = 0, **settings: Any
) -> tuple[OnPolicyLearner, Collector]:
    settings = {**SMALL, **FITS, **NETWORKS.get(str(settings.get("credit")), {}), **settings}
    config = config_of(**settings)
    reports = config.credit.env_settings if issubclass(env, WithheldTeam) else {}
    copies = env(config.num_envs, **reports)
    learner = OnPolicyLearner(copies, config, seed)
    more: dict[str, Any] = {"units": learner.units, "info_keys": config.credit.info_keys}
    return learner, Collector(copies, seed, 10, learner.inputs, **more)


def collected(learner: OnPolicyLearner, collector: Collector) -> Rollout:
    steps = learner.config.rollout_steps
    return collector.collect(steps, learner.behave, False, whole_episodes=True)


# ---- from a rollout to episodes, and back


def test_episodes_of_a_rollout_step_by_step() -> None:
    learner, collector = made(num_envs=3, rollout_steps=7)
    data = collected(learner, collector)
    layout = Layout.of(learner_context(learner))
    spans = spans_of(data)
    episodes = episodes_of(data, spans, layout)
    assert sorted(set(episodes.lengths.tolist())) == [2, 3, 4] and len(episodes) > 6
    number = 0
    for env in range(3):
        starts = np.flatnonzero(data.first[:, env] & data.valid[:, env])
        for start in starts:
            length = int(episodes.lengths[number])
            steps = slice(start, start + length)
            assert (data.terminated | data.truncated)[start + length - 1, env]
            total = data.rewards[steps, env].sum()
            assert episodes.returns[number] == pytest.approx(total)
            for k, agent in enumerate(learner.agents):
                seen = episodes.observations[number, k]
                np.testing.assert_array_equal(seen[:length], data.observations[agent][steps, env])
                final = data.next_observations[agent][start + length - 1, env]
                np.testing.assert_array_equal(seen[length], final)
                assert not seen[length + 1 :].any()
                acted = episodes.actions[number, k]
                np.testing.assert_array_equal(acted[:length], data.actions[agent][steps, env])
                assert not acted[length:].any()
            number += 1
    assert number == len(episodes)
    values = np.random.default_rng(0).standard_normal((*spans.valid.shape, 2))
    values[~spans.valid] = 0.0
    there = spans.scatter(values, data.rewards.shape)
    assert there.shape == data.rewards.shape and not there[~data.valid].any()
    np.testing.assert_array_equal(spans.gather(there), values)


def learner_context(learner: OnPolicyLearner) -> Any:
    context = context_of(2, numbers=2, actions=2, horizon=4)
    assert context.agents == learner.agents
    return context


@pytest.mark.parametrize("name", OF_EPISODES)
def test_an_episode_cut_by_the_rollout_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ConfigError, match="needs the returns of whole episodes: set rollout=epi"):
        config_of(credit=name)
    learner, collector = made(credit=name)
    data = collector.collect(5, learner.behave, False)
    with pytest.raises(ConfigError, match="begins or ends inside one: set rollout=episodes"):
        learner.update(data, math.nan, 0.0)


def test_heterogeneous_teams_are_padded_and_mixed_actions_refused() -> None:
    context = context_of(2)._replace(
        observation_shapes={"a": (3,), "b": (5,)},
        action_spaces={"a": spaces.Discrete(2), "b": spaces.Discrete(7)},
    )
    layout = Layout.of(context)
    assert (layout.observation, layout.actions) == (5, 7)
    boxes = {a: spaces.Box(-1.0, 1.0, (k,)) for a, k in (("a", 1), ("b", 3))}
    assert Layout.of(context._replace(action_spaces=boxes)).actions == 3
    mixed = {"a": spaces.Discrete(2), "b": boxes["b"]}
    with pytest.raises(ConfigError, match="this team has both"):
        Layout.of(context._replace(action_spaces=mixed))
    with pytest.raises(ConfigError, match="this team has both"):
        made(Unlike, credit="stas")


@pytest.mark.parametrize("name", OF_EPISODES)
def test_an_environment_without_time_limit_is_refused_in_a_line(name: str) -> None:
    component: Any = choices(Credit)[name]()
    with pytest.raises(ConfigError, match="no time limit: give it max_episode_steps"):
        component.start(context_of(2, horizon=None), torch.Generator())


@pytest.mark.parametrize("name", OF_EPISODES)
def test_a_single_agent_is_allowed_and_told_what_it_gets(name: str) -> None:
    with pytest.warns(PkubenchWarning, match=f"credit={name} with a single agent is .+"):
        learner, collector = made(WithheldOne, credit=name)
    figures = learner.update(collected(learner, collector), math.nan, 0.0)
    assert all(map(math.isfinite, figures.values()))


# ---- the replay


def test_the_replay_keeps_the_last_episodes_and_draws_successes() -> None:
    replay = EpisodeReplay(8, Layout.of(context_of(2)))
    generator = torch.Generator().manual_seed(0)
    for k in range(5):
        some = made_up([3, 2, 5], seed=k)
        some.returns[:] = [3 * k, 3 * k + 1, 3 * k + 2]
        replay.add(some)
        drawn = replay.sample(64, 0.0, generator)  # more than there are
        assert len(drawn) == 64 and set(drawn.returns) <= set(range(3 * k + 3))
    assert len(replay) == 8 and replay.total == 15
    drawn = replay.sample(400, 0.25, generator)
    assert set(drawn.returns) == set(range(7, 15))
    top = (drawn.returns > (7 + 14) / 2).mean()
    assert top == pytest.approx(0.25 + 0.75 * 0.5, abs=0.06)
    fresh = drawn.take(np.flatnonzero(drawn.returns == 14.0)[:1])
    np.testing.assert_array_equal(fresh.observations, some.observations[2:])
    np.testing.assert_array_equal(fresh.actions, some.actions[2:])
    again = EpisodeReplay(8, Layout.of(context_of(2)))
    again.restore(replay.state())
    states = [g.sample(9, 0.3, torch.Generator().manual_seed(1)) for g in (replay, again)]
    np.testing.assert_array_equal(states[0].observations, states[1].observations)
    with pytest.raises(ValueError, match="another shape"):
        EpisodeReplay(8, Layout.of(context_of(3))).restore(replay.state())


def test_a_batch_larger_than_the_replay_leaves_the_newest() -> None:
    replay = EpisodeReplay(2, Layout.of(context_of(2)))
    many = made_up([1, 2, 3, 4, 5])
    replay.add(many)
    assert sorted(replay.state()["returns"]) == sorted(many.returns[3:])


def test_where_all_returns_are_equal_none_is_a_success() -> None:
    replay = EpisodeReplay(4, Layout.of(context_of(2)))
    assert not len(replay.successes)
    some = made_up([2, 2])
    some.returns[:] = -1.0
    replay.add(some)
    assert not len(replay.successes)
    assert len(replay.sample(3, 1.0, torch.Generator())) == 3


# ---- formulas by hand


def test_formulas_by_hand() -> None:
    episodes = made_up([2, 4])
    episodes.returns[:] = [6.0, -8.0]
    even = started("uniform").assign(episodes)
    np.testing.assert_allclose(even[0], [[1.5, 1.5, 0.0, 0.0]] * 2)
    np.testing.assert_allclose(even[1], [[-1.0] * 4] * 2)
    last = started("undecomposed").assign(episodes)
    np.testing.assert_allclose(last[0], [[0.0, 3.0, 0.0, 0.0]] * 2)
    np.testing.assert_allclose(last[1], [[0.0, 0.0, 0.0, -4.0]] * 2)
    model = started("ircr")
    assert not model.assign(episodes).any()
    model.low, model.high = -10.0, 10.0
    found = 2 * model.assign(episodes)  # what agents are trained on
    np.testing.assert_allclose(found[0], [[0.8, 0.8, 0.0, 0.0]] * 2)
    np.testing.assert_allclose(found[1], [[0.1] * 4] * 2)


@pytest.mark.parametrize("critic", ["state", "local"])
def test_whatever_the_environment_pays_before_the_end_only_the_return_is_read(critic: str) -> None:
    for name in ("uniform", "undecomposed", "stas", "tar2"):
        learner, collector = made(credit=name, critic=critic)
        data = collected(learner, collector)
        model = learner.signals.credit
        paid = model(data)
        early = np.zeros_like(data.rewards)
        spans = spans_of(data)
        early[spans.steps[:, 0], spans.envs, 0] = spans.gather(data.rewards).sum((1, 2))
        data.rewards = early
        np.testing.assert_allclose(model(data), paid, atol=1e-6)


def test_agents_are_trained_on_their_shares_times_the_number_of_agents() -> None:
    data = collected(*made(WithheldThree))
    for times, total in ((True, 3.0), (False, 1.0)):
        learner, _ = made(WithheldThree, credit="tar2", times_agents=times)
        credited = learner.signals.credit(data)
        assert credited.sum() == pytest.approx(total * data.rewards.sum())
        assert not credited[~data.valid].any()


@pytest.mark.parametrize("name", ["dense", "difference"])
def test_rewards_that_the_environment_reports(name: str) -> None:
    learner, collector = made(credit=name)
    data = collected(learner, collector)
    earned = data.extras[f"{name}_reward"]
    assert earned[data.valid].any() and not earned[~data.valid].any()
    assert earned.sum() == pytest.approx(data.rewards.sum())
    wanted = earned if name == "difference" else np.repeat(earned.sum(-1, keepdims=True), 2, -1)
    np.testing.assert_array_equal(learner.signals.credit(data), wanted)
    assert learner.config.credit.is_causal
    learner, collector = made(MortalTeam, credit=name)
    with pytest.raises(ConfigError, match=f"reads '{name}_reward' in the info of every step"):
        collected(learner, collector)


# ---- networks


def test_networks_have_the_papers_numbers_of_parameters() -> None:
    """404,225 and 702,849 for three agents of 14 numbers, less the unused block of STAS-ML."""
    counts = {}
    for name in ("stas", "stas-ml", "tar2", "arel"):
        credit: Any = preset(f"{name}-paper").config().credit
        layout = Layout.of(context_of(3, numbers=14, actions=5, horizon=25))
        network = credit.network(layout, torch.Generator())
        counts[name] = sum(p.numel() for p in network.parameters())
    assert counts["stas"] == 404_225
    block = 4 * 128 * 129 + 2 * 128 * 129 + 3 * 128
    assert counts["stas-ml"] == 702_849 - block


@pytest.mark.parametrize(
    ("name", "is_discrete"),
    [*((name, True) for name in LEARNED), ("stas", False), ("tar2", False)],  # which read actions
)
def test_a_network_fits_the_returns_of_its_episodes(name: str, is_discrete: bool) -> None:
    episodes = made_up([2, 4, 3, 5, 2, 4, 3, 6])
    if not is_discrete:
        acted = np.repeat(episodes.actions[..., None], 2, -1).astype(np.float32)
        episodes = Episodes(episodes.observations, acted, episodes.lengths, episodes.returns)
    component: Any = choices(Credit)[name](credit_lr=1e-2, **{**NETWORKS[name], **FITS})
    context = context_of(2)
    if not is_discrete:
        context = context._replace(
            action_spaces=dict.fromkeys(context.agents, spaces.Box(-1.0, 1.0, (2,)))
        )
    if name == "arel":
        component = changed(
            config_of(rollout="episodes", credit=component), {"variance_weight": 0.0}
        )
        component = component.credit
    model: Any = component.start(context, torch.Generator().manual_seed(1))
    batch = Batch.of(episodes, 0.1, "cpu")
    model.network.train()
    losses = [model.step(batch) for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0], (losses[0], losses[-1])


def test_the_loss_of_stas_by_hand() -> None:
    model, episodes = started("stas", variance=3.0, return_scale=1.0), made_up([2, 4])
    model.network.eval()
    shares = model.assign(episodes)
    errors, variances = [], []
    for k, length in enumerate(episodes.lengths):
        team = shares[k, :, :length].sum(0)
        errors.append((episodes.returns[k] - team.sum()) ** 2)
        variances.append(team.var())
    loss = model.network.loss(Batch.of(episodes, 1.0, "cpu")).item()
    assert loss == pytest.approx(np.mean(errors) + 3.0 * np.mean(variances), rel=1e-4)


def test_the_loss_of_rudder_by_hand_and_what_its_credit_sums_to() -> None:
    episodes = made_up([2, 4])
    for start_value in ("zero", "learned"):
        model = started("rudder", start_value=start_value, return_scale=1.0)
        g = model.network.predictions(Batch.of(episodes, 1.0, "cpu")).detach().numpy()
        assert (g[:, 0] == 0.0).all() == (start_value == "zero")
        last, early = [], []
        for k, length in enumerate(episodes.lengths):
            last.append((g[k, length] - episodes.returns[k]) ** 2)
            begin = 1 if start_value == "zero" else 0
            early.append(np.mean((g[k, begin : length + 1] - episodes.returns[k]) ** 2))
        loss = model.network.loss(Batch.of(episodes, 1.0, "cpu")).item()
        assert loss == pytest.approx(np.mean(last) + 0.1 * np.mean(early), rel=1e-4)
        total = model.assign(episodes).sum((1, 2))
        np.testing.assert_allclose(
            total, [g[k, n] - g[k, 0] for k, n in enumerate(episodes.lengths)], atol=1e-5
        )


def test_weight_decay_is_added_to_the_gradient() -> None:
    weights = []
    for decay in (0.0, 0.5):
        model = started("stas", credit_decay=decay)
        model.step(Batch.of(made_up([2, 4]), 0.1, "cpu"))
        weights.append(model.gradient.clone())
        start = started("stas", credit_decay=decay).flat
    torch.testing.assert_close(weights[1] - weights[0], 0.5 * start, atol=1e-5, rtol=1e-5)


def test_fits_follow_the_number_of_episodes_whatever_the_size_of_an_update() -> None:
    counts = []
    for number in (3, 12):
        learner, collector = made(credit="stas", num_envs=number, rollout_steps=1, fit_every=4)
        model: Any = learner.signals.credit
        for _ in range(12 // number):
            learner.update(collected(learner, collector), math.nan, 0.0)
        counts.append(model.trainer.adam.count)
    assert counts == [6, 6]  # 12 episodes, every 4, two steps each


def test_a_diverged_model_says_so() -> None:
    model = started("stas")
    model.flat.fill_(math.nan)
    with pytest.raises(ConfigError, match="diverged: lower credit_lr"):
        model.assign(made_up([2]))


CHANGES: dict[str, tuple[str, Any]] = {
    "times_agents": ("uniform", False),
    "buffer": ("stas", 3),
    "success_share": ("stas", 0.9),
    "fit_every": ("stas", 1),
    "fit_steps": ("stas", 1),
    "fit_episodes": ("stas", 5),
    "credit_lr": ("stas", 0.1),
    "credit_decay": ("stas", 1.0),
    "credit_grad_norm": ("stas", 0.01),
    "return_scale": ("stas", 1.0),
    "normaliser": ("stas", "remainder"),
    "mode": ("stas", "repo"),
    "sampler": ("stas", "bernoulli"),
    "coalitions": ("stas", 2),
    "variance": ("stas", 5.0),
    "widest": ("arel", 1),
    "variance_weight": ("arel", 0.0),
    "early_weight": ("rudder", 9.0),
    "start_value": ("rudder", "learned"),
    "weights": ("tar2", "published"),
    "reads_outcome": ("tar2", False),
    "inverse_dynamics": ("tar2", 9.0),
    "heads": ("stas", 4),
    "layers": ("stas", 2),
    "width": ("stas", 4),
    "dropout": ("stas", 0.5),
    "units": ("rudder", 3),
}
"""Setting -> credit, and another value; ``warmup_episodes`` has a test of its own."""


@pytest.mark.parametrize("setting", CHANGES)
def test_a_setting_changes_what_agents_are_trained_on(setting: str) -> None:
    name, value = CHANGES[setting]
    found = []
    for more in ({}, {setting: value}):
        settings = {**NETWORKS.get(name, {}), **FITS, **SMALL, "credit": name, **more}
        if "coalitions" in settings and not more.get("coalitions"):
            settings["coalitions"] = 1
        learner, collector = made(WithheldThree, **settings)
        data = collected(learner, collector)
        learner.signals.credit.update(data)
        found.append(learner.signals.credit(data))
    assert np.isfinite(found[0]).all() and (found[0] != found[1]).any()


# ---- under any learner


IPPO, MAPPO, HAPPO = {"critic": "local"}, {"shared": True}, {"scheme": "sequential"}
OTHERS = ({"scheme": "sequential", "update": "trust-region"}, {"memory": "gru"})


@pytest.mark.parametrize("name", [*OF_EPISODES, "dense", "difference"])
def test_any_credit_is_under_any_learner(name: str) -> None:
    few: tuple[dict[str, Any], ...] = (IPPO, MAPPO, HAPPO)
    for scheme in (*few, *OTHERS) if name == "stas" else few:
        learner, collector = made(credit=name, **scheme)
        start = [p.detach().clone() for a in learner.actors.values() for p in a.parameters()]
        figures = learner.update(collected(learner, collector), math.nan, 0.0)
        assert all(map(math.isfinite, figures.values())), figures
        now = [p for a in learner.actors.values() for p in a.parameters()]
        assert any(not torch.equal(p, q) for p, q in zip(start, now, strict=True))


@pytest.mark.parametrize("name", ["stas", "arel", "undecomposed-sil"])
def test_what_dead_agents_observe_and_do_changes_no_credit(name: str) -> None:
    found = []
    for garbage in (0.0, 1e3):
        learner, collector = made(MortalTeam, credit=name, rollout_steps=12)
        data = collected(learner, collector)
        assert data.alive is not None and data.died is not None
        stays = data.alive[..., 1] & ~data.died[..., 1]
        assert not data.alive.all()
        data.observations["b"][~data.alive[..., 1]] = garbage
        data.next_observations["b"][~stays] = garbage
        data.actions["b"][~data.alive[..., 1]] = bool(garbage)
        figures = learner.update(data, math.nan, 0.0)
        found.append((learner.signals.credit(data), figures.get("imitation_gain", 0.0)))
    np.testing.assert_array_equal(found[0][0], found[1][0])


@pytest.mark.parametrize("scheme", OTHERS)
def test_self_imitation_is_for_gradient_steps_of_policies_without_memory(scheme: Any) -> None:
    with pytest.raises(ConfigError, match="undecomposed-sil needs policies"):
        made(credit="undecomposed-sil", **scheme)


def test_policies_wait_for_the_episodes_of_the_warm_up() -> None:
    learner, collector = made(credit="stas", warmup_episodes=13)
    start = [p.detach().clone() for p in learner.actors["a"].parameters()]
    for wanted in (False, True):
        figures = learner.update(collected(learner, collector), math.nan, 0.0)
        now = [*learner.actors["a"].parameters()]
        assert any(not torch.equal(p, q) for p, q in zip(start, now, strict=True)) == wanted
        assert ("entropy" in figures) == wanted
        assert figures["credit_loss"] > 0.0


def test_a_time_limit_that_is_terminal_is_followed_by_no_value() -> None:
    """With lambda and gamma 1 the critic's targets are what is paid until the end."""
    learner, collector = made(MortalTeam, gamma=1.0, lam=1.0, value_norm=False, rollout_steps=6)
    data = collected(learner, collector)
    assert data.truncated.any() and not data.terminated.any()
    with torch.no_grad():
        learner.stacks[0].members[0].net.head.bias.add_(9.0)
    rewards = data.rewards.sum(-1).astype(np.float32)
    given = (learner.stacks[0], 0, data, rewards, data.states, data.next_states, 1.0)
    _, targets, *_ = learner._estimate(*given, data.terminated)
    np.testing.assert_allclose(targets[0], rewards.sum(0), atol=1e-4)


@pytest.mark.parametrize("critic", ["state", "local", "local-shared"])
def test_a_rollout_has_states_where_critics_read_them_alone(critic: str) -> None:
    """Without them the rest of it is the same."""
    config = config_of(**SMALL, critic=critic, observation_norm=True)
    context = Context(
        agent="mappo", task=task_of(WithheldTeam), settings=config, seed=0, total=1_000
    )
    training = OnPolicyTraining(context)
    assert training.collector.has_states == (critic == "state")
    assert ("state" in training.learner.inputs.norms) == (critic == "state")
    learner, collector = made(critic="state", observation_norm=True)
    known = collected(learner, collector)
    collector = Collector(
        WithheldTeam(6), 0, 10, training.learner.inputs, has_states=critic == "state"
    )
    data = collector.collect(4, training.learner.behave, False, whole_episodes=True)
    assert data.states.shape == data.next_states.shape
    assert data.states.shape[-1] == (4 if critic == "state" else 0)
    for agent in learner.agents:
        np.testing.assert_array_equal(data.observations[agent][0], known.observations[agent][0])
    training.close()


@pytest.mark.parametrize("shared", [True, False])
def test_agents_that_share_an_actor_are_normalised_alike(shared: bool) -> None:
    """By moments of its own, an agent that is always elsewhere would look like the others."""
    learner, collector = made(observation_norm=True, shared=shared)
    norms = learner.inputs.norms
    collected(learner, collector)
    assert (norms["a"] is norms["b"]) == shared
    assert norms["a"].count == (2 if shared else 1) * norms["state"].count


def test_agents_that_share_an_actor_are_standardised_together() -> None:
    """By its own moments, an agent that earned next to nothing would weigh as much as another."""
    rewards = torch.tensor([[3.0, -1.0, 4.0, 99.0], [0.1, -0.1, 0.0, 0.2]], dtype=torch.float64)
    usable = torch.tensor([True, True, True, False])
    estimates = [Estimated(usable, rewards[0]), Estimated(None, rewards[1])]
    for shared in (True, False):
        config = config_of(shared=shared, advantage_epsilon=0.5)
        found = mixed(estimates, None, [], config, ([], 1.0)).to_ascend
        counted = torch.cat([rewards[0, :3], rewards[1]])
        of = [counted, counted] if shared else [rewards[0, :3], rewards[1]]
        for own, advantage, moments in zip(rewards, found, of, strict=True):
            wanted = (own - moments.mean()) / (moments.std(correction=0) + 0.5)
            torch.testing.assert_close(advantage, wanted)
    assert found[1].abs().max() > 0.2  # each by its own


# ---- self-imitation


@pytest.mark.parametrize("gradients", ["fast", "autograd"])
@pytest.mark.parametrize("critic", ["state", "local"])
def test_self_imitation_makes_what_paid_off_more_likely(gradients: str, critic: str) -> None:
    learner, collector = made(
        credit="undecomposed-sil", gradients=gradients, critic=critic, actor_lr=1e-2
    )
    model: Any = learner.signals.credit
    model.update(collected(learner, collector))

    def log_probs(episodes: Episodes) -> float:
        total = 0.0
        for k, agent in enumerate(learner.agents):
            pi = learner.actors[agent](
                torch.from_numpy(episodes.observations[:, k, :-1][episodes.valid]), None
            )
            acted = torch.from_numpy(episodes.actions[:, k][episodes.valid])
            total += float(pi.log_prob(acted).sum().detach())
        return total

    batch = model.replay.sample(1, 0.0, torch.Generator())
    batch.returns[:] = 50.0
    before = log_probs(batch)
    figures = imitate(learner, [batch])
    assert figures["imitated"] == 1.0 and figures["imitation_gain"] > 10.0
    assert log_probs(batch) > before
    fresh, _ = made(credit="undecomposed-sil", gradients=gradients, critic=critic, actor_lr=1e-2)
    batch.returns[:] = -50.0
    start = [p.detach().clone() for p in fresh.actors["a"].parameters()]
    assert imitate(fresh, [batch]) == {"imitation_gain": 0.0, "imitated": 0.0}
    now = [*fresh.actors["a"].parameters()]
    assert all(torch.equal(p, q) for p, q in zip(start, now, strict=True))


def test_an_imitation_step_ascends_the_written_loss() -> None:
    """``-mean[log pi(a|o) max(R - V, 0)]`` by autograd, and Adam's first step by hand."""
    learner, collector = made(credit="undecomposed-sil", gamma=0.9, value_norm=False)
    model: Any = learner.signals.credit
    model.update(collected(learner, collector))
    batch = model.replay.sample(5, 0.0, torch.Generator().manual_seed(0))
    rows, returns = [], []
    for k in range(len(batch)):
        for t in range(int(batch.lengths[k])):
            rows.append((k, t))
            returns.append(0.9 ** (batch.lengths[k] - 1 - t) * batch.returns[k])
    at = tuple(np.array(rows).T)
    states = torch.from_numpy(batch.states[at])
    values = learner.stacks[0].members[0].net(states)[:, 0].detach()
    gain = (torch.tensor(returns, dtype=torch.float32) - values).clamp(min=0.0)
    assert gain.mean() > 0.0
    twin = made(credit="undecomposed-sil", gamma=0.9, value_norm=False)[0].actors["a"]
    seen = torch.from_numpy(batch.observations[:, 0, :-1][at])
    loss = -(twin(seen, None).log_prob(torch.from_numpy(batch.actions[:, 0][at])) * gain).mean()
    loss.backward()
    rate, epsilon = learner.config.update.actor_lr, learner.config.adam_epsilon  # type: ignore[attr-defined]
    wanted = []
    for p in twin.parameters():  # Adam's first step, where no gradient is clipped
        assert p.grad is not None and p.grad.norm() < 4.0
        wanted.append(p.detach() - rate * p.grad / (p.grad.abs() + epsilon))
    imitate(learner, [batch])
    for ours, slow in zip(learner.actors["a"].parameters(), wanted, strict=True):
        torch.testing.assert_close(ours.detach(), slow, atol=5e-6, rtol=0)


def test_an_update_ends_with_the_imitation_that_is_due() -> None:
    """Otherwise it is the update of ``undecomposed``: on the same rollout, from the same draws."""
    steps, figures, weights = [], [], []
    for name in ("undecomposed", "undecomposed-sil"):
        learner, collector = made(credit=name)
        data = collected(learner, collector)
        number = int((data.terminated | data.truncated).sum())
        figures.append(learner.update(data, math.nan, 0.0))
        steps.append(learner.trainers["a"].adam.count)
        weights.append(torch.cat([p.detach().flatten() for p in learner.actors["a"].parameters()]))
    assert steps[1] - steps[0] == number // FITS["fit_every"] * FITS["fit_steps"] > 0
    assert "imitated" not in figures[0] and 0.0 < figures[1]["imitated"] <= 1.0
    assert figures[0]["value_loss"] == figures[1]["value_loss"]
    assert not torch.equal(*weights)


def test_successes_are_imitated_in_their_share() -> None:
    for share, is_all in ((1.0, True), (0.0, False)):
        learner, collector = made(credit="undecomposed-sil", success_share=share)
        model: Any = learner.signals.credit
        model.update(collected(learner, collector))
        returns = np.concatenate([batch.returns for batch in model.to_imitate()])
        held = model.replay.state()["returns"]
        assert (returns > (held.min() + held.max()) / 2).all() == is_all


# ---- saved and resumed


@pytest.mark.parametrize("name", ["stas", "undecomposed-sil"])
def test_a_killed_run_resumes_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spacing, "is_due", True)
    credit: Any = choices(Credit)[name]
    own = {**NETWORKS.get(name, {}), **FITS, "dropout": 0.2, "warmup_episodes": 10}
    settings = {k: str(v) for k, v in own.items() if k in credit.__dataclass_fields__}
    settings |= {"num_envs": "5", "rollout_steps": "3", "hidden": "[4]", "minibatches": "1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def run(out: Path, **more: Any) -> None:
        task = task_of(WithheldTeam)
        [*_] = train(name, task, steps=60, seed=1, out=out, settings=settings, **more)

    run(whole)
    for kill_at in (1, 2):
        with killed_after(OnPolicyTraining, kill_at):
            run(parts, resume=kill_at > 1)
    run(parts, resume=True)
    for file in ("weights.safetensors", "training.jsonl"):
        found = [(folder / file).read_bytes() for folder in (whole, parts)]
        if file == "training.jsonl":
            rows = [[json.loads(line) for line in of.splitlines()] for of in found]
            for row in (*rows[0], *rows[1]):
                row.pop("seconds", None), row.pop("steps_per_second", None)
            assert rows[0] == rows[1] and len(rows[0]) >= 3
        else:
            assert found[0] == found[1]


@pytest.mark.parametrize("name", [*LEARNED, "ircr", "undecomposed-sil"])
def test_a_state_has_everything_that_changes(name: str) -> None:
    """Two models of one state stay alike, and one without a part of it does not."""
    learner, collector = made(credit=name, fit_every=7)
    one: Any = learner.signals.credit
    for _ in range(3):
        one.update(collected(learner, collector))
    state, draws = one.state(), learner.generator.get_state()
    other, _ = made(credit=name, fit_every=7, seed=9)
    two: Any = other.signals.credit
    two.restore(state)
    data = collected(learner, collector)
    for model in (one, two):
        model.generator = torch.Generator()
        model.generator.set_state(draws)
        if hasattr(model, "network"):
            model.network.generator = model.generator
        model.update(data)
    batches = [list(model.to_imitate()) for model in (one, two)]
    assert [b.returns.tolist() for b in batches[0]] == [b.returns.tolist() for b in batches[1]]
    np.testing.assert_array_equal(one(data), two(data))
    assert one.metrics() == two.metrics()
    assert getattr(one, "waiting", 0) == getattr(two, "waiting", 0)
    with pytest.raises((KeyError, ValueError)):
        started(name, 3).restore({k: v for k, v in state.items() if k == "waiting"})


def test_a_state_of_another_network_is_refused() -> None:
    state = started("stas", 2).state()
    with pytest.raises(ValueError, match="another shape"):
        started("stas", 3).restore(state)
    assert issubclass(WeightsError, Exception)


# ---- presets


@pytest.mark.parametrize("name", presets.METHODS)
def test_presets_differ_in_their_credit_alone(name: str) -> None:
    config: Any = preset(name).config()
    assert config.credit.name == name and config.rollout == "episodes"
    assert changed(config, {"credit": "team-sum"}) == changed(
        preset("stas").config(), {"credit": "team-sum"}
    )
    assert preset(name).suites == ("credit",)


@pytest.mark.parametrize("name", presets._OF_PAPERS)
def test_minibatches_of_the_papers_policy_have_its_size_on_every_task(name: str) -> None:
    """128 agent-steps on particle worlds and 256 on AliceAndBob, of 2,048 steps of whole episodes.

    All of these presets have the clip of their task, of the value loss too.
    """
    for short, agents, size, clip in (
        ("AliceAndBob", 2, 256, 0.2),
        ("Navigation3", 3, 128, 0.5),
        ("PredatorPrey6", 6, 128, 0.5),
        ("Navigation15", 15, 128, 0.5),
    ):
        task = make_task(f"{short}-v0")
        config: Any = preset(name).config(task)
        horizon = task.protocol.horizon or 0
        steps = config.num_envs * horizon
        assert 2_048 <= steps < 2_048 + horizon
        assert steps * agents / config.minibatches == pytest.approx(size, rel=0.02)
        assert config.update.clip == config.value_clip == clip
