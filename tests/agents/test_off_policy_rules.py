"""Rules of the off-policy learner as components: their settings, and rules from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pkubench.agents.components import as_plain, changed, register, with_settings
from pkubench.agents.nn.fast.stacked import StackedMLP
from pkubench.agents.rl.off_policy import networks
from pkubench.agents.rl.off_policy.batch import Batch
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.off_policy.rules import OffPolicyRule
from pkubench.agents.rl.off_policy.rules.ddpg import DDPG
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError, UnknownName

SMALL: dict[str, Any] = {"hidden": [16], "actor_lr": 1e-2, "critic_lr": 1e-2, "tau": 0.1}
BATCH = 64


@pytest.fixture
def huber() -> Iterator[str]:
    """A rule that is one class: DDPG with another critic loss and a setting of its own."""

    @register("huber-ddpg")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class HuberDDPG(DDPG):
        delta: float = 1.0

        def critic_loss(self, q: Tensor, targets: Tensor) -> Tensor:
            losses = functional.huber_loss(q, targets, reduction="none", delta=self.delta)
            return losses.mean(-1)

    yield "huber-ddpg"
    del OffPolicyRule.registered["huber-ddpg"]


@pytest.fixture
def hard_sac() -> Iterator[str]:
    """SAC whose target leaves the entropy out; its losses are SAC's."""

    @register("hard-sac")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class HardSAC(SAC):
        def next_value(self, q: Tensor, log_prob: Tensor | None, alpha: Tensor | None) -> Tensor:
            return q[0].minimum(q[1])

    yield "hard-sac"
    del OffPolicyRule.registered["hard-sac"]


def _learner(**changes: Any) -> OffPolicyLearner:
    config = changed(OffPolicyConfig(), {**SMALL, **changes}, strict=False)
    return OffPolicyLearner(make_batch("SimpleSpreadContinuous-v0", 2), config, [3])


def _batch(learner: OffPolicyLearner) -> Batch:
    """A reward of minus the first agent's first number, whatever is observed."""
    generator = torch.Generator().manual_seed(0)
    rows, next_rows = torch.rand(2, 1, BATCH, learner.layout.width, generator=generator)
    rewards = -rows[..., learner.layout.actions[learner.agents[0]].start]
    return Batch(rows, next_rows, rewards, rewards.abs(), torch.zeros(1, BATCH))


def test_a_rule_from_outside_is_chosen_set_and_trains_by_autograd(huber: str) -> None:
    learner = _learner(rule=huber, delta=0.5)
    assert learner.config.gradients == "autograd"
    assert as_plain(learner.config)["rule.delta"] == 0.5
    losses, noise = [], None
    for _ in range(60):
        losses.append(learner.update(_batch(learner), noise, is_reported=True)["value_loss"])
    assert float(losses[-1]) < 0.2 * float(losses[0])
    seen = {a: torch.rand(50, 18).numpy() for a in learner.agents}
    first, second = learner.agents[:2]
    learner_actions = learner.act(0, seen)
    # the first number of the first agent costs and falls; nothing pulls at the others
    assert learner_actions[first][:, 0].mean() < 0.2 < learner_actions[second][:, 0].mean()


def test_the_critic_step_of_a_rule_from_outside_is_that_of_its_own_loss(huber: str) -> None:
    learner = _learner(rule=huber, delta=0.1)
    net = learner.critics.net.on(learner.critics.net.flat.clone().requires_grad_())
    batch = _batch(learner)
    q = net.forward(batch.rows[..., learner.layout.joint])[0][..., 0]
    loss = functional.huber_loss(q, batch.rewards, delta=0.1)  # every transition is the last
    (wanted,) = torch.autograd.grad(loss, net.flat)
    learner.update(batch)
    torch.testing.assert_close(learner.critics.adam.gradient, wanted, atol=1e-7, rtol=1e-5)


def test_a_rule_that_inherits_its_losses_has_their_hand_written_gradients(hard_sac: str) -> None:
    hard, soft = _learner(rule=hard_sac), _learner(rule="sac")
    assert hard.config.gradients == soft.config.gradients == "fast"
    batch = _batch(hard)._replace(discounts=torch.full((1, BATCH), 0.9))
    noise = soft.draw_noise(BATCH, True)
    alpha = soft.log_alpha.exp()
    with torch.no_grad():
        with_entropy, without = (x._targets(batch, noise, alpha) for x in (soft, hard))
    assert (with_entropy != without).any()


def test_hand_written_gradients_are_refused_where_there_are_none(huber: str) -> None:
    with pytest.raises(ConfigError, match="the critic loss of rule=huber-ddpg lacks"):
        _learner(rule=huber, gradients="fast")
    assert _learner(rule="td3", gradients="autograd").config.gradients == "autograd"


def test_a_network_of_another_kind_trains_by_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    class Smooth(StackedMLP):
        """SiLU in place of ReLU."""

        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
            for weight, bias in self.layers[:-1]:
                x = functional.silu(torch.baddbmm(bias, x, weight))
            weight, bias = self.layers[-1]
            return torch.baddbmm(bias, x, weight), []

        def on(self, flat: Tensor) -> Smooth:
            part = super().on(flat)
            part.__class__ = Smooth
            return part  # type: ignore[return-value]

    monkeypatch.setattr(networks, "StackedMLP", Smooth)
    learner = _learner(rule="sac")
    assert learner.config.gradients == "autograd"
    losses = [learner.update(_batch(learner), is_reported=True)["value_loss"] for _ in range(60)]
    assert float(losses[-1]) < 0.1 * float(losses[0])


def test_settings_belong_to_the_rule_that_reads_them() -> None:
    config = OffPolicyConfig()
    for name in ("alpha", "rule.alpha"):
        assert with_settings(config, {name: "0.1"}).rule == SAC(alpha=0.1)
    assert [*SAC(alpha_auto=False).unused(config)] == ["alpha_lr", "target_entropy"]
    assert not SAC().unused(config)
    ddpg = with_settings(config, {"rule": "ddpg", "exploration": "0.3"})
    assert ddpg.rule == DDPG(exploration=0.3)
    td3 = with_settings(ddpg, {"rule": "td3", "noise_clip": "0.2"})
    assert (td3.rule.exploration, td3.rule.noise_clip) == (0.3, 0.2)  # type: ignore[attr-defined]
    for name, value, words in (
        ("alpha", "0.1", "it is a setting of rule=sac, and this is rule=ddpg"),
        ("noise_clip", "0.1", "of rule=td3"),
        ("cost_twins", "true", "of constraint=lagrangian or constraint=pid"),
        ("pid_kp", "1", "of constraint=pid, and this is constraint=none"),
        ("lambda_warmup_steps", "1", "constraint=lagrangian or constraint=pid"),
    ):
        with pytest.raises(ConfigError, match=words):
            with_settings(ddpg, {name: value})
    with pytest.raises(UnknownName, match="sac"):
        with_settings(config, {"rule": "sacc"})
    with pytest.raises(UnknownName, match="lagrangian"):
        with_settings(config, {"constraint": "cpo"})  # which on-policy learners have


def test_a_setting_of_rule_and_constraint_is_written_with_one_of_them() -> None:
    """DDPG's target and the multiplier's cadence are two variants of the official code."""
    held = with_settings(OffPolicyConfig(), {"rule": "ddpg", "constraint": "pid"})
    with pytest.raises(ConfigError, match=r"rule\.variant or constraint\.variant"):
        with_settings(held, {"variant": "omnisafe"})
    plain = as_plain(with_settings(held, {"rule.variant": "omnisafe"}))
    assert (plain["rule.variant"], plain["constraint.variant"]) == ("omnisafe", "published")
    sac = with_settings(held, {"rule": "sac", "variant": "omnisafe"})
    assert sac.constraint.is_as_omnisafe


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": "0"}, "alpha must be positive"),
        ({"alpha_lr": "-1"}, "alpha_lr must be positive"),
        ({"rule": "ddpg", "exploration": "-1"}, "exploration must be at least 0"),
        ({"rule": "td3", "target_noise": "-1"}, "target_noise must be at least 0"),
        ({"rule": "td3", "noise_clip": "-1"}, "noise_clip must be at least 0"),
        ({"constraint": "pid", "lambda_warmup_steps": "-1"}, "lambda_warmup_steps must be at"),
        ({"constraint": "lagrangian", "lambda_lr": "-1"}, "lambda_lr must be at least 0"),
        ({"constraint": "lagrangian", "lambda_warmup_steps": "-1"}, "lambda_warmup_steps must"),
        ({"gradients": "slow"}, "gradients='slow' does not fit"),
    ],
)
def test_values_out_of_their_domain_are_clear_errors(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_settings(OffPolicyConfig(), settings)
