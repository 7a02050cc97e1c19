"""The written loss is what runs: hand-written gradients equal it, and new rules need none."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.components import as_plain, register, with_settings
from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.trainers import FastActorTrainer, FastCriticTrainer
from pkubench.agents.nn.networks import NetworkSpec
from pkubench.agents.rl.constraints.base import CostConstraint, LimitedCost, Weights
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.rl.samples import Samples
from pkubench.agents.rl.trainers import AutogradActorTrainer, AutogradCriticTrainer
from pkubench.agents.rl.update_rules.base import CostTerms, GradientRule, Terms
from pkubench.errors import ConfigError
from tests.agents.configs import config_of, with_changes
from tests.agents.encoded_envs import NoisyChoices, NoisyTeam
from tests.agents.toy_envs import SpeedEnv

RULES = ("ppo-clip", "a2c", "focops", "trust-region")
CONSTRAINTS = (
    *("none", "lagrangian", "pid", "ipo", "crpo", "p3o", "cup", "cpo", "pcpo"),
    *("saute", "early-termination"),
)
PAIRS = [
    (rule, held)
    for rule in RULES
    for held in CONSTRAINTS
    if (held in ("cpo", "pcpo")) <= (rule == "trust-region")
    if (held in ("p3o", "cup")) <= (rule != "trust-region")
]
HEADS: dict[str, tuple[Any, Any]] = {
    "discrete": (spaces.Discrete(4), "log"),
    "box": (spaces.Box(-1.0, 1.0, (3,)), "log"),
    "sigmoid": (spaces.Box(-1.0, 1.0, (3,)), "sigmoid"),
}


def _samples(actor: Actor, seed: int) -> Samples:
    make = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=make)

    observations, mask = draw(40, 5), None
    if actor.discrete:
        mask = (torch.rand(40, 4, generator=make) > 0.3).long()
        mask[:, 0] = 1
    with torch.no_grad():
        pi = actor(observations, mask)
        actions = pi.sample(make)
        log_probs = pi.log_prob(actions) + 0.3 * draw(40)
    factor = torch.rand(40, dtype=torch.float64, generator=make)
    return Samples(observations, mask, actions, log_probs, draw(40), factor, draw(40))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("rule", "held", "is_correction"),
    [
        *((rule, held, False) for rule in RULES[:3] for held in ("none", "p3o")),
        ("ppo-clip", "cup", True),
    ],
)
def test_hand_written_gradients_equal_those_of_the_written_loss(
    rule: Any, held: Any, head: str, is_correction: bool
) -> None:
    config = config_of(update=rule, constraint=held, entropy=0.05, focops_eta=0.3)
    space, std = HEADS[head]
    spec = NetworkSpec(
        inputs=5,
        hidden=(8, 6),
        outputs=4 if head == "discrete" else 3,
        activation="tanh",
        layer_norm=True,
        init="kaiming",
        head_gain=1.0,
    )
    generator = torch.Generator().manual_seed(1)
    actor = Actor(spec, space, std, -0.3, generator).double()
    samples, update = _samples(actor, 2), config.update
    assert isinstance(update, GradientRule)
    for excess in (-3.0, 3.0):  # with and without a penalty
        found = []
        for kind in (FastActorTrainer, AutogradActorTrainer):
            mine = copy.deepcopy(actor)
            trainer: Any = kind(mine, lr=0.0, epsilon=1e-8, max_grad_norm=1e9)
            objective = Objective(
                update, config.constraint, CostTerms(excess, 0.7, 0.99, 0.95), is_correction
            )
            trainer.load(samples, objective.uses_kl, False)
            generator.manual_seed(3)
            with torch.no_grad():  # away from the start, where KL has a gradient
                for parameter in mine.parameters():
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
            for _ in trainer.one_pass(objective, 1, torch.Generator()):
                pass
            found.append(_gradients(trainer))
        assert float(found[0].norm()) > 0.0
        torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def _gradients(trainer: Any) -> torch.Tensor:
    """Return Adam's first moment of the first step, a tenth of the gradient, by parameter."""
    flat = trainer.adam.first
    return torch.sort(flat.reshape(-1)).values * 10.0


def _trained(
    env_type: Any, config: OnPolicyConfig, gradients: str, updates: int = 2
) -> OnPolicyLearner:
    config = with_changes(config, gradients=gradients)
    env = config.constraint.wrap(env_type(config.num_envs))
    learner = OnPolicyLearner(env, config, 3)
    collector = Collector(env, 3, config.window, learner.inputs, cost_limit=1.0)
    for k in range(updates):
        data = collector.collect(config.rollout_steps, learner.behave, False)
        learner.update(data, 20.5 - k, k / updates, 5.0)
    return learner


@pytest.mark.parametrize("env_type", [NoisyTeam, NoisyChoices])
@pytest.mark.parametrize(("rule", "held"), PAIRS)
def test_updates_with_hand_written_gradients_and_autograd_agree(
    rule: Any, held: Any, env_type: Any
) -> None:
    config = config_of(
        scheme="sequential",
        update=rule,
        constraint=held,
        cost_limit=20.0,
        num_envs=6,
        rollout_steps=10,
        hidden=(8,),
        activation="tanh",
        minibatches=2,
        epochs=2,
        critic_epochs=2,
        actor_gain=1.0,
        critic_l2=0.01,
        adam_epsilon=1e-3,
        cg_damping=10.0,
    )
    fast, slow = (_trained(env_type, config, by) for by in ("fast", "autograd"))
    assert (fast.config.gradients, slow.config.gradients) == ("fast", "autograd")
    if fast.trainers:
        trainers = fast.trainers.values(), slow.trainers.values()
        assert all(isinstance(t, FastActorTrainer) for t in trainers[0])
        assert all(isinstance(t, AutogradActorTrainer) for t in trainers[1])
    assert isinstance(fast.stacks[0].trainer, FastCriticTrainer)
    assert isinstance(slow.stacks[0].trainer, AutogradCriticTrainer)
    for name, actor in fast.actors.items():
        theirs = dict(slow.actors[name].named_parameters())
        for key, parameter in actor.named_parameters():
            torch.testing.assert_close(parameter, theirs[key], rtol=1e-5, atol=1e-5, msg=key)
    for mine, other in zip(fast.stacks, slow.stacks, strict=True):
        for one, two in zip(mine.members, other.members, strict=True):
            for p, q in zip(one.net.parameters(), two.net.parameters(), strict=True):
                torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)


def test_a_large_minibatch_is_differentiated_by_autograd_and_settings_say_what_runs() -> None:
    config = config_of(num_envs=8, rollout_steps=200, hidden=(8,))
    learner = OnPolicyLearner(SpeedEnv(8), config, 0)
    assert config.gradients == "auto" and learner.config.gradients == "fast"
    assert isinstance(learner.trainers["agent"], AutogradActorTrainer)
    assert isinstance(learner.stacks[0].trainer, AutogradCriticTrainer)
    assert as_plain(learner.config)["gradients"] == "fast"


@register("reinforce")
@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce(GradientRule):
    """REINFORCE with a baseline: ``-mean[A log pi(a|o)]``."""

    temper: float = 1.0
    """Scale of the advantage."""

    def loss(self, terms: Terms) -> torch.Tensor:
        """Return the loss of one minibatch."""
        return -(terms.log_prob * terms.advantage * self.temper).mean()


class Halves(CostConstraint):
    """Half the reward, half the cost."""

    def weights(self) -> Weights:
        """Return (1/2, -1/2)."""
        return Weights(0.5, -0.5)


@register("half-and-half")
@dataclass(frozen=True, slots=True, kw_only=True)
class HalfAndHalf(LimitedCost):
    """Cost and reward weigh the same, and the loss has the squared ratio besides."""

    def start(self) -> CostConstraint:
        """Return a state that mixes both."""
        return Halves(self.cost_limit)

    def penalty(self, terms: Terms) -> torch.Tensor:
        """Keep the ratio near 1."""
        return 0.1 * (terms.ratio - 1.0).square().mean()


def test_a_rule_from_outside_trains_by_its_loss_alone() -> None:
    settings = {"update": "reinforce", "temper": "2.0", "epochs": "1", "actor_lr": "0.02"}
    settings |= {"num_envs": "16", "rollout_steps": "20", "hidden": "[16]"}
    config = with_settings(OnPolicyConfig(), settings)
    assert config.update == Reinforce(temper=2.0, epochs=1, actor_lr=0.02)
    env = SpeedEnv(16)
    learner = OnPolicyLearner(env, config, 0)
    assert learner.config.gradients == "autograd"
    collector = Collector(env, 0, 50, learner.inputs)
    for _ in range(60):
        learner.update(collector.collect(20, learner.behave, False), math.nan, 0.0)
    with torch.no_grad():
        chosen = learner.actors["agent"](torch.zeros(1, 2)).mode()
    assert float(chosen) > 0.5  # the best action is 1, the start 0


def test_a_constraint_from_outside_changes_the_learned_weights() -> None:
    settings = {"num_envs": "16", "rollout_steps": "20", "hidden": "[16]", "actor_lr": "0.01"}
    settings |= {"constraint": "half-and-half", "minibatches": "2"}
    config = with_settings(OnPolicyConfig(), settings)
    env = SpeedEnv(16)
    learner = OnPolicyLearner(env, config, 0)
    assert learner.config.gradients == "autograd"  # its penalty has no hand-written derivative
    collector = Collector(env, 0, 50, learner.inputs)
    for _ in range(50):
        report = learner.update(collector.collect(20, learner.behave, False), 9.0, 0.0, 6.0)
    assert np.isfinite(report["cost_value_loss"])
    with torch.no_grad():
        chosen = learner.actors["agent"](torch.zeros(1, 2)).mode()
    assert float(chosen) < 0.3  # for the reward alone it is above 0.5, as above


def test_hand_written_gradients_are_refused_where_there_are_none() -> None:
    for more in ({"update": "reinforce"}, {"constraint": "half-and-half"}, {"memory": "gru"}):
        config = config_of(gradients="fast", **more)
        with pytest.raises(ConfigError, match="gradients=fast needs hand-written gradients"):
            OnPolicyLearner(SpeedEnv(20), config, 0)
