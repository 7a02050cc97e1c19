"""Credit: formulas, and models that learn beside the learner and resume with it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import choices
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.credit.base import Credit, CreditContext, CreditFormula
from pkubench.agents.rl.credit.own_reward import OwnReward
from pkubench.agents.rl.credit.team_sum import TeamSum
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.on_policy.state import load_state_of, state_of
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.rollout import Collector
from pkubench.errors import UnknownName, WeightsError
from pkubench.training.checkpoints import Spacing
from pkubench.training.session import train
from tests.agents.configs import config_of
from tests.agents.encoded_envs import MortalTeam
from tests.agents.learned_credit import LinearCredit, LinearRewards
from tests.agents.toy_envs import SharingEnv, task_of
from tests.training.toys import killed_after

SMALL = {"num_envs": "4", "rollout_steps": "8", "hidden": "[4]", "epochs": "1"}
LEARNED = {**SMALL, "critic_epochs": "1", "credit": "linear-rewards", "credit_lr": "0.1"}


def test_a_formula_is_its_own_model_and_has_no_state() -> None:
    context = CreditContext(("a",), {"a": (2,)}, {}, (2,), "cpu")
    for formula in (OwnReward(), TeamSum()):
        assert isinstance(formula, CreditFormula)
        assert formula.start(context, torch.Generator()) is formula
        assert formula.metrics() == {} and formula.state() == {}
        formula.restore({})


def test_a_learned_model_is_told_what_it_is_made_for() -> None:
    env = SharingEnv(4)
    model: Any = OnPolicyLearner(env, config_of(credit=LinearCredit()), 0).signals.credit
    assert model.context.agents == ("a", "b")
    assert model.context.observation_shapes == {"a": (2,), "b": (2,)}
    assert model.context.state_shape == (4,)
    assert model.context.action_spaces == env.action_spaces


def test_the_rewards_of_a_learned_model_are_those_that_agents_are_trained_on() -> None:
    config = config_of(num_envs=4, rollout_steps=8, hidden=(4,), credit=LinearCredit())
    env = SharingEnv(4)
    learner = OnPolicyLearner(env, config, 0)
    data = Collector(env, 0, 10, learner.inputs).collect(8, learner.behave, False)
    seen: list[Any] = []
    estimate = learner._estimate
    learner._estimate = lambda *given: (seen.append(given[3]), estimate(*given))[1]  # type: ignore[method-assign,func-returns-value]
    figures = learner.update(data, math.nan, 0.0)
    np.testing.assert_allclose(np.stack(seen, -1), learner.signals.credit(data), rtol=1e-6)
    assert figures["credit_episodes"] == 4 and figures["credit_loss"] > 0.0


def test_a_learned_model_learns_what_explains_the_returns() -> None:
    env = MortalTeam(8)
    learner = OnPolicyLearner(env, config_of(num_envs=8, rollout_steps=12, hidden=(4,)), 0)
    data = Collector(env, 0, 10, learner.inputs).collect(12, learner.behave, False)
    shapes, actions = {"a": (2,), "b": (2,)}, env.action_spaces
    context = CreditContext(env.agents, shapes, actions, (4,), "cpu")
    model = LinearCredit(credit_lr=0.1).start(context, learner.generator)
    losses = []
    for _ in range(40):
        model.update(data)
        losses.append(model.loss)
    assert np.mean(losses[-5:]) < 0.2 * losses[0]
    rewards = model(data)  # a is paid 1 for action 1 and 0 for action 0
    acted = data.actions["a"] == 1
    assert rewards[acted, 0].mean() - rewards[~acted, 0].mean() == pytest.approx(1.0, abs=0.3)


def test_a_run_with_a_learned_credit_model_is_killed_and_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spacing, "is_due", True)
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def run(out: Path, **more: Any) -> None:
        for _ in train(
            "happo", task_of(SharingEnv), steps=160, seed=1, out=out, settings=LEARNED, **more
        ):
            pass

    run(whole)
    for kill_at in (1, 3):
        with killed_after(OnPolicyTraining, kill_at):
            run(parts, resume=kill_at > 1)
    run(parts, resume=True)
    name = "weights.safetensors"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
    curves = [
        [(row["steps"], row["credit_loss"], row["credit_episodes"]) for row in map(json.loads, of)]
        for of in ((f / "training.jsonl").read_text().splitlines() for f in (whole, parts))
    ]
    assert curves[0] == curves[1] and len(curves[0]) == 5
    assert len({loss for _, loss, _ in curves[0]}) == 5
    assert json.loads((whole / "config.json").read_text())["settings"]["credit"] == "linear-rewards"
    monkeypatch.delitem(Credit.registered, "linear-rewards")  # acting needs no credit model
    assert "linear-rewards" not in choices(Credit)
    load_agent(str(parts), task_of(SharingEnv))
    with pytest.raises(UnknownName, match="linear-rewards"):
        run(tmp_path / "unknown")


def test_a_state_without_the_learned_model_is_refused() -> None:
    def made(credit: Any) -> tuple[OnPolicyLearner, Collector]:
        env = SharingEnv(4)
        learner = OnPolicyLearner(env, config_of(num_envs=4, hidden=(4,), credit=credit), 0)
        return learner, Collector(env, 0, 10, learner.inputs)

    state = state_of(*made(LinearCredit()))
    learner, collector = made(LinearCredit())
    assert isinstance(learner.signals.credit, LinearRewards)
    learner.signals.credit.flat.zero_()
    load_state_of(state, learner, collector)
    assert learner.signals.credit.flat.any()
    with pytest.raises(WeightsError, match="does not fit"):
        load_state_of({**state, "credit": {}}, learner, collector)
