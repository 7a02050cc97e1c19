"""HAD3QN: the critic of joint actions, the sequence of updates, and saved teams."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from pkubench.agents.components import with_settings
from pkubench.agents.families.value_based.presets import PRESETS
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.value_based import make_learner
from pkubench.agents.rl.value_based.dueling import DuelingLearner
from pkubench.agents.rl.value_based.dueling_config import DuelingConfig
from pkubench.agents.suitability import why_not
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from pkubench.training.state import join, split
from tests.agents.toy_envs import SharingEnv, task_of

COUNTS, SEEN, STATE, B = (2, 3, 2), (3, 2, 4), 5, 6
AGENTS = ("a", "b", "c")
TEAM: Any = SimpleNamespace(
    agents=AGENTS,
    observation_spaces={a: spaces.Box(-9, 9, (n,)) for a, n in zip(AGENTS, SEEN, strict=True)},
    action_spaces={a: spaces.Discrete(n) for a, n in zip(AGENTS, COUNTS, strict=True)},
    state_space=spaces.Box(-9, 9, (STATE,)),
)
SMALL = {
    "num_envs": "4",
    "warmup_steps": "40",
    "train_interval": "5",
    "batch_size": "8",
    "hidden": "[8]",
    "head": "4",
    "buffer_size": "200",
}


def network(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return a dueling network's values, written out."""

    def head(name: str, h: Tensor) -> Tensor:
        h = w[f"{name}.0.weight"] @ h + w[f"{name}.0.bias"]
        h = h * (h + 3).clamp(0, 6) / 6  # hardswish
        return w[f"{name}.2.weight"] @ h + w[f"{name}.2.bias"]

    h = (w["linears.0.weight"] @ x + w["linears.0.bias"]).clamp(min=0.0)
    advantage = head("advantage", h)
    return head("value", h) + advantage - advantage.sum() / len(advantage)


class Adam:
    """Kingma & Ba 2015."""

    def __init__(self, w: dict[str, Tensor], lr: float) -> None:
        self.w, self.lr, self.t = w, lr, 0
        self.m = {k: torch.zeros_like(v) for k, v in w.items()}
        self.v = {k: torch.zeros_like(v) for k, v in w.items()}

    def step(self, loss: Tensor) -> None:
        self.t += 1
        gradients = torch.autograd.grad(loss, list(self.w.values()))
        for name, g in zip(self.w, gradients, strict=True):
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.999 * self.v[name] + 0.001 * g * g
            size = (self.v[name] / (1 - 0.999**self.t)).sqrt() + 1e-8
            with torch.no_grad():
                self.w[name] -= self.lr * self.m[name] / (1 - 0.9**self.t) / size


def best_of(values: Tensor) -> int:
    return max(range(len(values)), key=lambda a: values[a].item())


def test_updates_equal_a_slow_reference() -> None:
    config = DuelingConfig(hidden=(7,), head=6, actor_lr=0.01, critic_lr=0.02, tau=0.3)
    made = DuelingLearner(TEAM, config, 1)
    for module in made.modules.values():
        module.double()
    w = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in made.modules.items()}
    for name in (*(f"actor.{a}" for a in AGENTS), "critic"):
        for weight in w[name].values():
            weight.requires_grad_()
    adams = {a: Adam(w[f"actor.{a}"], 0.01) for a in AGENTS}
    critic_adam = Adam(w["critic"], 0.02)
    rng = np.random.default_rng(2)
    for _ in range(3):
        seen = [rng.normal(size=(2, B, n)) for n in SEEN]
        states, taken = rng.normal(size=(2, B, STATE)), [rng.integers(0, n, B) for n in COUNTS]
        rewards, discounts = rng.normal(size=B), 0.9 * (rng.random(B) < 0.7)
        hot = [np.eye(n)[a] for n, a in zip(COUNTS, taken, strict=True)]
        both = [
            np.concatenate([*(o[k] for o in seen), states[k], *hot, np.zeros((B, 2))], 1)
            for k in range(2)
        ]
        draws = torch.Generator()
        draws.set_state(made.generator.get_state())
        made.update(*(torch.from_numpy(x) for x in (both[0], both[1], rewards, discounts)))

        def number(joint: Any) -> int:
            return int(joint[0] + 2 * joint[1] + 6 * joint[2])  # the first agent's is the fastest

        x = [torch.from_numpy(of) for of in seen]
        s = torch.from_numpy(states)
        total = torch.zeros((), dtype=torch.float64)
        for b in range(B):
            ahead = [
                best_of(network(w[f"target_actor.{a}"], x[k][1, b])) for k, a in enumerate(AGENTS)
            ]
            later = network(w["target_critic"], s[1, b])[number(ahead)].detach()
            value = network(w["critic"], s[0, b])[number([of[b] for of in taken])]
            total = total + (value - (rewards[b] + discounts[b] * later)) ** 2
        critic_adam.step(total / B)
        values = [network(w["critic"], s[0, b]).detach() for b in range(B)]
        joint = [
            [best_of(network(w[f"actor.{a}"], x[k][0, b])) for k, a in enumerate(AGENTS)]
            for b in range(B)
        ]
        for k in torch.randperm(3, generator=draws).tolist():
            name, loss = f"actor.{AGENTS[k]}", torch.zeros((), dtype=torch.float64)
            for b in range(B):
                own = network(w[name], x[k][0, b])[joint[b][k]]
                loss = loss + (own - values[b][number(joint[b])]) ** 2
            adams[AGENTS[k]].step(loss / B)
            for b in range(B):
                tried = [[*joint[b][:k], a, *joint[b][k + 1 :]] for a in range(COUNTS[k])]
                joint[b] = max(tried, key=lambda one, b=b: values[b][number(one)].item())  # type: ignore[misc]
        for name in (*(f"actor.{a}" for a in AGENTS), "critic"):
            for key, old in w[f"target_{name}"].items():
                w[f"target_{name}"][key] = 0.7 * old + 0.3 * w[name][key].detach()
    for name, module in made.modules.items():
        for key, weight in module.state_dict().items():
            torch.testing.assert_close(weight, w[name][key].detach(), atol=1e-9, rtol=0)


def learner_of(**more: str) -> Any:
    task = task_of(SharingEnv)
    config = with_settings(preset("had3qn").config(task), {**SMALL, **more})
    return make_learner(Context(agent="had3qn", task=task, settings=config, seed=1, total=1000))


def test_a_team_learns_to_differ() -> None:
    made = learner_of(actor_lr="0.01", critic_lr="0.01", updates_per_step="2", batch_size="32")
    for _ in range(8):
        made.iterate()
    seen = {a: np.ones((1, 2), np.float32) for a in "ab"}
    actions = made.learner.act(seen, 0.0)
    assert actions["a"][0] != actions["b"][0]
    made.close()


def test_training_resumes_exactly_within_an_episode() -> None:
    made, other = learner_of(), learner_of()
    for _ in range(4):
        made.iterate()
    other.load_state(join(*split(made.state())))
    for _ in range(2):
        assert made.iterate() == other.iterate()
    one, two = split(made.state())[0], split(other.state())[0]
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert made.counters.gradient_steps > 0
    made.close()
    other.close()


def test_a_saved_team_acts_greedily(tmp_path: Path) -> None:
    task = task_of(SharingEnv)
    for _ in train("had3qn", task, steps=80, seed=0, settings=SMALL, out=tmp_path / "run"):
        pass
    team: Any = load_agent(str(tmp_path / "run"), task)
    seen = {a: np.ones((3, 2), np.float32) for a in "ab"}
    made = learner_of()
    for k, agent in enumerate("ab"):
        policy = team.members[agent]
        net = policy.layers.module
        made.learner.actors[k].load_state_dict({n: v.float() for n, v in net.state_dict().items()})
        found, _ = policy.act(seen[agent], policy.begin(np.arange(3)), np.ones(3, bool))
        assert found.tolist() == made.learner.act(seen, 0.0)[agent].tolist()
    made.close()


def test_large_teams_and_masks_are_refused() -> None:
    many = SimpleNamespace(**vars(TEAM))
    many.action_spaces = {a: spaces.Discrete(50) for a in AGENTS}
    with pytest.raises(ConfigError, match="125,000"):
        DuelingLearner(many, DuelingConfig(), 0)
    assert why_not(preset("had3qn"), make_task("SimpleSpread-v0")) == ""
    assert "discrete" in why_not(preset("had3qn"), make_task("SimpleSpreadContinuous-v0"))


def test_the_paper_preset_has_its_numbers() -> None:
    config: Any = PRESETS["had3qn-paper"]
    assert (config.hidden, config.head, config.gamma, config.tau) == ((128, 128), 128, 0.95, 0.005)
    assert (config.actor_lr, config.critic_lr, config.epsilon) == (5e-4, 1e-3, 0.05)
    assert (config.batch_size, config.buffer_size, config.num_envs) == (1000, 10**6, 20)
    assert (config.warmup_steps, config.train_interval, config.updates) == (10_000, 50, 50)
