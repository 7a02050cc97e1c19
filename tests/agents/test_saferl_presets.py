"""The ``-paper`` presets of OmniSafe's on-policy algorithms against its configuration files."""

from __future__ import annotations

from typing import Any

import pytest

from pkubench.agents.components import changed
from pkubench.agents.families.on_policy import saferl
from pkubench.agents.families.on_policy.presets import preset
from pkubench.tasks.registry import make_task
from tests.agents.configs import Flat

PUBLISHED = """
policy-gradient      plain      10 64  0.02 3e-4 -
natural-pg           natural    10 128 0.01 1e-3 -
ppo                  clip       40 64  0.02 3e-4 -
trpo                 search-15  10 128 0.01 1e-3 -
ppo-lag              clip       40 64  0.02 3e-4 lagrangian
trpo-lag             search-15  10 128 0.01 1e-3 lagrangian
rcpo                 natural    10 128 0.01 1e-3 lagrangian
pdo                  plain      40 64  0.02 3e-4 lagrangian
cppo-pid             clip       40 64  0.02 3e-4 pid
trpo-pid             search-15  10 128 0.01 1e-3 pid
cpo                  search-20  10 128 0.01 1e-3 cpo
pcpo                 search-200 10 128 0.01 1e-3 pcpo
focops               focops     40 64  0.02 3e-4 lagrangian
cup                  clip       40 64  0.01 3e-4 cup
p3o                  clip       10 64  0.02 3e-4 p3o
ipo                  clip       10 64  0.02 3e-4 ipo
crpo                 search-15  10 128 0.01 1e-3 crpo
ppo-saute            clip       40 64  0.02 3e-4 saute
ppo-early-terminated clip       40 64  0.02 3e-4 early-termination
trpo-saute           search-15  10 128 0.01 1e-3 saute
trpo-early-terminated search-15 10 128 0.01 1e-3 early-termination
"""
"""The official YAML files and, for searches, the code: the update rule, ``update_iters``,
``batch_size``, ``target_kl`` (all files without a search stop early), the critics' rate; and our
name of the constraint."""
NORMALISED = ("pdo", "ipo")
"""Those whose files have ``reward_normalize`` and ``cost_normalize``."""
BOUNDED = ("focops", "cup")
"""Those whose files have ``lagrangian_upper_bound``: 2."""


def _lines() -> list[list[str]]:
    return [line.split() for line in PUBLISHED.split("\n") if line]


def test_the_table_has_every_algorithm() -> None:
    assert {line[0] for line in _lines()} == {name.removesuffix("-paper") for name in saferl.NAMES}


@pytest.mark.parametrize("line", _lines(), ids=lambda line: line[0])
def test_a_paper_preset_has_the_published_numbers(line: list[str]) -> None:
    name, move, *numbers, constraint = line
    passes, size, target, critic_lr = map(float, numbers)
    c: Any = Flat(preset(f"{name}-paper", make_task("HopperVelocity-v0")))
    assert (c.batch_steps, c.reset_each_rollout) == (20_000, True)
    assert constraint == "-" or c.cost_limit == 25.0
    assert (c.hidden, c.activation, c.init, c.log_std_init) == ((64, 64), "tanh", "kaiming", 0.0)
    assert (c.gamma, c.lam, c.cost_lam) == (0.99, 0.95, 0.95)
    assert (c.critic_l2, c.max_grad_norm, c.critic_lr) == (0.001, 40.0, critic_lr)
    assert c.observation_norm and c.signal_norm == (name in NORMALISED)
    assert not c.value_norm and not c.value_clip and c.huber_delta is None
    assert (c.critic_epochs, c.minibatches) == (passes, 20_000 // size)
    assert c.window == (50 if name == "policy-gradient" else 100)
    assert c.constraint == ("none" if constraint == "-" else constraint)
    if move in ("plain", "clip", "focops"):
        assert c.update == {"plain": "a2c", "clip": "ppo-clip", "focops": "focops"}[move]
        assert c.entropy == 0.0 and (move != "clip" or c.clip == 0.2)
        assert (c.epochs, c.target_kl, c.actor_lr, c.lr_decay) == (passes, target, 3e-4, True)
    else:
        assert (c.update, c.kl_limit) == ("trust-region", target)
        assert (c.cg_iterations, c.cg_damping, c.fisher_every) == (15, 0.1, 1)
        tries = 0 if move == "natural" else int(move.removeprefix("search-"))
        assert (c.search_steps, c.search_decay, c.accept_ratio) == (tries, 0.8, 0.0)
    if constraint in ("lagrangian", "cup"):
        upper = 2.0 if name in BOUNDED else None
        assert (c.lambda_init, c.lambda_lr, c.lambda_upper) == (0.001, 0.035, upper)
    if constraint == "pid":
        assert (c.pid_kp, c.pid_ki, c.pid_kd) == (0.1, 0.01, 0.01)
        assert (c.pid_delay, c.pid_smoothing, c.lambda_init) == (10, 0.95, 0.001)
    own: dict[str, Any] = {
        "focops": {"focops_eta": 0.02, "focops_lam": 1.5},
        "p3o": {"kappa": 20.0},
        "ipo": {"barrier": 0.01, "penalty_max": 1.0},
        "crpo": {"relative_tolerance": 2.0 / 25.0},
        "ppo-saute": {"saute_gamma": 0.999, "unsafe_reward": -1.0},
        "trpo-saute": {"saute_gamma": 0.999, "unsafe_reward": -1.0},
    }
    assert {field: getattr(c, field) for field in own.get(name, {})} == own.get(name, {})


@pytest.mark.parametrize(
    ("task", "passes", "gamma", "unsafe", "is_normed"),
    [
        ("PointGoal1-v0", 80, 0.9999, -0.2, False),
        ("CarGoal2-v0", 80, 0.9999, -0.2, False),
        ("PointCircle2-v0", 80, 0.9999, -0.2, True),
        ("CarCircle1-v0", 80, 0.9999, -0.2, True),
        ("PointButton1-v0", 40, 0.999, -1.0, True),
        ("DoggoGoal1-v0", 40, 0.999, -1.0, True),
        ("PointPush1-v0", 40, 0.999, -1.0, True),
    ],
)
def test_saute_has_numbers_of_its_own_for_eight_navigation_tasks(
    task: str, passes: int, gamma: float, unsafe: float, is_normed: bool
) -> None:
    c: Any = Flat(preset("ppo-saute-paper", make_task(task)))
    assert (c.epochs, c.critic_epochs) == (passes, passes)  # one loop in the official code
    assert (c.saute_gamma, c.unsafe_reward, c.observation_norm) == (gamma, unsafe, is_normed)
    c = Flat(preset("trpo-saute-paper", make_task(task)))  # its file changes the budget alone
    assert (c.critic_epochs, c.observation_norm) == (10, True)
    assert (c.saute_gamma, c.unsafe_reward) == (gamma, unsafe)


def test_rules_with_large_steps_update_on_whole_episodes_where_costs_are_rare() -> None:
    far = {"trpo-lag", "trpo-pid", "rcpo", "cpo", "pcpo", "crpo", "focops", "cup"}
    far |= {"trpo-saute", "trpo-early-terminated"}
    constrained = {n for n in saferl.NAMES if saferl.PRESETS[n].constraint.name != "none"}
    small = {n for n in constrained if not n.endswith("-paper")}
    for name in small:
        on_goal = preset(name, make_task("PointGoal1-v0"))
        assert on_goal.batch_steps == (16_000 if name in far else 4_096), name
        assert preset(name, make_task("HalfCheetahVelocity-v0")).batch_steps == 4_096, name


HELD = [n for n, c in saferl.PRESETS.items() if c.constraint.name != "none" and "-paper" not in n]


@pytest.mark.parametrize("task", ["HopperVelocity-v0", "AntVelocity-v0"])
@pytest.mark.parametrize("name", HELD)
def test_where_every_update_has_new_episodes_the_window_is_the_official_one(
    name: str, task: str
) -> None:
    small, paper = (Flat(preset(n, make_task(task))) for n in (name, f"{name}-paper"))
    assert small.window == paper.window == 100
    assert small.batch_steps == 4_096


@pytest.mark.parametrize("task", ["RiskyCorridor-v0", "SpeedLimit-v0"])
@pytest.mark.parametrize("name", HELD)
def test_the_diagnostics_have_short_updates_and_keep_the_published_settings(
    name: str, task: str
) -> None:
    small, there = (preset(name, make_task(of)) for of in (task, "HopperVelocity-v0"))
    assert small.batch_steps == (1_024 if name == "p3o" else 2_048)
    assert small.batch_steps // small.minibatches == there.batch_steps // there.minibatches
    assert getattr(small.update, "actor_lr", 1e-3) == (5e-4 if name == "cup" else 1e-3)
    official = preset(f"{name}-paper", make_task(task))
    assert changed(official, {"cost_limit": 25.0}, strict=False) == preset(f"{name}-paper", None)


@pytest.mark.parametrize("task", ["PointGoal1-v0", "CarCircle1-v0", "HalfCheetahVelocity-v0"])
@pytest.mark.parametrize("name", HELD)
def test_constraints_with_few_updates_have_larger_rates(name: str, task: str) -> None:
    c: Any = Flat(preset(name, make_task(task)))
    is_long = c.batch_steps == 16_000
    assert c.window == (16 if is_long else 32)
    if c.constraint in ("lagrangian", "cup"):
        assert c.lambda_lr == (0.02 if name == "cup" else 0.1)
    if c.constraint == "pid":
        # of the excess as a share of 25: 0.02, 0.004 and 0.01 of the excess
        assert (c.pid_kp, c.pid_ki, c.pid_kd, c.pid_smoothing) == (0.5, 0.1, 0.25, 0.8)
    assert getattr(c, "recovery", None) == (10.0 if name in ("cpo", "pcpo") else None)
    assert getattr(c, "kappa", None) == (5.0 if name == "p3o" else None)
