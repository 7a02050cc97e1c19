"""VDN and QMIX against formulas written again here, and the defects of popular implementations."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.components import changed
from pkubench.agents.families.value_based.presets import PRESETS
from pkubench.agents.rl.value_based.config import DecompositionConfig
from pkubench.agents.rl.value_based.decomposition import DecompositionLearner
from pkubench.agents.rl.value_based.episodes import Episodes, padded
from pkubench.envs.core.registry import make_batch
from pkubench.envs.diagnostics.two_step import PAYOFFS, TwoStepGame

SEEN, ACTED, STATE, UNITS, HIDDEN, EMBED, HYPER = (4, 4, 3), (3, 3, 2), 5, 6, 7, 3, 4
AGENTS = ("left", "right", "other")
TEAM: Any = SimpleNamespace(
    agents=AGENTS,
    observation_spaces={a: spaces.Box(-9, 9, (n,)) for a, n in zip(AGENTS, SEEN, strict=True)},
    action_spaces={
        a: spaces.Discrete(n, start=int(a == "other")) for a, n in zip(AGENTS, ACTED, strict=True)
    },
    state_space=spaces.Box(-9, 9, (STATE,)),
)
SETTINGS: dict[str, Any] = {
    "hidden": (HIDDEN,),
    "units": UNITS,
    "target_interval": 2,
    "gamma": 0.9,
    "lam": 0.6,
    "lr": 0.01,
    "max_grad_norm": 0.5,
    "batch_episodes": 4,
}


def learner_of(mixer: str = "qmix", env: Any = TEAM, **more: Any) -> DecompositionLearner:
    """Return a learner in float64."""
    sizes = {"embed": EMBED, "hyper": HYPER} if mixer == "qmix" else {}
    settings = {"mixer": mixer, **SETTINGS, **sizes, **more}
    made = DecompositionLearner(env, changed(DecompositionConfig(), settings, strict=False), 3)
    for module in made.modules.values():
        module.double()
    return made


def batch_of(lengths: tuple[int, ...] = (5, 2, 3, 1), seed: int = 0) -> Episodes:
    """Return random episodes; those at even places reach a terminal state."""
    rng, episodes = np.random.default_rng(seed), []
    for k, length in enumerate(lengths):
        legal = rng.random((length + 1, 1, 3, 3)) < 0.7
        legal[..., 0] = True
        legal[:, :, 2, 2] = False  # the third agent has two actions
        observations = rng.normal(size=(length + 1, 1, 3, 4)).astype(np.float32)
        observations[:, :, 2, 3] = 0.0
        alive = np.ones((length + 1, 1, 3), bool)
        alive[2:, :, k % 3] = False
        ends = (np.arange(length) == length - 1)[:, None]
        episodes.append(
            Episodes(
                observations,
                rng.normal(size=(length + 1, 1, STATE)).astype(np.float32),
                legal,
                alive,
                rng.integers(0, 2, (length, 1, 3)),
                rng.normal(size=(length, 1)) * 3.0,
                np.ones((length, 1), bool),
                ends & (k % 2 == 0),
                ends & (k % 2 == 1),
            )
        )
    return padded(episodes)


# A slow reference: loops over episodes, steps and agents


def utility_rows(net: dict[str, Tensor], one: Episodes, agent: int) -> Tensor:
    """Return an agent's utilities (L + 1, its actions) in an episode, by a GRU written out."""
    of, rows, hidden = net, [], torch.zeros(UNITS, dtype=torch.float64)
    size, count = SEEN[agent], ACTED[agent]
    for t in range(len(one.observations)):
        last = torch.zeros(count, dtype=torch.float64)
        if t:
            last[one.actions[t - 1, 0, agent]] = 1.0
        parts = [torch.from_numpy(one.observations[t, 0, agent, :size]).double(), last]
        if agent < 2:  # these two share a network
            parts.append(torch.eye(2, dtype=torch.float64)[agent])
        x = of["encoder.dense.linears.0.weight"] @ torch.cat(parts)
        x = torch.clamp(x + of["encoder.dense.linears.0.bias"], min=0.0)
        i = of["memory.cell.weight_ih"] @ x + of["memory.cell.bias_ih"]
        h = of["memory.cell.weight_hh"] @ hidden + of["memory.cell.bias_hh"]
        (ir, iz, i_new), (hr, hz, h_new) = i.split(UNITS), h.split(UNITS)
        reset, update = 1 / (1 + torch.exp(-(ir + hr))), 1 / (1 + torch.exp(-(iz + hz)))
        hidden = (1 - update) * torch.tanh(i_new + reset * h_new) + update * hidden
        rows.append(of["head.weight"] @ hidden + of["head.bias"])
    return torch.stack(rows)


def mixed(mixer: dict[str, Tensor], utilities: list[Tensor], state: Tensor) -> Tensor:
    """Return the value of one joint action."""
    if not mixer:
        return torch.stack(utilities).sum()

    def two(name: str) -> Tensor:
        inner = mixer[f"{name}.0.weight"] @ state + mixer[f"{name}.0.bias"]
        return mixer[f"{name}.2.weight"] @ inner.clamp(min=0.0) + mixer[f"{name}.2.bias"]

    weights = two("first").abs().view(3, EMBED)
    inner = sum(q * row for q, row in zip(utilities, weights, strict=True))
    inner = inner + mixer["shift.weight"] @ state + mixer["shift.bias"]
    hidden = torch.where(inner > 0, inner, torch.exp(inner) - 1)
    return hidden @ two("second").abs() + two("value")[0]


def reference_loss(nets: dict[str, list[dict[str, Tensor]]], batch: Episodes, kept: bool) -> Tensor:
    """Return the loss of a batch; ``kept``: the utilities of dead agents count."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for index in range(batch.valid.shape[1]):
        one = batch.take(index)
        length = len(one.valid)
        q, old = (
            [utility_rows(nets[name][0 if k < 2 else 1], one, k) for k in range(3)]
            for name in ("online", "target")
        )
        states = torch.from_numpy(one.states[:, 0]).double()

        def counted(t: int, values: list[Tensor], one: Any = one) -> list[Tensor]:
            return [v if kept or one.alive[t, 0, k] else 0.0 * v for k, v in enumerate(values)]

        ahead = [0.0] * (length + 1)
        for t in range(1, length + 1):
            greedy = [
                max(
                    (a for a in range(ACTED[k]) if one.legal[t, 0, k, a]),
                    key=lambda a, k=k, t=t, q=q: q[k][t, a].item(),  # type: ignore[misc]
                )
                for k in range(3)
            ]
            values = [old[k][t, greedy[k]] for k in range(3)]
            ahead[t] = float(mixed(nets["target_mixer"][0], counted(t, values), states[t]))
        gain = 0.0
        for t in range(length - 1, -1, -1):
            reward = float(one.rewards[t, 0])
            if one.terminated[t, 0]:
                gain = reward
            elif one.truncated[t, 0]:
                gain = reward + 0.9 * ahead[t + 1]
            else:
                gain = reward + 0.9 * (0.4 * ahead[t + 1] + 0.6 * gain)
            chosen = [q[k][t, one.actions[t, 0, k]] for k in range(3)]
            value = mixed(nets["mixer"][0], counted(t, chosen), states[t])
            total, count = total + 0.5 * (value - gain) ** 2, count + 1
    return total / count


@pytest.mark.parametrize("mixer", ["qmix", "vdn"])
@pytest.mark.parametrize("dead", ["excluded", "included"])
def test_updates_equal_a_slow_reference(mixer: str, dead: str) -> None:
    made = learner_of(mixer, dead_agents=dead)
    nets = {
        name: [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
        for name, parts in (
            ("online", made.utilities.nets),
            ("target", made.target_utilities.nets),
            ("mixer", [made.mixer]),
            ("target_mixer", [made.target_mixer]),
        )
    }
    weights = [w for name in ("online", "mixer") for part in nets[name] for w in part.values()]
    moments = [[torch.zeros_like(w), torch.zeros_like(w)] for w in weights]
    for step in range(1, 4):
        batch = batch_of(seed=step)
        for weight in weights:
            weight.requires_grad_()
        loss = reference_loss(nets, batch, dead == "included")
        gradients = torch.autograd.grad(loss, weights)
        found = made.update(batch)
        assert found["loss"] == pytest.approx(loss.item(), abs=1e-10)
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))  # type: ignore[arg-type]
        assert norm > 0.5, "the clip is at work"
        with torch.no_grad():
            for weight, gradient, (first, second) in zip(weights, gradients, moments, strict=True):
                clipped = gradient * 0.5 / (norm + 1e-6)
                first.mul_(0.9).add_(0.1 * clipped)
                second.mul_(0.999).add_(0.001 * clipped**2)
                size = torch.sqrt(second / (1 - 0.999**step)) + 1e-8
                weight -= 0.01 * first / (1 - 0.9**step) / size
            if step == 2:
                for old, new in (("target", "online"), ("target_mixer", "mixer")):
                    for part, source in zip(nets[old], nets[new], strict=True):
                        for key in part:
                            part[key].copy_(source[key])
    learned = [*made.utilities.parameters(), *made.mixer.parameters()]
    for weight, own in zip(weights, learned, strict=True):
        torch.testing.assert_close(own.detach(), weight.detach(), atol=1e-8, rtol=0)


def test_the_mix_never_falls_in_any_utility() -> None:
    made = learner_of()
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 30.0):
        with torch.no_grad():
            for weight in made.mixer.parameters():
                weight.normal_(std=scale, generator=generator)
        utilities = torch.randn(200, 3, dtype=torch.float64, generator=generator).requires_grad_()
        states = torch.randn(200, STATE, dtype=torch.float64, generator=generator)
        slopes = torch.autograd.grad(made.mixer(utilities, states).sum(), utilities)[0]
        assert (slopes >= 0.0).all() and (slopes > 0.0).any(0).all()


# TD(lambda)


def targets_of(rewards: list[float], values: list[float], end: str, longer: int = 0) -> list[float]:
    """Return the targets of an episode next to a longer one, gamma 0.9 and lambda 0.6."""
    lengths = (len(rewards), len(rewards) + longer)
    batch = batch_of(lengths)
    steps = np.arange(len(batch.valid)) == len(rewards) - 1
    batch.rewards[: len(rewards), 0] = rewards
    batch.terminated[:, 0], batch.truncated[:, 0] = (
        steps & (end == "terminal"),
        steps & (end == "cut"),
    )
    of = torch.full((len(batch.valid) + 1, 2), 1e6, dtype=torch.float64)
    of[: len(values), 0] = torch.tensor(values, dtype=torch.float64)
    found: list[float] = learner_of().targets(batch, of)[: len(rewards), 0].tolist()
    return found


def test_targets_of_a_terminated_episode_end_with_its_last_reward() -> None:
    found = targets_of([1, 2, 3], [0, 20, 30, 40], "terminal")
    assert found == pytest.approx([15.9868, 14.42, 3.0], abs=1e-9)


def test_targets_of_an_episode_that_was_cut_off_read_no_padding() -> None:
    found = targets_of([1, 2], [0, 20, 30, 40, 50], "cut", longer=2)
    assert found == pytest.approx([23.86, 29.0], abs=1e-9)
    assert targets_of([1, 2], [0, 20, 30], "cut") == pytest.approx(found, abs=1e-9)


def test_order_and_padding_of_a_batch_change_nothing() -> None:
    made = learner_of()
    whole = batch_of()
    ones = [whole.take(k) for k in range(4)]
    later = padded([ones[k] for k in (2, 0, 3, 1)])
    longer = Episodes(*(np.concatenate([of, np.zeros_like(of[:4])]) for of in whole))
    found = []
    for batch in (whole, later, longer):
        loss = made.loss(batch)["loss"]
        loss.backward()
        found.append([loss.detach(), *(w.grad.clone() for w in made.utilities.parameters())])
        made.utilities.zero_grad()
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, atol=1e-12, rtol=0)


def test_the_units_of_a_state_change_nothing_once_its_moments_are_known() -> None:
    """Without this, QMIX's values ran away on states of tens (28 for returns of at most 2)."""
    losses = []
    for scale, shift in ((1.0, 0.0), (50.0, 1000.0)):
        made, batch = learner_of(), batch_of()
        batch = batch._replace(states=batch.states * np.float32(scale) + np.float32(shift))
        made.observe(batch)
        assert made.states.count == 11
        taken = batch.states[:-1][batch.valid].astype(np.float64)
        np.testing.assert_allclose(made.states.mean, taken.mean(0), rtol=1e-6)
        losses.append(made.loss(batch)["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


# What can be represented


def fitted(mixer: str, payoffs: Any, updates: int, **more: Any) -> DecompositionLearner:
    """Return a learner of a game whose joint actions are all equally often in its one batch."""
    env = TwoStepGame() if payoffs is None else matrix_team(payoffs)
    settings = {"memory": "none", "gamma": 0.99, "lam": 0.0, "lr": 0.02, "hidden": (32,)}
    settings |= {"max_grad_norm": 1e6, "target_interval": 20, "embed": 16, "hyper": 32, **more}
    made = learner_of(mixer, env, **settings)
    batch = two_steps() if payoffs is None else one_step(np.asarray(payoffs, float))
    optimiser = made.optimisers["networks"]
    optimiser.schedule = lambda step: 1.0 - 0.98 * min(step / updates, 1.0)
    for _ in range(updates):
        made.update(batch)
    return made


def matrix_team(payoffs: Any) -> Any:
    agents = ("row", "column")
    box = spaces.Box(0.0, 1.0, (1,))
    acted = {a: spaces.Discrete(n) for a, n in zip(agents, np.shape(payoffs), strict=True)}
    return SimpleNamespace(
        agents=agents,
        observation_spaces=dict.fromkeys(agents, box),
        action_spaces=acted,
        state_space=box,
    )


def episode(
    stages: list[int], size: int, joint: list[Any], rewards: list[float], acts: int
) -> Episodes:
    seen = np.eye(size, dtype=np.float32)[stages][:, None]
    length = len(joint)
    ends = (np.arange(length) == length - 1)[:, None]
    return Episodes(
        np.repeat(seen[:, :, None], 2, 2),
        seen,
        np.ones((length + 1, 1, 2, acts), bool),
        np.ones((length + 1, 1, 2), bool),
        np.array(joint)[:, None],
        np.array(rewards, float)[:, None],
        np.ones((length, 1), bool),
        ends,
        np.zeros_like(ends),
    )


def two_steps() -> Episodes:
    ones = []
    for a, b, c, d in itertools.product((0, 1), repeat=4):
        rewards = [0.0, float(PAYOFFS[1 + a, c, d])]
        ones.append(episode([0, 1 + a, 3], 4, [(a, b), (c, d)], rewards, 2))
    return padded(ones)


def one_step(payoffs: Any) -> Episodes:
    joint = itertools.product(*map(range, payoffs.shape))
    return padded([episode([0, 0], 1, [pair], [payoffs[pair]], len(payoffs)) for pair in joint])


def values_of(made: DecompositionLearner, stage: int, size: int, actions: int) -> Any:
    """Return the values of all joint actions at a stage."""
    seen = torch.eye(size, dtype=torch.float64)[stage]
    x = seen.expand(1, 1, 2, size)
    acts = made.shape.widest[1]
    q = made.utilities(x, torch.zeros(1, 1, 2, acts, dtype=torch.float64))[0][0, 0].detach()
    joint = itertools.product(range(actions), repeat=2)
    found = [made.mixer(torch.stack([q[0, a], q[1, b]]), seen).item() for a, b in joint]
    return np.array(found).reshape(actions, actions)


MEMORYLESS: dict[str, Any] = {"last_action": False}


def test_vdn_cannot_represent_the_two_step_game_and_qmix_can() -> None:
    vdn = fitted("vdn", None, 500, **MEMORYLESS)
    wanted = [[-1.5, 2.5], [2.5, 6.5]]
    np.testing.assert_allclose(values_of(vdn, 2, 4, 2), wanted, atol=0.05)
    first = values_of(vdn, 0, 4, 2).mean(1)
    np.testing.assert_allclose(first, [6.93, 6.435], atol=0.05)
    qmix = fitted("qmix", None, 700, **MEMORYLESS)
    np.testing.assert_allclose(values_of(qmix, 1, 4, 2), np.full((2, 2), 7.0), atol=0.1)
    np.testing.assert_allclose(values_of(qmix, 2, 4, 2), [[0, 1], [1, 8]], atol=0.1)
    np.testing.assert_allclose(values_of(qmix, 0, 4, 2).mean(1), [6.93, 7.92], atol=0.1)


def test_vdn_has_the_best_sum_for_a_game_that_is_not_monotone() -> None:
    payoffs = [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]]
    found = values_of(fitted("vdn", payoffs, 400, **MEMORYLESS), 0, 1, 3)
    corner, edge, rest = -56 / 9, -44 / 9, -32 / 9
    wanted = np.full((3, 3), rest)
    wanted[0], wanted[:, 0], wanted[0, 0] = edge, edge, corner
    np.testing.assert_allclose(found, wanted, atol=0.05)
    qmix = values_of(fitted("qmix", payoffs, 400, **MEMORYLESS), 0, 1, 3)
    best, usual = payoffs_of(8.0, -6.0), payoffs_of(-8.0, 0.0)
    errors = {name: np.abs(qmix - of).max() for name, of in (("best", best), ("usual", usual))}
    assert min(errors.values()) < 1.5, qmix.round(2)


def payoffs_of(corner: float, rest: float) -> Any:
    """Return a monotone fit: the optimum and -6 elsewhere, or the one that is found in practice."""
    found = np.full((3, 3), rest)
    if corner > 0:
        found[0, 0] = corner
        return found
    found[0], found[:, 0] = corner, corner
    return found


# Rewards


def test_subtracting_the_mean_reward_can_change_what_is_best_and_scaling_does_not() -> None:
    returns = {}
    for how in ("scale", "standardise"):
        made = learner_of(reward_norm=how)
        made.rewards.count, made.rewards.mean[:] = 101.0, 0.6
        made.rewards.squares[:] = 100.0 * 0.2**2
        now, later = np.array([[1.0]]), np.full((5, 1), 0.5)
        returns[how] = [float(made.scaled(of).sum()) for of in (now, later)]
    assert returns["standardise"] == pytest.approx([2.0, -2.5])
    assert returns["scale"] == pytest.approx([5.0, 12.5])


def test_moments_of_rewards_count_every_step_once_and_no_padding() -> None:
    made, batch = learner_of(reward_norm="scale"), batch_of()
    made.observe(batch)
    for _ in range(3):
        made.update(batch)
    taken = batch.rewards[batch.valid]
    assert made.rewards.count == len(taken) == 11
    assert made.rewards.std[0] == pytest.approx(taken.std(ddof=1))


# Presets


def test_paper_presets_have_the_numbers_of_their_code() -> None:
    two, e = PRESETS["qmix-paper"], PRESETS["vdn-epymarl-paper"]
    assert (two.num_envs, two.batch_episodes, two.buffer_episodes, two.updates) == (8, 128, 5000, 1)
    assert two.target_interval * two.num_envs == 200
    assert (two.lam, two.lr, two.loss, two.epsilon_steps) == (0.6, 1e-3, "half-squared", 100_000)
    assert (two.last_action, two.hidden, two.optimiser) == (True, (64,), "adam")
    mixer: Any = two.mixer
    memory: Any = two.memory
    assert (mixer.embed, mixer.hyper, memory.units) == (32, 64, 64)
    assert (e.num_envs, e.batch_episodes, e.buffer_episodes, e.updates) == (1, 32, 5000, 1)
    assert (e.lam, e.lr, e.loss, e.epsilon_steps) == (0.0, 5e-4, "squared", 50_000)
    assert (e.last_action, e.memory.name, e.target_interval, e.tau) == (False, "none", 200, 1.0)
    assert e.reward_norm == "standardise" and e.mixer.name == "vdn"
    for config in (two, e):
        assert (config.gamma, config.max_grad_norm, config.dead_agents) == (0.99, 10.0, "included")
        assert [config.epsilon(n) for n in (0, 10**9)] == pytest.approx([1.0, 0.05])
    assert two.epsilon(50_000) == pytest.approx(0.525)


def test_the_two_step_game_pays_as_its_paper_says() -> None:
    joint = np.array(list(itertools.product((0, 1), repeat=4)))
    env = make_batch("TwoStepGame-v0", 16)
    env.reset(np.arange(16))
    first = env.step({"agent_0": joint[:, 0], "agent_1": joint[:, 1]})
    assert not first.rewards.any() and not first.terminated.any()
    assert (env.state().argmax(1) == 1 + joint[:, 0]).all()
    second = env.step({"agent_0": joint[:, 2], "agent_1": joint[:, 3]})
    risky = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 8}
    wanted = [risky[c, d] if a else 7 for a, _, c, d in joint.tolist()]
    assert second.rewards.sum(1).tolist() == wanted
    assert second.terminated.all() and not second.truncated.any()
