"""MAT's attention, distributions, advantages and acting, against formulas and other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions

from pkubench.agents.contract import Team
from pkubench.agents.families.team_transformer.loading import load
from pkubench.agents.rl.team_transformer.acting import TeamPolicy
from pkubench.agents.saved.files import SavedAgent
from tests.agents.test_team_transformer import SHARING, batch, learner_of, net


def test_attention_by_hand_is_scaled_by_the_root_of_a_heads_width() -> None:
    made, x = net(), torch.randn(1, 4, 8, dtype=torch.float64)
    for attention, seen in ((made.encoder.blocks[0].attention, 4), (made.decoder.blocks[0].own, 0)):  # type: ignore[union-attr]
        q, k, v = (of(x[0]) for of in (attention.query, attention.key, attention.value))
        rows = []
        for agent in range(4):
            parts = []
            for head in (slice(0, 4), slice(4, 8)):
                others = slice(0, seen or agent + 1)
                shares = (k[others, head] @ q[agent, head] / 4**0.5).softmax(0)
                parts.append(shares @ v[others, head])
            rows.append(attention.mix(torch.cat(parts)))
        torch.testing.assert_close(attention(x, x)[0], torch.stack(rows), atol=1e-12, rtol=0)


def test_log_probabilities_and_entropies_are_those_of_the_distributions() -> None:
    head, outputs = net(is_discrete=False).distribution, torch.randn(5, 4, 2, dtype=torch.float64)
    actions = torch.randn_like(outputs)
    known = distributions.Normal(outputs, 0.5 * torch.sigmoid(head.log_std))  # type: ignore[arg-type]
    log_probs, entropy = head.log_probs(outputs, actions)
    torch.testing.assert_close(log_probs, known.log_prob(actions))  # of each dimension
    torch.testing.assert_close(entropy, known.entropy().sum(-1))
    head, logits = net().distribution, torch.randn(5, 4, 3, dtype=torch.float64)
    choices = torch.randint(3, (5, 4))
    chosen = distributions.Categorical(logits=logits)
    log_probs, entropy = head.log_probs(logits, choices)
    torch.testing.assert_close(log_probs[..., 0], chosen.log_prob(choices))
    torch.testing.assert_close(entropy, chosen.entropy())


def test_the_first_deviation_is_half_a_sigmoid_of_one() -> None:
    made = learner_of("mat", SHARING)
    made.close()
    from pkubench.agents.rl.team_transformer.networks import TeamHead

    std = TeamHead(net(is_discrete=False).spec).std()
    torch.testing.assert_close(std, torch.full((2,), 0.5 / (1.0 + np.exp(-1.0))), check_dtype=False)


def test_every_agent_has_advantages_from_its_own_values() -> None:
    made = learner_of(truncation="bootstrap", gamma="0.9", lam="0.8")
    data = made.collector.collect(4, made.behave, restart=False)
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(4, 8, 2)).astype(np.float32)
    ahead = rng.normal(size=(8, 2)).astype(np.float32)
    made.norm.update(
        np.array([1.0, 5.0, 9.0])
    )  # so that the scale of values is not that of rewards
    made.values = lambda data, observations, final: (raw, ahead)
    found, targets, advantages = made.estimates(data, made._stacked(data.observations))
    values, last = made.norm.denormalise(raw), made.norm.denormalise(ahead)
    made.close()
    assert data.truncated[3].all() and not data.truncated[:3].any()
    running = np.zeros((8, 2))
    for t in (3, 2, 1, 0):
        following = values[t + 1] if t < 3 else last
        error = data.team_rewards[t][:, None] + 0.9 * following - values[t]
        running = error + 0.9 * 0.8 * running
        np.testing.assert_allclose(advantages[t], running, rtol=1e-4)
        np.testing.assert_allclose(targets[t], running + values[t], rtol=1e-4)
    assert found is raw


def test_an_update_is_given_standardised_advantages_and_normalised_targets() -> None:
    made, seen = learner_of(epochs="1", minibatches="1"), []
    losses = made.losses

    def recorded(found: Any, given: Any) -> Any:
        seen.append(given)
        return losses(found, given)

    made.losses = recorded
    data = made.collector.collect(4, made.behave, restart=False)
    raw, targets, advantages = made.estimates(data, made._stacked(data.observations))
    made.update(data)
    made.close()
    ((old, values, given, wanted),) = seen
    normal = (advantages - advantages.mean()) / advantages.std()
    order = np.argsort(given.numpy().ravel())
    np.testing.assert_allclose(given.numpy().ravel()[order], np.sort(normal.ravel()), atol=1e-3)
    np.testing.assert_allclose(np.sort(values.numpy().ravel()), np.sort(raw.ravel()), atol=1e-6)
    scaled = made.norm.normalise(targets)
    np.testing.assert_allclose(np.sort(wanted.numpy().ravel()), np.sort(scaled.ravel()), atol=1e-5)
    assert old.shape == (32, 2, 1)


def test_later_agents_are_given_actions_before_they_are_clipped() -> None:
    made, (seen, _) = net(is_discrete=False), batch()
    assert made.decoder is not None
    with torch.no_grad():
        made.decoder.head[-1].bias.fill_(50.0)
    unit = spaces.Box(-1.0, 1.0, (2,), np.float32)
    policy = TeamPolicy(made, {str(k): unit for k in range(4)})
    given: list[torch.Tensor] = []
    made.decoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    observations = {str(k): seen[:, k].numpy() for k in range(4)}
    actions, _ = policy.act(observations, policy.begin(np.arange(6)), np.ones(6, np.bool_))
    assert all((of == 1.0).all() for of in actions.values())
    assert [of.shape[1] for of in given] == [1, 2, 3, 4]
    assert not given[-1][:, 0].any() and (given[-1][:, 1:] > 20).all()


@pytest.mark.parametrize("shared", ["false", "true"])
def test_a_saved_decentralised_team_has_an_actor_an_agent(shared: str) -> None:
    made = learner_of("mat-dec", SHARING, shared=shared)
    assert len(made.net.actors) == (1 if shared == "true" else 2)
    with torch.no_grad():
        for k, actor in enumerate(made.net.actors):
            actor[-1].bias.copy_(torch.tensor([9.0, -9.0]) * (1 - 2 * k))
    export = made.export()
    made.close()
    team = load(SavedAgent({"task": SHARING.id, **export.config}, dict(export.tensors)), SHARING)
    assert isinstance(team, Team)
    seen, active = np.ones((1, 2), np.float32), np.ones(1, np.bool_)
    found = [
        int(of.act(seen, of.begin(np.zeros(1, np.int64)), active)[0][0])
        for of in team.members.values()
    ]
    assert found == ([0, 0] if shared == "true" else [0, 1])
