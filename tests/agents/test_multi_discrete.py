"""Actors of several choices at once: one ratio of the joint action, masks, loading."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.contract import MaskedObservation
from pkubench.agents.families.on_policy.loading import load
from pkubench.agents.nn.actor import counts_of, output_size
from pkubench.agents.nn.distributions import Categorical, MultiCategorical
from pkubench.agents.registry import preset
from pkubench.agents.rl.fisher import mean_kl
from pkubench.agents.rl.on_policy.batches import Advantages
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.samples import terms_of
from pkubench.agents.suitability import why_not
from pkubench.envs.core.batch import Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray
from pkubench.errors import AgentError, ConfigError
from pkubench.tasks.registry import make_task
from tests.agents.configs import config_of
from tests.agents.test_encoders import saved
from tests.agents.toy_envs import SharingEnv, task_of

COUNTS = (2, 3)


class Locks(BatchEnv):
    """Two agents set two dials each; reward 1/4 for a dial in its place. Some places are barred.

    The last place of the second dial is illegal; the best dials are (1, 0) of a and (0, 1) of b.
    """

    default_horizon = 2
    best = ((1, 0), (0, 1))

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = {a: spaces.Box(0.0, 1.0, (2,), np.float32) for a in "ab"}
        self.action_spaces = {a: spaces.MultiDiscrete(COUNTS) for a in "ab"}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        pass

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        assert all((actions[a][:, 1] < 2).all() for a in "ab"), "illegal"
        pairs = zip("ab", self.best, strict=True)
        right = [(actions[a] == np.array(b)).sum(-1) / 4 for a, b in pairs]
        return np.stack(right, 1), np.zeros(self.num_envs, bool), self._info()

    def _info(self) -> Info:
        mask = np.tile(np.array([1, 1, 1, 1, 0], np.int8), (self.num_envs, 1))
        return {"action_mask:a": mask, "action_mask:b": mask.copy()}

    def _observe(self) -> dict[str, Array]:
        return {a: np.ones((self.num_envs, 2), np.float32) for a in self.agents}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


SMALL: dict[str, Any] = {"num_envs": 16, "rollout_steps": 8, "hidden": (8,), "layer_norm": False}


def made(**settings: Any) -> tuple[OnPolicyLearner, Collector]:
    learner = OnPolicyLearner(Locks(16), config_of(**{**SMALL, **settings}), 0)
    return learner, Collector(Locks(16), 0, 50, learner.inputs, units=learner.units)


def pair(seed: int) -> tuple[MultiCategorical, Categorical]:
    """Return k choices, and the same distribution over all joint actions."""
    logits = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mask = torch.tensor([[1, 1, 1, 1, 0]]).expand(4, 5)
    several = MultiCategorical.from_logits(logits, COUNTS, mask)
    joint = several.parts[0].log_p[:, :, None] + several.parts[1].log_p[:, None]
    return several, Categorical(joint.flatten(1))


def test_the_choices_are_one_distribution_over_joint_actions() -> None:
    (one, joint), (two, other) = pair(0), pair(1)
    for number, (a, b) in enumerate(itertools.product(*map(range, COUNTS))):
        found = one.log_prob(torch.tensor([[a, b]]).expand(4, 2))
        torch.testing.assert_close(found, joint.log_prob(torch.full((4,), number)))
    torch.testing.assert_close(one.entropy(), joint.entropy())
    torch.testing.assert_close(one.kl(two), joint.kl(other), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(mean_kl(one, two), joint.kl(other).mean(), rtol=1e-6, atol=1e-9)
    parts = [mean_kl(x, y, "official") for x, y in zip(one.parts, two.parts, strict=True)]
    assert mean_kl(one, two, "official").item() == pytest.approx(float(sum(parts)))
    drawn = one[torch.zeros(4000, dtype=torch.int64)].sample(torch.Generator().manual_seed(2))
    share = ((drawn[:, 0] == 1) & (drawn[:, 1] == 0)).double().mean()
    assert share.item() == pytest.approx(joint.log_p[0, 3].exp().item(), abs=0.03)
    assert (drawn[:, 1] < 2).all()


def test_a_joint_action_has_one_ratio() -> None:
    learner, collector = made()
    data = collector.collect(8, learner.behave, False)
    assert data.actions["a"].shape == (8, 16, 2) and data.log_probs["a"].shape == (8, 16)
    advantage = torch.ones(128)
    samples = learner._samples(data, [0], Advantages([advantage, advantage], None), None)
    steps = samples.steps
    shifted: Any = steps._replace(log_probs=steps.log_probs - float(np.log(1.15)))
    terms = terms_of(shifted, shifted.policy(learner.actors["a"]))
    torch.testing.assert_close(terms.ratio, torch.full((128,), 1.15), atol=1e-4, rtol=0)
    assert terms.entropy.item() == pytest.approx(2 * np.log(2), abs=0.01)  # illegal ones left out


@pytest.mark.parametrize(
    "more",
    [
        {"scheme": "sequential", "gradients": "auto"},
        {"shared": True, "memory": "gru", "chunk": 3},
        {"scheme": "sequential", "update": "trust-region", "kl_limit": 0.05},
    ],
)
def test_teams_learn_the_dials(more: dict[str, Any]) -> None:
    learner, collector = made(actor_lr=0.03, critic_lr=0.01, **more)
    for _ in range(12):
        data = collector.collect(8, learner.behave, False)
        found = learner.update(data, float("nan"), 0.0)
        assert np.isfinite(found["kl"])
    best = 1.0 if more.get("shared") else 2.0  # alike agents act alike
    assert np.mean(list(collector.window.returns)[-16:]) > 0.85 * best


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_a_saved_policy_acts_as_the_trained_one(memory: str) -> None:
    learner, collector = made(memory=memory, actor_lr=0.05)
    learner.update(collector.collect(8, learner.behave, False), float("nan"), 0.0)
    team: Any = load(saved(learner, Locks))
    seen = np.random.default_rng(0).random((7, 2)).astype(np.float32)
    mask = np.tile(np.array([1, 1, 0, 1, 1], np.int8), (7, 1))
    for agent in "ab":
        member, actor = team.members[agent], learner.actors[agent].double()
        x, legal = torch.from_numpy(seen).double(), torch.from_numpy(mask)
        if memory == "none":
            pi = actor(x, legal)
        else:
            first, zero = torch.ones(1, 7, dtype=torch.bool), torch.zeros(7, actor.units).double()
            pi, _ = actor.sequence(x[None], first, zero, legal)
        state = member.begin(np.arange(7))
        found, _ = member.act(MaskedObservation(seen, mask), state, np.ones(7, bool))
        assert found.tolist() == pi.mode().tolist()
    sampled: Any = load(saved(learner, Locks), acting={"mode": "sampled"})
    wide = np.zeros((200, 2), np.float32)
    barred = np.tile(np.array([1, 1, 1, 1, 0], np.int8), (200, 1))
    member = sampled.members["a"]
    drawn, _ = member.act(
        MaskedObservation(wide, barred), member.begin(np.arange(200)), np.ones(200, bool)
    )
    assert drawn.shape == (200, 2) and set(drawn[:, 1].tolist()) == {0, 1}
    with pytest.raises(AgentError, match="action space is Discrete"):
        load(_of(saved(learner, Locks), SharingEnv))


def _of(agent: Any, env: type[BatchEnv]) -> Any:
    return agent._replace(config={**agent.config, "task": task_of(env).id})


def test_what_fits() -> None:
    assert output_size(spaces.MultiDiscrete([2, 3])) == 5
    assert counts_of(spaces.Discrete(3)) == ()
    with pytest.raises(ConfigError, match="row from 0"):
        counts_of(spaces.MultiDiscrete([[2, 3], [2, 2]]))
    task = make_task("SafePreference-v0")
    assert why_not(preset("ppo"), task) == ""
    with pytest.raises(ConfigError, match="several choices"):
        OnPolicyLearner(Locks(4), config_of(**SMALL, credit="stas", rollout="episodes"), 0)
