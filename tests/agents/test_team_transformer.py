"""The Multi-Agent Transformer: one parallel pass equals agent by agent, and who sees what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import with_settings
from pkubench.agents.contract import CentralisedTeam, Team
from pkubench.agents.families.team_transformer.loading import load
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.team_transformer import make_learner
from pkubench.agents.rl.team_transformer.networks import TeamSpec, TeamTransformer, shifted
from pkubench.agents.saved.files import SavedAgent
from pkubench.agents.suitability import why_not
from pkubench.errors import AgentError, WeightsError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task
from pkubench.training.session import train
from pkubench.training.state import join, split
from tests.agents.toy_envs import SharingEnv, task_of

SHARING = task_of(SharingEnv)
SMALL = {"num_envs": "8", "rollout_steps": "4", "width": "8", "epochs": "2", "minibatches": "2"}


def net(*, is_discrete: bool = True, is_decentralised: bool = False) -> TeamTransformer:
    spec = TeamSpec(
        agents=4,
        observations=3,
        actions=3 if is_discrete else 2,
        is_discrete=is_discrete,
        width=8,
        layers=2,
        heads=2,
        is_decentralised=is_decentralised,
        shared=False,
    )
    made = TeamTransformer(spec, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for k, parameter in enumerate(made.parameters()):
            parameter.normal_(std=0.7, generator=torch.Generator().manual_seed(k))
    return made


def batch(*, is_discrete: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    seen = torch.randn(6, 4, 3, dtype=torch.float64, generator=generator)
    if is_discrete:
        return seen, torch.randint(3, (6, 4), generator=generator)
    return seen, torch.randn(6, 4, 2, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("is_discrete", [True, False])
@pytest.mark.parametrize("is_decentralised", [True, False])
def test_one_pass_has_the_log_probabilities_of_agent_by_agent(
    is_discrete: bool, is_decentralised: bool
) -> None:
    made = net(is_discrete=is_discrete, is_decentralised=is_decentralised)
    seen, _ = batch()
    actions, one_by_one = made.act(seen, torch.Generator().manual_seed(1))
    parallel, entropy, values = made.evaluate(seen, actions)
    torch.testing.assert_close(parallel, one_by_one, atol=1e-10, rtol=0)
    assert parallel.shape == (6, 4, 1 if is_discrete else 2)
    assert entropy.shape == values.shape == (6, 4)
    assert len(set(actions.flatten().tolist())) > 1


@pytest.mark.parametrize("is_discrete", [True, False])
def test_an_action_is_seen_by_the_agents_after_it_alone(is_discrete: bool) -> None:
    made = net(is_discrete=is_discrete)
    seen, actions = batch(is_discrete=is_discrete)
    features, _ = made.encoder(seen)
    assert made.decoder is not None
    before = made.decoder(features, shifted(actions, made.spec))
    other = actions.clone()
    other[:, 1] = (other[:, 1] + 1) % 3 if is_discrete else -other[:, 1]
    after = made.decoder(features, shifted(other, made.spec))
    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 2:] != after[:, 2:]).any(-1).all()


def test_the_residual_of_the_decoder_is_the_encoders_features() -> None:
    made = net()
    seen, actions = batch()
    features, _ = made.encoder(seen)
    assert made.decoder is not None
    with torch.no_grad():
        made.decoder.blocks[-1].other.mix.weight.zero_()  # actions would remain in another residual
    found = [made.decoder(features, shifted(a, made.spec)) for a in (actions, 2 - actions)]
    torch.testing.assert_close(found[0], found[1], atol=1e-12, rtol=0)


def test_the_encoder_permutes_with_its_agents_and_every_agent_counts() -> None:
    made, (seen, _) = net(), batch()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(made.values(seen[:, order]), made.values(seen)[:, order])
    other = seen.clone()
    other[:, 3] *= -1.0
    assert not torch.isclose(made.values(seen), made.values(other)).any()


def test_decentralised_actors_are_blind_to_the_others() -> None:
    made, (seen, actions) = net(is_decentralised=True), batch()
    before, *_ = made.evaluate(seen, actions)
    other = seen.clone()
    other[:, 1] *= -1.0
    acted = actions.clone()
    acted[:, 1] = (acted[:, 1] + 1) % 3
    after, _, values = made.evaluate(other, acted)
    rest = [0, 2, 3]
    assert torch.equal(before[:, rest], after[:, rest])
    assert not torch.isclose(values, made.values(seen)).any()  # the critic sees all


def test_the_first_agent_has_a_token_of_its_own() -> None:
    made = net()
    found = shifted(torch.tensor([[2, 0, 1, 1]]), made.spec)
    wanted = [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert found[0].int().tolist() == wanted
    continuous = net(is_discrete=False)
    raw = torch.arange(8.0).view(1, 4, 2)
    assert shifted(raw, continuous.spec)[0].tolist() == [[0, 0], [0, 1], [2, 3], [4, 5]]


def learner_of(agent: str = "mat", task: Task = SHARING, **more: str) -> Any:
    config = with_settings(preset(agent).config(task), {**SMALL, **more})
    return make_learner(Context(agent=agent, task=task, settings=config, seed=1, total=1000))


def test_the_surrogate_is_clipped_per_dimension_and_summed() -> None:
    made = learner_of("mat", make_task("SimpleSpreadContinuous-v0"), clip="0.2")
    agents, size = made.spec.agents, made.spec.actions
    seen = torch.randn(5, agents, made.spec.observations)
    actions = torch.randn(5, agents, size)
    now = made.net.evaluate(seen, actions)
    old, values = (now[0] - torch.linspace(-1, 1, size)).detach(), now[2].detach()
    advantages = torch.randn(5, agents)
    found, *_ = made.losses(now, (old, values, advantages, values))
    ratio = np.exp(np.linspace(-1, 1, size))
    gain = advantages.numpy()[..., None]
    wanted = np.minimum(ratio * gain, np.clip(ratio, 0.8, 1.2) * gain).sum(-1).mean()
    assert found.item() == pytest.approx(-wanted, rel=1e-4)
    made.close()


def test_one_optimiser_descends_the_weighted_sum_of_the_losses() -> None:
    made = learner_of(entropy="0.1", value_weight="0.5", epochs="1", minibatches="1")
    data, taken = made.collector.collect(4, made.behave, restart=False), []
    made.losses = lambda found, given: tuple(map(torch.tensor, (1.0, 2.0, 3.0)))
    made.optimiser.step = taken.append
    made.update(data)
    made.close()
    assert [float(loss) for loss in taken] == [pytest.approx(1.0 - 0.1 * 2.0 + 0.5 * 3.0)]


def test_a_truncated_step_bootstraps_or_has_no_advantage() -> None:
    found = {}
    for how in ("official", "bootstrap"):
        made = learner_of(truncation=how)
        data = made.collector.collect(4, made.behave, restart=False)
        assert data.truncated[3].all()
        observations = made._stacked(data.observations)
        raw, returns, found[how] = made.estimates(data, observations)
        np.testing.assert_allclose(returns - found[how], made.norm.denormalise(raw), atol=1e-6)
        made.close()
    assert not found["official"][3].any() and found["bootstrap"][3].any()


def test_sables_second_rollout_has_its_own_probabilities_and_values() -> None:
    task = make_task("SimpleSpread-v0")
    made = learner_of("sable", task, rollout_steps="20")  # of episodes of 25 steps
    with torch.no_grad():  # values that differ by more than rounding
        made.net.value_head[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
    made.collector.collect(20, made.behave, restart=False)
    data = made.collector.collect(20, made.behave, restart=False)
    assert np.abs(data.hidden[made.env.agents[0]]).max() > 0 and data.truncated.any()
    observations, actions = made._stacked(data.observations), made._stacked(data.actions)
    rows = torch.arange(8)
    log_probs, _, values = made.evaluate(data, observations, actions, rows)
    old = made._stacked(data.log_probs)
    torch.testing.assert_close(log_probs.detach(), old, atol=1e-5, rtol=0)
    final = data.truncated.copy()
    final[-1] = True
    raw, ahead = made.values(data, observations, final)
    np.testing.assert_allclose(raw, values.detach().numpy(), atol=1e-4)
    assert np.ptp(raw) > 0.5
    assert ahead.shape == (final.sum(), 3)
    # the last step's next state is the first one of the rollout after it
    after = made.collector.collect(1, made.behave, restart=False)
    first, _ = made.values(after, made._stacked(after.observations), np.ones((1, 8), bool))
    np.testing.assert_allclose(first[0], ahead[-8:], atol=1e-4)
    made.close()


@pytest.mark.parametrize("agent", ["mat", "mat-dec", "sable"])
def test_a_state_resumes_to_the_same_bits(agent: str) -> None:
    made = learner_of(agent)
    made.iterate()
    tensors, plain = split(made.state())
    other = learner_of(agent)
    other.load_state(join(tensors, plain))
    for each in (made, other):
        each.iterate()
        each.close()
    first, second = made.export().tensors, other.export().tensors
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert made.counters == other.counters
    assert made.counters.gradient_steps == 8


@pytest.mark.parametrize(
    ("agent", "task"),
    [
        ("mat", SHARING),
        ("mat-dec", SHARING),
        ("sable", SHARING),
        ("mat", make_task("SimpleSpreadContinuous-v0")),
        ("sable", make_task("SimpleSpreadContinuous-v0")),
    ],
)
def test_a_saved_team_acts_and_says_how(agent: str, task: Task, tmp_path: Path) -> None:
    for _ in train(agent, task, steps=64, seed=1, settings=SMALL, out=tmp_path / "run"):
        pass
    for mode in ("mode", "sampled"):
        team = load_agent(f"{tmp_path / 'run'}+mode={mode}", task)
        assert isinstance(team, CentralisedTeam) is (agent != "mat-dec")
        assert isinstance(team, Team) is (agent == "mat-dec")
    from pkubench.envs.core.registry import make_batch

    plan = [Episode(number=k, seed=k, agent_seed=k) for k in range(3)]
    records = list(run_block(make_batch(task.id, 3), team, task, plan))
    assert not any(record.failure for record in records)
    alone = list(run_block(make_batch(task.id, 1), team, task, plan[:1]))
    assert alone[0].return_ == records[0].return_  # whatever the batch
    with pytest.raises(AgentError, match="team"):
        load_agent(str(tmp_path / "run"), make_task("SimpleReferenceContinuous-v0"))


@pytest.mark.parametrize(
    "wrong",
    [{"width": 2**20}, {"width": 2**62}, {"has_memory": True, "is_decentralised": True}],
)
def test_a_description_of_no_network_is_refused(wrong: dict[str, Any]) -> None:
    made = learner_of("mat")
    export = made.export()
    made.close()
    config = {"task": SHARING.id, **export.config, "spec": {**export.config["spec"], **wrong}}
    with pytest.raises(WeightsError):
        load(SavedAgent(config, dict(export.tensors)), SHARING)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["mat", "sable"])
def test_agents_in_order_learn_to_differ_where_equal_actors_cannot(agent: str) -> None:
    made = learner_of(agent, num_envs="32", lr="1e-2", width="16", minibatches="1", epochs="5")
    for _ in range(12):
        figures = made.iterate()
    made.close()
    assert figures["return"] > 3.5  # of 4; half of it by chance


def test_only_teams_of_like_agents_fit() -> None:
    assert not why_not(preset("mat"), make_task("SimpleSpread-v0"))
    assert "equal spaces" in why_not(preset("mat"), make_task("SimpleSpeakerListener-v0"))
