"""Teams with a memory, trained on chunks of rollouts (HARL, MAPPO)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pkubench.agents.components import changed
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.rl.chunks import Chunks
from pkubench.agents.rl.on_policy import make_learner
from pkubench.agents.rl.on_policy.batches import Advantages
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector, Rollout
from pkubench.agents.rl.samples import SequenceSamples
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from tests.agents.configs import config_of
from tests.agents.encoded_envs import MortalTeam
from tests.agents.test_golden_happo import (
    ACTOR_LR,
    CLIP,
    CONFIG,
    CRITIC_EPOCHS,
    CRITIC_LR,
    ENTROPY,
    EPOCHS,
    GAMMA,
    LAM,
    SIZES,
    TEAM,
    VALUE_CLIP,
    Adam,
    N,
    Normaliser,
    Reference,
    T,
    Weights,
    double,
    huber,
    layer_norm,
    stored_batch,
)

UNITS, CHUNK = 5, 4
CHUNKS = 2 * N
GRU: dict[str, Any] = {"memory": "gru", "units": UNITS, "output_norm": True, "hidden": (7,)}


# A slow reference: one sequence and one step at a time, in float64


def after_step(x: Tensor, hidden: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """Return the outputs and the hidden state of HARL's recurrent network after a step."""
    x = layer_norm(x, w, "encoder.norm")
    name = "encoder.dense.linears.0"
    x = layer_norm((w[f"{name}.weight"] @ x + w[f"{name}.bias"]).relu(), w, "encoder.dense.norms.0")
    i = w["memory.cell.weight_ih"] @ x + w["memory.cell.bias_ih"]
    h = w["memory.cell.weight_hh"] @ hidden + w["memory.cell.bias_hh"]
    (ir, iz, i_new), (hr, hz, h_new) = i.split(UNITS), h.split(UNITS)
    reset, keep = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    hidden = (1 - keep) * torch.tanh(i_new + reset * h_new) + keep * hidden
    out = w["head.weight"] @ layer_norm(hidden, w, "memory.norm") + w["head.bias"]
    return out, hidden


def unrolled(
    x: Tensor, first: Any, hidden: Tensor, w: Weights
) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and hidden states of a sequence (T, numbers)."""
    outs, states = [], []
    for row, begins in zip(x, first, strict=True):
        hidden = torch.zeros_like(hidden) if begins else hidden
        out, hidden = after_step(row, hidden, w)
        outs.append(out)
        states.append(hidden)
    return outs, states


class Chunk:
    """A chunk of an environment's sequence: where it is, and the memory at its start."""

    def __init__(self, number: int, x: Tensor, first: Any, hidden: Tensor, w: Weights) -> None:
        k, self.n = divmod(number, N)
        self.at = slice(k * CHUNK, min((k + 1) * CHUNK, T))
        _, states = unrolled(x[:, self.n], first[:, self.n], hidden[self.n], w)
        start = states[k * CHUNK - 1] if k else hidden[self.n]
        self.x, self.first, self.start = x[self.at, self.n], first[self.at, self.n], start.detach()

    def outputs(self, w: Weights) -> Tensor:
        return torch.stack(unrolled(self.x, self.first, self.start, w)[0])


def terms_of(out: Tensor, actions: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of some steps."""
    if "log_std" not in w:
        log_p = out - out.logsumexp(-1, keepdim=True)
        return log_p[torch.arange(len(out)), actions], -(log_p.exp() * log_p).sum(-1)
    std = 0.5 / (1.0 + (-w["log_std"]).exp())
    found = -0.5 * ((actions - out) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)
    entropy = 0.5 * (1 + math.log(2 * math.pi)) + std.log()
    return found.sum(-1), entropy.sum().expand(len(out))


def parts_of(draws: torch.Generator) -> list[list[int]]:
    order = torch.randperm(CHUNKS, generator=draws).tolist()
    return [order[: CHUNKS // 2], order[CHUNKS // 2 :]]


class RecurrentReference:
    """The team's networks, optimisers and normaliser in float64."""

    def __init__(self, learner: OnPolicyLearner) -> None:
        self.actors = {a: double(learner.actors[a]) for a in SIZES}
        self.critic = double(learner.stacks[0].members[0].net)
        self.norm, self.critic_hidden = Normaliser(), torch.zeros(N, UNITS, dtype=torch.float64)
        self.adams = {a: Adam(w) for a, w in self.actors.items()}
        self.critic_adam = Adam(self.critic)
        self.draws = torch.Generator()
        self.draws.set_state(learner.generator.get_state())

    def update(self, data: Rollout) -> None:
        states, after = (torch.from_numpy(s).double() for s in (data.states, data.next_states))
        rewards, first = torch.from_numpy(data.rewards).sum(-1), data.first
        mean, std = self.norm.moments()
        raw, advantage = torch.zeros(T, N).double(), torch.zeros(T, N).double()
        last = self.critic_hidden.clone()
        for n in range(N):
            outs, kept = unrolled(states[:, n], first[:, n], self.critic_hidden[n], self.critic)
            raw[:, n] = torch.cat(outs).detach()
            last[n] = kept[-1].detach()
            later = 0.0
            for t in reversed(range(T)):
                is_terminal, is_cut = bool(data.terminated[t, n]), bool(data.truncated[t, n])
                following = after_step(after[t, n], kept[t], self.critic)[0].item() * std + mean
                future = 0.0 if is_terminal else GAMMA * following
                delta = float(rewards[t, n]) + future - (float(raw[t, n]) * std + mean)
                later = delta + (0.0 if is_terminal or is_cut else GAMMA * LAM * later)
                advantage[t, n] = later
        returns = advantage + raw * std + mean
        self.fit(states, first, raw, returns)
        self.critic_hidden = last
        assert data.alive is not None
        some = torch.from_numpy(data.alive.any(-1))
        moments = advantage[some].mean(), advantage[some].std(correction=0)
        scaled = (advantage - moments[0]) / (moments[1] + 1e-5)
        factor = torch.ones(T, N, dtype=torch.float64)
        for k in torch.randperm(len(SIZES), generator=self.draws).tolist():
            factor = factor * self.actor(data, k, scaled, factor)

    def actor(self, data: Rollout, k: int, scaled: Tensor, factor: Tensor) -> Tensor:
        """Update an agent; return the ratio of each of its steps, 1 where it is dead."""
        agent, first = tuple(SIZES)[k], data.first
        assert data.alive is not None
        alive = torch.from_numpy(data.alive[..., k])
        x = torch.from_numpy(data.observations[agent]).double()
        action = torch.from_numpy(data.actions[agent])
        old = torch.from_numpy(data.log_probs[agent]).double()
        hidden = torch.from_numpy(data.hidden[agent]).double()
        w = self.actors[agent]
        chunks = [Chunk(number, x, first, hidden, w) for number in range(CHUNKS)]
        for _ in range(EPOCHS):
            for part in parts_of(self.draws):
                gains, entropies = [], []
                for chunk in (chunks[number] for number in part):
                    at = (chunk.at, chunk.n)
                    lives = alive[at]
                    now, entropy = terms_of(chunk.outputs(w), action[at], w)
                    ratio, a = (now - old[at]).exp(), scaled[at]
                    cut = ratio.clamp(1 - CLIP, 1 + CLIP)
                    gains.append((factor[at] * torch.minimum(ratio * a, cut * a))[lives])
                    entropies.append(entropy[lives])
                loss = -torch.cat(gains).mean() - ENTROPY * torch.cat(entropies).mean()
                self.adams[agent].step(loss, ACTOR_LR)
        ratio = torch.ones_like(old)
        for n in range(N):  # over the whole sequence, from its first memory
            out = torch.stack(unrolled(x[:, n], first[:, n], hidden[n], w)[0])
            ratio[:, n] = (terms_of(out, action[:, n], w)[0] - old[:, n]).exp().detach()
        return torch.where(alive, ratio, 1.0)

    def fit(self, states: Tensor, first: Any, raw: Tensor, returns: Tensor) -> None:
        chunks = [
            Chunk(number, states, first, self.critic_hidden, self.critic)
            for number in range(CHUNKS)
        ]
        for _ in range(CRITIC_EPOCHS):
            for part in parts_of(self.draws):
                places = [(chunks[number].at, chunks[number].n) for number in part]
                wanted = torch.cat([returns[at] for at in places])
                self.norm.update(wanted)
                mean, std = self.norm.moments()
                target, old = (wanted - mean) / std, torch.cat([raw[at] for at in places])
                now = torch.cat([chunks[number].outputs(self.critic)[:, 0] for number in part])
                near = old + (now - old).clamp(-VALUE_CLIP, VALUE_CLIP)
                loss = torch.maximum(huber(now - target), huber(near - target)).mean()
                self.critic_adam.step(loss, CRITIC_LR)


def recurrent_batch(seed: int, reference: RecurrentReference) -> Rollout:
    """Return a batch in which one agent dies, with log-probabilities of the present actors."""
    plain = Reference(OnPolicyLearner(TEAM, config_of(**CONFIG), seed=0))
    data = stored_batch(seed, plain)
    draw = np.random.default_rng(seed)
    hidden = {a: draw.normal(size=(N, UNITS)).astype(np.float32) * 0.5 for a in SIZES}
    log_probs = {}
    for agent, w in reference.actors.items():
        x = torch.from_numpy(data.observations[agent]).double()
        start, action = torch.from_numpy(hidden[agent]).double(), data.actions[agent]
        found = np.zeros((T, N), np.float32)
        for n in range(N):
            out = torch.stack(unrolled(x[:, n], data.first[:, n], start[n], w)[0])
            found[:, n] = terms_of(out, torch.from_numpy(action[:, n]), w)[0].detach().numpy()
        log_probs[agent] = found
    first = data.first.copy()
    first[0] = [True, False, False, True]
    alive = np.ones((T, N, 3), bool)
    alive[1:3, 0, 2] = alive[3:, 2, 2] = alive[:, 1, 2] = False
    died = np.zeros_like(alive)
    return replace(data, log_probs=log_probs, hidden=hidden, alive=alive, died=died, first=first)


def test_two_updates_on_chunks_equal_a_slow_reference() -> None:
    config = config_of(**{**CONFIG, **GRU, "chunk": CHUNK})
    learner = OnPolicyLearner(TEAM, config, seed=5)
    with torch.no_grad():  # the head's small gain would hide the memory
        for module in (*learner.actors.values(), learner.stacks[0].members[0].net):
            for weight in module.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=learner.generator))
    reference = RecurrentReference(learner)
    for seed in (11, 12):
        data = recurrent_batch(seed, reference)
        learner.update(data, math.nan, 0.0)
        reference.update(data)
    pairs = [(learner.stacks[0].members[0].net, reference.critic)]
    pairs += [(learner.actors[agent], reference.actors[agent]) for agent in SIZES]  # type: ignore[list-item]
    for module, wanted in pairs:
        for name, weight in double(module).items():
            torch.testing.assert_close(
                weight.detach(), wanted[name].detach(), atol=2e-5, rtol=0, msg=f"{name} differs"
            )
    np.testing.assert_allclose(
        learner.stacks[0].hidden[0], reference.critic_hidden.numpy(), atol=2e-5
    )


# Chunks


@pytest.mark.parametrize(("steps", "length"), [(12, 4), (10, 4), (3, 7), (6, 1)])
def test_chunks_have_every_step_of_every_sequence_once(steps: int, length: int) -> None:
    chunks = Chunks.of(steps, 3, length)
    at = np.broadcast_to(chunks.envs, chunks.steps.shape)
    found = list(zip(chunks.steps[chunks.exists], at[chunks.exists], strict=True))
    assert sorted(found) == [(t, n) for t in range(steps) for n in range(3)]
    assert chunks.steps.shape == (length, 3 * -(-steps // length))
    assert (np.diff(chunks.steps, axis=0)[chunks.exists[1:]] == 1).all()


def mortal(**more: Any) -> tuple[OnPolicyLearner, Rollout, SequenceSamples]:
    """Return a learner, a rollout that begins within episodes, and the samples of agent b."""
    settings = {"num_envs": 4, "rollout_steps": 10, "epochs": 1, "chunk": 4, **GRU, **more}
    env = MortalTeam(4)
    learner = OnPolicyLearner(env, config_of(**settings), 0)
    collector = Collector(env, 0, 10, learner.inputs, units=learner.units)
    collector.collect(3, learner.behave, False)
    data = collector.collect(10, learner.behave, False)
    advantage = torch.linspace(-1, 1, 40)
    samples = learner._samples(data, [1], Advantages([advantage, advantage], None), None)
    assert isinstance(samples, SequenceSamples)
    return learner, data, samples


def test_chunks_are_the_rollout_while_weights_are_unchanged() -> None:
    learner, _, samples = mortal()
    actor = learner.actors["b"]
    chunked = samples.chunked(4, actor)
    assert chunked.num_steps == samples.num_steps < 40, "dead steps are left out"
    assert samples.first[1:4].any(), "episodes begin within a chunk"
    found = chunked.policy(actor).log_prob(chunked.steps.actions)
    torch.testing.assert_close(found, chunked.steps.log_probs, atol=1e-5, rtol=0)
    whole = samples.chunked(10, actor)
    for one, two in zip(whole, samples, strict=True):
        assert (one is two is None) or torch.equal(one, two)  # type: ignore[arg-type]


def test_order_and_padding_of_chunks_change_no_gradient() -> None:
    learner, _, samples = mortal()
    actor = learner.actors["b"]
    chunked = samples.chunked(4, actor)
    other = chunked.take(torch.randperm(chunked.size, generator=torch.Generator().manual_seed(1)))
    padding = ~chunked.usable
    garbage = chunked._replace(
        observations=chunked.observations + 9.0 * _ends(padding)[..., None],
        log_probs=chunked.log_probs - 5.0 * padding,
        advantage=chunked.advantage + 7.0 * padding,
    )
    found = []
    for part in (chunked, other, garbage):
        steps = part.steps
        ratio = (part.policy(actor).log_prob(steps.actions) - steps.log_probs).exp()
        loss = (ratio * steps.advantage).mean()
        found.append([loss, *torch.autograd.grad(loss, list(actor.parameters()))])
    for case in found[1:]:
        for one, two in zip(found[0], case, strict=True):
            torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def _ends(padding: Tensor) -> Tensor:
    """Return where only unusable steps follow in a sequence: they can reach no usable one."""
    return padding.flip(0).long().cumprod(0).flip(0).bool()


def test_minibatches_are_of_chunks() -> None:
    config = config_of(num_envs=2, rollout_steps=20, minibatches=6, **{**GRU, "chunk": 7})
    assert config.minibatches == 6
    with pytest.raises(ConfigError, match=r"minibatches must be at most num_envs \* rollout_steps"):
        config_of(num_envs=2, rollout_steps=20, minibatches=7, **{**GRU, "chunk": 7})
    with pytest.raises(ConfigError, match="minibatches must be at most num_envs, "):
        config_of(num_envs=2, rollout_steps=20, minibatches=3, **GRU)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["happo", "mappo"])
def test_a_memory_solves_a_maze_of_which_a_memoryless_agent_solves_half(agent: str) -> None:
    task = make_task("TMazePassive-v0+corridor=4")
    scores = {}
    for name in (agent, f"{agent}-gru"):
        settings = {"num_envs": 64, "rollout_steps": 20, "gamma": 0.99, "minibatches": 4}
        settings |= {"hidden": (32,), "layer_norm": False, "units": 32}
        config = changed(preset(name).config(task), settings, strict=False)
        made: Any = make_learner(
            Context(agent=name, task=task, settings=config, seed=0, total=100_000)
        )
        for _ in range(45):
            made.iterate()
        scores[name] = float(np.mean(list(made.collector.window.returns)))
        made.close()
    assert scores[agent] < 0.6 and scores[f"{agent}-gru"] > 0.9, scores
