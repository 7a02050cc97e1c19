"""Learners of language models: the order of an update, exact tables, pipelines and saved agents."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pkubench
from pkubench.agents.registry import presets
from pkubench.agents.rl.language.learners import token_ppo
from pkubench.agents.rl.language.learners.base import Responses, ordered
from pkubench.agents.rl.language.methods.preferences import DPO, KTO
from pkubench.agents.rl.language.methods.supervised import CostModel, Imitation, RewardModel
from pkubench.agents.rl.language.methods.token_ppo import (
    LagrangianPPO,
    RectifiedPPO,
    ShapedPPO,
    TokenPPO,
)
from pkubench.agents.rl.language.models import HeadSpec, ScoreModel
from pkubench.agents.rl.language.tables import policy_table, score_table
from pkubench.agents.rl.language.training import read_model
from pkubench.agents.saved.files import load_saved
from pkubench.envs.alignment import optima
from pkubench.envs.alignment.toy_language import TOY
from pkubench.errors import ConfigError, WeightsError
from pkubench.tasks.registry import make_task
from tests.alignment.language_parts import SPEC, draws, learner, policy, scores

TASK = make_task("ToyLanguage-v0")
R, C = TOY.table


def whole(prompt: int, responses: Any) -> torch.Tensor:
    return torch.from_numpy(
        np.concatenate([np.tile(TOY.prompts[prompt], (len(responses), 1)), responses], axis=1)
    )


def test_tables_are_the_models_on_whole_sequences() -> None:
    model, some = policy(), np.array([0, 7, 641, 1295])
    table = policy_table(model, TOY)
    assert table.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        logs = model.log_probs(whole(9, TOY.responses[some]), 4).sum(1)
    assert table[9, some] == pytest.approx(logs.exp().numpy(), rel=1e-4)
    assert np.ptp(table[9]) > 1e-4, "not uniform"
    model_scores = scores()
    with torch.no_grad():
        found = model_scores.scores(whole(3, TOY.responses[some]))
    assert score_table(model_scores, TOY)[3, some] == pytest.approx(found.numpy(), abs=1e-6)


def test_responses_are_drawn_with_their_probabilities() -> None:
    model = policy(sharpness=4.0)
    prompts = torch.from_numpy(np.tile(TOY.prompts[5], (20_000, 1)))
    with torch.no_grad():
        tokens, logs = model.respond(prompts, 4, torch.Generator().manual_seed(0))
        again = model.log_probs(tokens, 4)
    assert logs.numpy() == pytest.approx(again.numpy(), abs=1e-5)
    table = policy_table(model, TOY)[5]
    first = table.reshape(6, 216).sum(axis=1)
    shares = np.bincount(tokens[:, 2].numpy(), minlength=6) / 20_000
    assert shares == pytest.approx(first, abs=0.015)


def test_values_stand_before_their_words() -> None:
    model, tokens = scores(3), whole(1, TOY.responses[[5, 700]])
    with torch.no_grad():
        values = model.values(tokens, 4)
        other = tokens.clone()
        other[:, -1] = 0
        assert torch.equal(model.values(other, 4), values), "the last word comes after every value"
        other[:, 2] = 5
        changed = model.values(other, 4) != values
    assert not changed[:, 0].any() and changed[:, 1:].all()


def stubbed(method: Any, monkeypatch: pytest.MonkeyPatch, value: float = 0.0) -> Any:
    """Return a learner whose critics say the same everywhere."""
    made = learner(method)
    for critic in made.critics.values():
        # with a gradient of 0, so that the critic can take its step
        monkeypatch.setattr(
            critic,
            "values",
            lambda tokens, length, of=critic: (
                torch.full((len(tokens), length), value) + 0.0 * of.head.bias
            ),
        )
    return made


def test_streams_are_sums_to_the_end_where_nothing_is_discounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stubbed(LagrangianPPO(beta=0.5, gae_lambda=1.0), monkeypatch, 0.25)
    k = torch.tensor([[0.2, -0.4, 0.6, 1.0]])
    drawn = Responses(np.array([0]), whole(0, TOY.responses[[1]]))
    found = made.streams(drawn, np.array([2.0]), np.array([3.0]), k)
    to_come = np.array([1.4, 1.2, 1.6, 1.0])
    assert found["reward"].returns[0].numpy() == pytest.approx(2.0 - 0.5 * to_come)
    assert found["cost"].returns[0].numpy() == pytest.approx(3.0 + 0.5 * to_come)
    assert found["cost"].advantages[0].numpy() == pytest.approx(2.75 + 0.5 * to_come)
    short = stubbed(LagrangianPPO(beta=0.5, gae_lambda=0.0), monkeypatch, 0.25)
    found = short.streams(drawn, np.array([2.0]), np.array([3.0]), k)
    # r_t + V(next) - V: the value after the last word is 0
    assert found["reward"].advantages[0].numpy() == pytest.approx([-0.1, 0.2, -0.3, 1.25])
    shaping = stubbed(ShapedPPO(kappa=0.5, gae_lambda=1.0, beta=0.0), monkeypatch)
    found = shaping.streams(drawn, np.array([2.0]), np.array([3.0]), k)
    assert list(found) == ["reward"] and found["reward"].returns[0].tolist() == [0.5] * 4
    strict = stubbed(RectifiedPPO(gae_lambda=1.0, beta=0.0), monkeypatch)
    found = strict.streams(drawn, np.array([2.0]), np.array([-3.0]), k)
    assert found["cost"].returns[0].tolist() == [0.0] * 4


def test_the_multiplier_moves_first_and_from_a_window_of_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = LagrangianPPO(window=48, multiplier_lr=0.5, epochs=1)
    made = learner(method)
    monkeypatch.setattr(made, "costs", lambda of: np.full(len(of.prompts), 0.4))
    seen: list[float] = []
    combined = made.combined
    monkeypatch.setattr(
        made, "combined", lambda *a: (seen.append(made.multiplier), combined(*a))[1]
    )
    made.update(draws())
    assert seen == pytest.approx([math.exp(0.2)]), "before the advantages of the same batch"
    monkeypatch.setattr(made, "costs", lambda of: np.full(len(of.prompts), -0.2))
    made.update(draws(1))
    # of 64 episodes the last 48 count: 16 of the first batch and 32 of the second
    mean = (16 * 0.4 - 32 * 0.2) / 48
    assert seen[1] == pytest.approx(math.exp(0.2 + 0.5 * math.exp(0.2) * mean))
    assert len(made.episode_costs) == 48
    late = learner(LagrangianPPO(multiplier_delay=1, epochs=1))
    assert late.update(draws())["multiplier"] == 1.0 != late.update(draws(1))["multiplier"]
    rising = learner(RectifiedPPO(epochs=1, multiplier_lr=0.5))
    monkeypatch.setattr(rising, "costs", lambda of: np.array([1.0, -9.0] * 16))
    assert rising.update(draws())["multiplier"] == pytest.approx(math.exp(0.25), abs=1e-6)


def test_an_update_moves_the_multiplier_then_the_actor_then_the_critics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = learner(LagrangianPPO(epochs=2, imitation=0.5))
    order: list[str] = []
    for name, optimiser in made.optimisers.items():
        step = optimiser.step
        monkeypatch.setattr(
            optimiser, "step", lambda loss, step=step, name=name: (order.append(name), step(loss))
        )
    move = made.move_multiplier
    monkeypatch.setattr(
        made, "move_multiplier", lambda method: (order.append("multiplier"), move(method))
    )
    used: list[float] = []
    combined = made.combined
    monkeypatch.setattr(
        made, "combined", lambda *a: (used.append(made.multiplier), combined(*a))[1]
    )
    monkeypatch.setattr(made, "costs", lambda of: np.full(len(of.prompts), 0.4))
    made.update(draws())
    assert order == ["multiplier", "net", "reward", "cost"] * 2
    # log lambda moves by 0.1 x lambda x 0.4 in each epoch, and the costs are recorded once
    first = math.exp(0.04)
    assert used == pytest.approx([first, first * math.exp(0.04 * first)], rel=1e-6)
    assert made.episode_costs == pytest.approx([0.4] * 32)
    assert list(learner(TokenPPO()).optimisers) == ["net", "reward"]


def test_imitation_is_in_the_actors_step_with_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(weight: float) -> torch.Tensor:
        made = learner(TokenPPO(epochs=1, imitation=weight))
        found: list[torch.Tensor] = []

        def step(loss: torch.Tensor) -> None:
            loss.backward()
            found.append(made.actor.head.weight.grad.clone())

        monkeypatch.setattr(made.optimisers["net"], "step", step)
        made.update(draws())
        assert len(found) == 1, "one step, not one for each loss"
        return found[0]

    alone, one, two = gradient(0.0), gradient(1.0), gradient(2.0)
    # each is the mean of two losses: (g + w h) / 2
    assert torch.allclose(2.0 * two - alone, 2.0 * (2.0 * one - alone), atol=1e-6)
    assert (2.0 * one - alone).norm() > 1e-3


def test_the_actors_rate_reaches_0_at_the_end_and_no_sooner() -> None:
    made = learner(TokenPPO(epochs=2, imitation=1.0), batch_size=16, total=3)
    for number in range(3):
        made.update(draws(number))
    actor = made.optimisers["net"]
    assert actor.count == 6 and actor.schedule(actor.count) == pytest.approx(0.0, abs=1e-12)
    assert actor.schedule(actor.count - 1) > 0.05


def test_the_actors_first_step_is_the_policy_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stubbed(LagrangianPPO(epochs=1, beta=0.0), monkeypatch)
    losses: list[float] = []
    monkeypatch.setattr(
        token_ppo,
        "ppo_clip",
        lambda r, a, m, c: losses.append(float((r * a).detach().mean())) or -(r * a).mean(),
    )
    before = [p.detach().clone() for p in made.actor.parameters()]
    monkeypatch.setattr(made, "rewards", lambda of: (of.tokens[:, 2] == 3).double().numpy())
    monkeypatch.setattr(made, "costs", lambda of: np.zeros(len(of.prompts)))
    table = policy_table(made.actor, TOY)
    chance = table.reshape(16, 6, 216)[:, 3].sum()
    for number in range(10):
        made.update(draws(number))
    assert any(not torch.equal(a, b) for a, b in zip(before, made.actor.parameters(), strict=True))
    assert policy_table(made.actor, TOY).reshape(16, 6, 216)[:, 3].sum() > chance + 0.05
    assert losses[0] > 0.0, "the ratio is 1 at first"


def test_pairs_are_ordered_by_their_labels() -> None:
    one = Responses(np.array([0, 1]), torch.tensor([[1], [2]]))
    other = Responses(np.array([0, 1]), torch.tensor([[3], [4]]))
    pairs = ordered(one, other, np.array([True, False]))
    assert pairs.better.tokens[:, 0].tolist() == [1, 4]
    assert pairs.worse.tokens[:, 0].tolist() == [3, 2]
    made = learner(DPO(labels="safe", uniform=1.0), batch_size=4000)
    pairs = made.pairs(draws())
    gaps = made.costs(pairs.worse) - made.costs(pairs.better)
    wanted = 1 / (1 + np.exp(-np.abs(gaps)))
    assert (gaps > 0).mean() + (gaps == 0).mean() / 2 == pytest.approx(wanted.mean(), abs=0.03)


@pytest.mark.parametrize("method", [DPO(beta=0.3), KTO(beta=0.3)])
def test_preference_tuning_starts_at_the_reference(method: Any) -> None:
    made = learner(method)
    loss, better, worse = made.loss(made.pairs(draws()))
    assert float(loss.detach()) == pytest.approx(math.log(2) if method.name == "dpo" else 0.5)
    assert better.abs().max() < 1e-5 and worse.abs().max() < 1e-5
    first = made.update(draws())["loss"]
    for number in range(8):
        last = made.update(draws(number))["loss"]
    assert last < first


def test_score_models_learn_the_order_and_the_sign() -> None:
    rewards, costs = (
        learner(method(uniform=1.0), batch_size=128, total=40, lr=1e-2)
        for method in (RewardModel, CostModel)
    )
    for number in range(40):
        rewards.update(draws(number))
        costs.update(draws(number))
    table = score_table(rewards.net, TOY)[:4]
    assert all(np.corrcoef(table[k], R[k])[0, 1] > 0.4 for k in range(4))
    signs = score_table(costs.net, TOY)[8:12] > 0.0
    assert signs[C[8:12] > 1.0].mean() > 0.9 and signs[C[8:12] < 0.0].mean() < 0.2


@pytest.mark.parametrize(
    "method",
    [Imitation(), RewardModel(), CostModel(), KTO(), ShapedPPO(), LagrangianPPO(), RectifiedPPO()],
)
def test_a_learner_resumes_to_the_same_bits(method: Any) -> None:
    one = learner(method)
    one.update(draws(0))
    state = one.state()
    one.update(draws(1))
    other = learner(method)
    other.load_state(state)
    other.update(draws(1))
    for name, module in one.modules.items():
        for a, b in zip(module.parameters(), other.modules[name].parameters(), strict=True):
            assert torch.equal(a, b)
    with pytest.raises(WeightsError, match="does not fit this run"):
        other.load_state({**state, "modules": {}})


def test_biases_and_norms_do_not_decay() -> None:
    made = learner(CostModel(uniform=1.0))
    found = made.optimiser(made.net, 1e-3, 0.1)
    decays = [
        (p.ndim > 1, group["weight_decay"]) for group in found.inner.param_groups
        for p in group["params"]
    ]  # fmt: skip
    assert set(decays) == {(True, 0.1), (False, 0.0)}
    assert len(decays) == len(list(made.net.parameters()))


@pytest.mark.parametrize("method", [LagrangianPPO(), DPO(), RewardModel(), Imitation()])
def test_prompts_held_out_are_in_no_batch(method: Any) -> None:
    held_out = (1, 6, 9, 14)
    made = learner(method, held_out=held_out)
    seen = np.concatenate([made.prompts(draws(k), 24) for k in range(20)])
    assert set(seen.tolist()) == set(range(16)) - set(held_out)
    assert np.bincount(seen, minlength=16).max() == 40, "each as often"
    for wrong in ((16,), tuple(range(16))):
        with pytest.raises(ConfigError, match="held_out must leave some of the prompts 0 to 15"):
            learner(method, held_out=wrong)
    # without any, the draws are those of all prompts
    whole = learner(method)
    first = draws(3).numpy.integers(16)
    assert sorted(whole.prompts(draws(3), 16)) == list(range(16)) and 0 <= first < 16


def test_pairs_mix_written_and_uniform_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner(DPO(uniform=0.5), batch_size=400)
    reference = made.setup.reference
    monkeypatch.setattr(
        reference, "respond", lambda begun, length, generator: (
            torch.cat([begun, torch.full((len(begun), length), 5)], 1), None)
    )  # fmt: skip
    source, prompts = draws(), np.arange(400) % 16
    is_written = [
        (made.responses(source, prompts, 0.5).tokens[:, 2:] == 5).all(1).numpy() for _ in range(2)
    ]
    for first in (False, True):
        for second in (False, True):
            share = ((is_written[0] == first) & (is_written[1] == second)).mean()
            assert share == pytest.approx(0.25, abs=0.08)
    alone = learner(RewardModel(uniform=0.5), reference=None)
    with pytest.raises(ConfigError, match=r"a share 0.5 of the responses is drawn from a language"):
        alone.update(draws())


def test_kto_estimates_its_divergence_from_all_responses_after_other_prompts() -> None:
    made = learner(KTO(), batch_size=40)
    pairs = made.pairs(draws())
    found = made.mismatched(pairs)
    both = torch.cat([pairs.better.tokens, pairs.worse.tokens])
    assert torch.equal(found[:, 2:], both[:, 2:])
    assert not (found[:, :2] == both[:, :2]).all(1).any()
    assert torch.equal(found[:40, :2].sort(0).values, both[:40, :2].sort(0).values)


def test_a_critic_has_the_size_of_its_score_model() -> None:
    other = dataclasses.replace(
        SPEC, transformer=dataclasses.replace(SPEC.transformer, width=8, layers=2)
    )
    reward = ScoreModel(HeadSpec(other, 1), torch.Generator().manual_seed(3))
    made = learner(LagrangianPPO(epochs=1), reward=reward)
    assert made.critics["reward"].spec.trunk.width == 8
    assert made.critics["cost"].spec.trunk.width == 16
    assert math.isfinite(made.update(draws())["return"])


SMALL = {"sft_iterations": "2", "model_iterations": "2", "batch_size": "16"}


def trained(agent: str, out: Path, **more: Any) -> Any:
    settings = SMALL | more.pop("settings", {})
    return pkubench.train(
        agent, TASK, steps=2, seed=0, out=out, settings=settings, validate=0, **more
    )


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def test_sacpo_tunes_for_safety_from_and_against_its_first_stage(tmp_path: Path) -> None:
    trained("sacpo", tmp_path, settings={"multiplier": "0.5", "scores": "learned"})
    stages = sorted(path.name for path in (tmp_path / "stages").iterdir())
    assert stages == ["01-reference", "02-reward", "03-cost", "04-helpful", "05-policy"]
    folders = [tmp_path / "stages" / name for name in stages]
    reference, reward, cost, helpful, last = (load_saved(folder).config for folder in folders)
    assert helpful["settings"]["method.labels"] == "helpful"
    assert helpful["settings"]["method.beta"] == 0.1
    assert last["settings"]["method.labels"] == "safe" and last["settings"]["method.beta"] == 0.2
    assert reward["inputs"] == cost["inputs"] == {"reference": reference["weights_sha256"]}
    assert helpful["inputs"]["reference"] == reference["weights_sha256"]
    assert last["inputs"] == {
        "reference": helpful["weights_sha256"],
        "reward": reward["weights_sha256"],
        "cost": cost["weights_sha256"],
    }
    for folder in folders[3:]:
        assert curve(folder)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert load_saved(tmp_path).config["kind"] == "language-model"


def test_a_pipeline_takes_models_that_are_there(tmp_path: Path) -> None:
    trained("repo", tmp_path / "a")
    reference = tmp_path / "a/stages/01-reference"
    trained("safe-rlhf", tmp_path / "b", inputs={"reference": reference})
    assert [path.name for path in (tmp_path / "b/stages").iterdir()] == ["01-policy"]
    config = load_saved(tmp_path / "b").config
    assert config["agent"] == "safe-rlhf" and config["stages"][0]["agent"] == "token-ppo"
    figures = curve(tmp_path / "b/stages/01-policy")
    assert figures[0]["multiplier"] != 1.0
    with pytest.raises(ConfigError, match=r"input 'cost' has no effect here; used only with sco"):
        trained("repo", tmp_path / "c", inputs={"cost": reference})
    both = {"model": reference, "reference": reference}
    for agent in ("repo", "sft"):
        with pytest.raises(ConfigError, match="'model' or 'reference', not both"):
            pkubench.train(agent, TASK, steps=1, out=tmp_path / agent, validate=0, inputs=both)
    with pytest.raises(WeightsError, match="this is a language model; wanted is a reward or cost"):
        trained(
            "repo", tmp_path / "d",
            inputs={"reference": reference, "reward": reference, "cost": reference},
            settings={"scores": "learned"},
        )  # fmt: skip
    # what is saved writes: word by word it has the probabilities of the table
    saved = load_saved(tmp_path / "b")
    table = policy_table(read_model(saved, TOY, "policy"), TOY)
    entrant = pkubench.load_agent(tmp_path / "b")
    seen = TOY.observed(np.array([4]), np.array([[2, 3, 0, 0]]), np.array([2]))
    chances = entrant.action_probabilities(seen)[0]
    joint = table[4].reshape(6, 6, 6, 6)[2, 3].sum(axis=1)
    assert chances == pytest.approx(joint / joint.sum(), abs=1e-4)
    found = pkubench.evaluate(tmp_path / "b", TASK, episodes=16, workers=0)
    assert found.failed == 0 and found.metrics["return"].mean is not None
    assert found.metrics["violating_prompts"].mean is None, "one episode of each prompt"


def test_what_does_not_fit_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="writes responses in a language, and this has none"):
        pkubench.train("dpo", make_task("SafeBandit-v0"), steps=1, out=tmp_path / "a")
    with pytest.raises(ConfigError, match=r"starts from a language model: give its run folder"):
        pkubench.train("token-ppo", TASK, steps=1, out=tmp_path / "b", validate=0)
    with pytest.raises(ConfigError, match="multiplier_init must not be above multiplier_max"):
        LagrangianPPO(multiplier_init=9.0)
    named = ("safe-rlhf", "rlhf", "ppo-shaping", "repo", "dpo", "sacpo")
    assert set(named) <= set(presets())


def fixed_point(reference: Any) -> Any:
    return optima.lagrangian_optimum(reference, R, C, 0.1, 0.0, divides=True).policy


@pytest.mark.slow
def test_ppo_lag_ends_near_its_own_fixed_point_and_repo_has_no_violating_prompt(
    tmp_path: Path,
) -> None:
    def table(folder: Path) -> Any:
        return policy_table(read_model(load_saved(folder), TOY, "policy"), TOY)

    reference = tmp_path / "safe-rlhf/stages/01-reference"
    for agent, inputs in (("safe-rlhf", {}), ("repo", {"reference": reference})):
        pkubench.train(agent, TASK, seed=1, out=tmp_path / agent, validate=0, inputs=inputs)
    before = table(reference)
    lagrangian, strict = table(tmp_path / "safe-rlhf"), table(tmp_path / "repo")
    assert optima.total_variation(lagrangian, fixed_point(before)) < 0.08
    found, least = (
        optima.summary(lagrangian, R, C, 0.0, 0.1),
        optima.summary(strict, R, C, 0.0, 0.1),
    )
    assert found.violating > 0.25 and least.violating == 0.0
    assert least.value > 1.75
