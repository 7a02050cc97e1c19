"""Components of other packages: chosen by what they can do, not by their names or bases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.modules import DenseModule, EncodedNet
from pkubench.agents.nn.networks import MLP
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.agents.rl.update_rules.base import Terms, UpdateRule, surrogate
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import ConfigError
from tests.agents.configs import config_of
from tests.agents.encoded_envs import ImageEnv, RecallEnv

SMALL: dict[str, Any] = {"num_envs": 2, "rollout_steps": 4, "hidden": (4,), "critic_epochs": 1}


def updated(env: Any, **settings: Any) -> tuple[OnPolicyLearner, Rollout]:
    """Return a learner after an update, and the rollout of it."""
    learner = OnPolicyLearner(env, config_of(**{**SMALL, **settings}), 0)
    collector = Collector(env, 0, 10, learner.inputs, units=learner.units)
    data = collector.collect(learner.config.rollout_steps, learner.behave, False)
    figures = learner.update(data, math.nan, 0.0)
    assert all(math.isfinite(value) for value in figures.values()), figures
    return learner, data


class Doubled(DenseModule):
    """Twice the features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubledMLP(MLPEncoder):
    name = "doubled-mlp"

    def build(self, shape: Any, is_bytes: bool, generator: torch.Generator) -> Doubled:
        return Doubled(self, shape, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowMLP(MLPEncoder):
    name = "narrow-mlp"
    hidden: tuple[int, ...] = (3,)


def test_an_encoder_derived_from_the_mlp_builds_its_own_module() -> None:
    learner, _ = updated(RecallEnv(2), encoder=DoubledMLP())
    net = learner.actors[SOLE_AGENT].net
    assert isinstance(net, EncodedNet) and isinstance(net.encoder, Doubled)
    assert learner.config.gradients == "autograd"
    with pytest.raises(ConfigError, match="doubled-mlp"):
        updated(RecallEnv(2), encoder=DoubledMLP(), gradients="fast")
    learner, _ = updated(RecallEnv(2), encoder=NarrowMLP(), hidden=(5,))
    assert isinstance(learner.actors[SOLE_AGENT].net, MLP)
    assert learner.config.gradients == "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetful(Memory):
    name, is_recurrent = "forgetful", False

    def build(self, features: int, generator: torch.Generator) -> None:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradictory(Forgetful):
    name, is_recurrent = "contradictory", True


def test_a_memory_says_itself_whether_there_is_a_hidden_state() -> None:
    learner, _ = updated(RecallEnv(2), memory=Forgetful())
    assert isinstance(learner.actors[SOLE_AGENT].net, MLP) and not any(learner.units.values())
    with pytest.raises(ConfigError, match="is_recurrent contradicts build"):
        updated(RecallEnv(2), memory=Contradictory())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare(UpdateRule):
    name = "bare"

    def loss(self, terms: Terms) -> torch.Tensor:
        return -surrogate(terms.ratio, terms.advantage, terms.factor)


def test_an_update_rule_that_does_not_say_how_it_is_minimised_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"update=bare does not say how .* GradientRule"):
        config_of(update=Bare())


class WithState(RecallEnv):
    """One agent, and a state of another size for the critic."""

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.state_space = spaces.Box(-9, 9, (7,), np.float32)

    def state(self) -> Any:
        return np.full((self.num_envs, 7), 3.0, np.float32)


@pytest.mark.parametrize("norm", [True, False])
def test_the_critic_of_a_single_agent_takes_the_environments_state(norm: bool) -> None:
    learner, data = updated(WithState(2), observation_norm=norm)
    assert data.states.shape == (4, 2, 7)
    assert learner.stacks[0].members[0].net.spec.inputs == 7
    assert ("state" in learner.inputs.norms) == norm


class ImageTeam(ImageEnv):
    """Two agents with images; with ``flat_state`` a flat state of bytes."""

    flat_state = False

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        self.observation_spaces = dict.fromkeys(self.agents, self.observation_spaces[SOLE_AGENT])
        self.action_spaces = dict.fromkeys(self.agents, spaces.Discrete(2))
        if self.flat_state:
            self.state_space = spaces.Box(0, 255, (3,), np.uint8)

    def _step(self, actions: Any, active: Any) -> Any:
        self._ask(self._all)
        return np.ones((self.num_envs, 2)), np.zeros(self.num_envs, bool), {}

    def _observe(self) -> Any:
        return dict.fromkeys(self.agents, self._seen.copy())

    def state(self) -> Any:
        return np.full((self.num_envs, 3), 255, np.uint8)


class FlatStateTeam(ImageTeam):
    flat_state = True


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize(("env", "size"), [(ImageTeam, 128), (FlatStateTeam, 3)])
def test_a_critic_of_a_state_that_is_no_image_takes_bytes_as_numbers_up_to_one(
    env: Any, size: int, memory: str
) -> None:
    _, data = updated(env(2), encoder="cnn", channels=(2,), memory=memory)
    assert data.observations["a"].dtype == np.uint8
    assert data.states.shape[-1] == size and data.states.dtype == np.float32
    assert data.states.max() == 1.0
