"""Off-policy agents under a cost constraint: multipliers and their updates, presets, learning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import changed, with_settings
from pkubench.agents.families.off_policy import hasac
from pkubench.agents.families.off_policy import saferl as saferl_off_policy
from pkubench.agents.families.off_policy.presets import preset
from pkubench.agents.learner import Context
from pkubench.agents.nn.fast.stacked import shorten
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.constraints.lagrangian import LagrangeMultiplier
from pkubench.agents.rl.off_policy import fast
from pkubench.agents.rl.off_policy.constraints import (
    NoConstraint,
    OffPolicyLagrangian,
    OffPolicyPID,
)
from pkubench.agents.rl.off_policy.learner import OffPolicyLearner
from pkubench.agents.rl.off_policy.rules.ddpg import DDPG
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.agents.rl.off_policy.rules.td3 import TD3
from pkubench.agents.rl.off_policy.training import OffPolicyBatch
from pkubench.agents.rl.replay import ReplayBuffer
from pkubench.agents.rl.rollout import Collector
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError
from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.agents.toy_envs import (
    MEAN_LENGTH,
    BudgetEnv,
    SharingEnv,
    SpeedEnv,
    applicable,
    task_of,
)

LEARNING = {
    "num_envs": 8,
    "train_interval": 5,
    "updates_per_step": 1,
    "warmup_steps": 500,
    "hidden": "[32, 32]",
    "batch_size": 128,
    "buffer_size": 20_000,
    "actor_lr": 3e-3,
    "critic_lr": 3e-3,
    "alpha_lr": 1e-2,
    "n_step": 1,
    "gamma": 0.9,
    "window": 30,
}


def _train(agent: str, task: Any, out: Path, steps: int, **more: Any) -> list[Any]:
    settings = applicable(preset(agent, task), {**LEARNING, **more})
    return list(train(agent, task, steps=steps, seed=0, settings=settings, out=out))


def test_one_excess_changes_a_multiplier_once_off_policy() -> None:
    """Episodes of 20 steps end in the third, fifth, eighth and tenth interval of 8 steps."""
    task = make_task("SpeedLimit-v0")
    settings = {"num_envs": 2, "train_interval": 8, "warmup_steps": 8, "hidden": (4,), "n_step": 1}
    config = changed(
        preset("td3-lag", task), {**settings, "batch_size": 4, "updates_per_step": 0.25}
    )
    config = changed(config, {"cost_limit": 0.0})
    context = Context(agent="td3-lag", task=task, settings=config, seed=0, total=160)
    batch = OffPolicyBatch([context])
    multipliers = []
    for _ in range(10):
        batch.iterate()
        multipliers.append(batch.learner.constraints[0].value)
    batch.members[0].close()
    assert (np.flatnonzero(np.diff([0.001, *multipliers])) + 1).tolist() == [3, 5, 8, 10]


def test_the_gradient_of_the_actors_objective_is_mixed_as_worked_by_hand() -> None:
    # lambda 3 for the first of two training seeds, 0 for the second
    weights = torch.tensor([[[0.25], [1.0]], [[-0.75], [0.0]]])
    cost = torch.tensor([[[5.0], [5.0]]])
    twins = torch.tensor([[[1.0], [4.0]], [[2.0], [3.0]]])
    found = fast.ascent_gradient(torch.cat([cost, twins]), 1, weights)
    assert found[..., 0].tolist() == [[-0.75, 0.0], [0.25, 0.0], [0.0, 1.0]]
    # the larger of twin cost critics, next to one reward critic
    found = fast.ascent_gradient(torch.cat([twins, cost]), 2, weights)
    assert found[..., 0].tolist() == [[0.0, 0.0], [-0.75, 0.0], [0.25, 1.0]]
    assert fast.ascent_gradient(twins)[..., 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert fast.ascent_gradient(cost).tolist() == [[[1.0], [1.0]]]


def test_gradient_norms_are_clipped_seed_by_seed() -> None:
    gradients = torch.tensor([[[3.0], [0.3]], [[4.0], [0.4]]])  # lengths 5 and 0.5
    shorten(gradients, 2.0)
    torch.testing.assert_close(gradients, torch.tensor([[[1.2], [0.3]], [[1.6], [0.4]]]))


def test_multipliers_of_the_settings_follow_sequences_worked_by_hand() -> None:
    settings = OffPolicyPID(
        cost_limit=25.0,
        lambda_init=0.0,
        pid_kp=0.1,
        pid_ki=0.01,
        pid_kd=0.1,
        pid_smoothing=0.5,
        pid_delay=2,
    )
    pid = settings.start()
    found = []
    for cost in (35.0, 45.0, float("nan"), 15.0):
        pid.update(cost, 100.0)
        found.append(pid.value)
    # 0.5 + 0.1 + 1.75; 1.25 + 0.3 + 3.125; no episode, no change; 0.125 + 0.2 + 0.5625
    assert found == pytest.approx([2.35, 4.675, 4.675, 0.8875])
    lagrange = OffPolicyLagrangian(lambda_lr=0.02, lambda_upper=0.05).start()
    found = []
    for cost in (35.0, 35.0, 15.0, 80.0, 80.0):
        lagrange.update(cost, 100.0)
        found.append(lagrange.value)
    # two full steps; the mean gradient is then -2.62, its root mean square 10; then the bound
    assert found == pytest.approx([0.021, 0.041, 0.04623985, 0.05, 0.05], abs=1e-6)


class _Diary:
    """What the environment, the constraint and the learner did, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[tuple[str, Any]] = []
        collect, constrain, update = (
            Collector.collect,
            LagrangeMultiplier.update,
            OffPolicyLearner.update,
        )

        def spy_collect(collector: Collector, *args: Any, **kwargs: Any) -> Any:
            data = collect(collector, *args, **kwargs)
            ended = bool((data.terminated | data.truncated).any())
            window = collector.window
            means = tuple(float(np.mean(v or [np.nan])) for v in (window.costs, window.lengths))
            self.lines.append(("steps", (ended, *means)))
            return data

        def spy_constrain(constraint: LagrangeMultiplier, cost: float, length: float = 1.0) -> None:
            if cost == cost:  # NaN: no episode has ended
                self.lines.append(("constrain", (cost, length)))
            constrain(constraint, cost, length)

        def spy_update(learner: OffPolicyLearner, *args: Any, **kwargs: Any) -> Any:
            self.lines.append(("update", None))
            return update(learner, *args, **kwargs)

        monkeypatch.setattr(Collector, "collect", spy_collect)
        monkeypatch.setattr(LagrangeMultiplier, "update", spy_constrain)
        monkeypatch.setattr(OffPolicyLearner, "update", spy_update)


def test_the_multiplier_is_updated_before_a_burst_and_on_new_episodes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = _Diary(monkeypatch)
    task = task_of(SpeedEnv, cost_limit=1.0)
    _train("td3-lag", task, tmp_path, 120, num_envs=2, train_interval=2, warmup_steps=20)
    bursts: list[list[Any]] = []
    for what, value in diary.lines:
        if what == "steps":
            bursts.append([])
        bursts[-1].append((what, value))
    constrained, has_ended = 0, False
    for k, (first, *rest) in enumerate(bursts):
        ended, cost, length = first[1]
        has_ended |= ended
        words = [what for what, _ in rest]
        if k < 5:  # the first update comes after 24 steps
            assert words == []
        elif has_ended:  # of the warm-up too
            assert words == ["constrain", "update", "update"]
            assert rest[0][1] == pytest.approx((cost, length))
            constrained += 1
            has_ended = False
        else:
            assert words == ["update", "update"]
    assert len(bursts) == 30 and 5 < constrained < 22


def test_omnisafe_updates_it_after_every_update_from_the_same_episodes_once_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = _Diary(monkeypatch)
    task = task_of(SpeedEnv, cost_limit=1.0)
    more: dict[str, Any] = {"num_envs": 2, "train_interval": 2, "warmup_steps": 20}
    more["variant"] = "omnisafe"
    more["lambda_lr"] = 0.02
    run = _train("td3-lag", task, tmp_path, 120, lambda_warmup_steps=60, **more)
    words = [what for what, _ in diary.lines]
    warmup, unconstrained = 5 * ["steps"], 10 * ["steps", "update", "update"]
    assert words == warmup + unconstrained + 15 * [
        "steps",
        "update",
        "constrain",
        "update",
        "constrain",
    ]
    received = [v for what, v in diary.lines if what == "constrain"]
    assert received[0] == received[1]
    multipliers = [p.metrics.get("multiplier") for p in run]
    # what the last update of a burst saw: one of its two updates
    assert multipliers[5:15] == 10 * [0.001] and multipliers[15] == pytest.approx(0.021)


def test_a_task_without_cost_and_wrong_numbers_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it needs a cost limit, and this task has none"):
        _train("sac-lag", task_of(SharingEnv), tmp_path, 100)
    task = task_of(SpeedEnv, cost_limit=1.0)
    for setting, value, words in (
        ("cost_limit", -1, "cost_limit must be at least 0"),
        ("pid_kp", -0.1, "pid_kp must be at least 0"),
        ("pid_smoothing", 1.5, r"pid_smoothing must lie in \[0, 1\]"),
        ("pid_delay", 0, "pid_delay must be at least 1"),
        ("max_grad_norm", 0, "max_grad_norm must be positive"),
    ):
        with pytest.raises(ConfigError, match=words):
            with_settings(preset("sac-pid", task), {setting: str(value)})


def test_the_constraint_uses_the_tasks_limit() -> None:
    assert preset("sac-lag", task_of(SpeedEnv, cost_limit=3.5)).constraint.cost_limit == 3.5
    assert preset("sac-lag", make_task("HopperVelocity-v0")).constraint.cost_limit == 25.0


def test_a_constraint_does_not_change_the_initial_networks_of_the_unconstrained_learner() -> None:
    task = task_of(SpeedEnv, cost_limit=1.0)
    env = make_batch(task.id, 4)
    free, held = (OffPolicyLearner(env, preset(n, task), [5, 6]) for n in ("sac", "sac-lag"))
    assert held.critics.costs == 2
    torch.testing.assert_close(free.groups[0].net.flat, held.groups[0].net.flat)
    torch.testing.assert_close(free.critics.net.flat, held.critics.net.flat[4:])
    assert (held.critics.net.flat[0] != held.critics.net.flat[2]).any()


PUBLISHED = """
ddpg     Hopper       25000 1 3e-4 3e-4 0.2  -
td3      Hopper       25000 2 3e-4 3e-4 0.2  -
sac      Hopper       10000 2 3e-4 3e-4 0.2  -
sac      PointGoal1   10000 2 5e-6 1e-3 1e-5 -
td3      CarCircle1   25000 2 5e-6 1e-3 0.2  -
ddpg-lag Hopper       25000 1 3e-4 3e-4 0.2  1e-3 1e-5
td3-lag  CarGoal1     25000 2 5e-6 1e-3 0.2  0    5e-7
sac-lag  Hopper       10000 2 3e-4 3e-4 0.2  1e-3 1e-5
sac-lag  PointCircle1 10000 2 5e-6 1e-3 1e-5 0    5e-7
sac-lag  PointCircle2 10000 2 3e-4 3e-4 0.2  1e-3 1e-5
ddpg-pid Hopper       25000 1 1e-4 3e-4 0.2  0    1e-6 1e-7 1e-7
td3-pid  Hopper       25000 2 1e-4 3e-4 0.2  1e-3 1e-6 1e-7 1e-7
sac-pid  Hopper       10000 2 1e-4 3e-4 0.2  1e-3 1e-6 1e-7 1e-7
sac-pid  PointGoal1   10000 2 5e-6 1e-3 1e-5 1e-3 5e-7 1e-8 1e-8
"""
"""OmniSafe's files: random steps, policy delay, learning rates of actors and
critics, SAC's temperature; the multiplier's initial value and its rate or gains."""


def test_paper_presets_have_the_published_numbers() -> None:
    for line in filter(None, PUBLISHED.split("\n")):
        name, env, *words = line.split()
        warmup, delay, actor_lr, critic_lr, alpha = map(float, words[:5])
        c = saferl_off_policy.preset_for(f"{name}-paper", env)
        assert (c.warmup_steps, c.policy_delay) == (warmup, delay), line
        assert (c.actor_lr, c.critic_lr) == (actor_lr, critic_lr), line
        assert (c.hidden, c.batch_size, c.buffer_size) == ((256, 256), 256, 1_000_000)
        assert (c.gamma, c.tau, c.n_step, c.max_grad_norm) == (0.99, 0.005, 1, 40.0)
        assert c.updates == c.interval_steps
        if name.startswith("td3"):
            assert c.rule == TD3(exploration=0.1, target_noise=0.2, noise_clip=0.5)
        if name.startswith("ddpg"):
            assert c.rule == DDPG(exploration=0.1, variant="omnisafe")
        assert c.window == (50 if name == "ddpg" else 10)
        assert c.rule.name == name.partition("-")[0]
        if name.startswith("sac"):
            assert c.rule == SAC(alpha=alpha, alpha_auto=False), line
        numbers = [float(w) for w in words[5:] if w != "-"]
        if not numbers:
            assert c.constraint == NoConstraint()
            continue
        held: Any = c.constraint
        assert held.is_as_omnisafe and not held.cost_twins
        is_navigation = env in saferl_off_policy.NAVIGATION
        assert held.cost_norm == (not is_navigation or name == "ddpg-lag"), line
        start, *gains = numbers
        # epochs of 2,000 steps up to number 100
        assert (held.lambda_init, held.lambda_warmup_steps) == (start, 202_000), line
        if name.endswith("lag"):
            assert ([held.lambda_lr], held.lambda_upper) == (gains, None), line
        else:
            assert [held.pid_kp, held.pid_ki, held.pid_kd] == gains, line
            assert (held.pid_smoothing, held.pid_delay) == (0.95, 10)


def test_costs_are_standardised_for_the_replay_and_not_for_the_multiplier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    add = ReplayBuffer.add

    def spy(self: ReplayBuffer, rows: Any, *rest: Any) -> None:
        kept.append(rows[..., self.layout.cost].copy())
        add(self, rows, *rest)

    monkeypatch.setattr(ReplayBuffer, "add", spy)
    task = task_of(SpeedEnv, cost_limit=2.0)
    plain = _train("sac-lag", task, tmp_path / "plain", 1000)
    raw = np.concatenate(kept)
    kept.clear()
    scaled = _train("sac-lag", task, tmp_path / "scaled", 1000, cost_norm="true")
    found = np.concatenate(kept)
    # as far as both act at random, step by step, by the moments of all before and this one
    seen: list[float] = []
    for t in range(500 // 8):
        seen += raw[t].tolist()
        wanted = (raw[t] - np.mean(seen)) / max(np.std(seen, ddof=1), 0.01)
        np.testing.assert_allclose(found[t], np.clip(wanted, -5, 5), atol=1e-4)
    assert raw.min() >= 0.0 > found.min()
    assert plain[10].metrics["cost"] == scaled[10].metrics["cost"] > 0.0


def test_a_team_under_a_speed_limit_keeps_its_robot_s_tuned_numbers() -> None:
    # Walker2d's own: a fixed temperature for SAC, an actor's update after eight of TD3's critics
    for name, own in (("hasac", 0.2), ("hasac-lag", 0.2), ("hatd3-lag", 8)):
        free, limited = (hasac.preset_for(name, f"MultiWalker2d2x3{e}") for e in ("", "Velocity"))
        assert free == limited
        assert (free.policy_delay if name.startswith("hatd3") else free.rule.alpha) == own
        assert (free.constraint.name == "lagrangian") == name.endswith("lag")


def test_a_multiplier_that_is_updated_once_in_an_episode_can_move_far_enough() -> None:
    """Episodes of equal length end together, so 500,000 steps of 20 robots are 25 updates.

    At 2.5, where a rate of 0.1 ends, HATD3's policies still exceed the limit.
    """
    settings = preset("hatd3-lag", make_task("MultiHalfCheetah2x3Velocity-v1"))
    multiplier = settings.constraint.start()
    assert isinstance(multiplier, LagrangeMultiplier)
    for _ in range(500_000 // (1_000 * settings.num_envs)):
        multiplier.update(2.0 * multiplier.limit, 1_000.0)
    assert multiplier.multiplier > 4 * 2.5


def test_a_multiplier_updated_more_often_has_a_smaller_learning_rate() -> None:
    rates = {
        task: saferl_off_policy.preset_for("sac-lag", task).constraint.lambda_lr
        for task in ("HopperVelocity", "HalfCheetahVelocity", "AntGoal1", "PointCircle1")
    }
    assert list(rates.values()) == [0.02, 0.05, 0.02, 0.05]
    assert (
        saferl_off_policy.preset_for("sac-lag-paper", "HopperVelocity").constraint.lambda_lr == 1e-5
    )


def _mean_actions(out: Path, task: Any, observation: Any) -> dict[str, float]:
    loaded: Any = load_agent(str(out), task)
    members = getattr(loaded, "members", {"agent": loaded})
    n = len(observation)
    found = {}
    for agent, policy in members.items():
        actions, _ = policy.act(observation, policy.begin(np.arange(n)), np.ones(n, bool))
        found[agent] = float(actions.mean())
    return found


CONSTRAINED = [f"{rule}-{kind}" for rule in ("ddpg", "td3", "sac") for kind in ("lag", "pid")]
GAINS = {
    "lambda_init": 0.5,
    "lambda_lr": 0.01,
    "pid_kp": 0.2,
    "pid_ki": 0.01,
    "pid_kd": 0.1,
    "window": 16,
    "updates_per_step": 2,
    "tau": 0.01,
    "exploration": 0.2,
}
"""For costs of a few per episode, not of hundreds, and actors that keep up with the multiplier."""


QUICK = ("sac-lag",)


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(agent, marks=[pytest.mark.slow] * (agent not in QUICK))
        for agent in (*CONSTRAINED, "ddpg", "td3", "sac")
    ],
)
def test_every_preset_finds_the_known_optimum(tmp_path: Path, agent: str) -> None:
    """SpeedEnv: a = 1/2 is the best that costs MEAN_LENGTH / 2; unconstrained agents take a = 1."""
    task = task_of(SpeedEnv, cost_limit=MEAN_LENGTH / 2)
    run = _train(agent, task, tmp_path, 10_000, **GAINS)
    late = {k: float(np.mean([p.metrics[k] for p in run[-60:]])) for k in ("return", "cost")}
    action = _mean_actions(tmp_path, task, np.random.default_rng(0).uniform(-1, 1, (50, 2)))
    if agent in CONSTRAINED:
        assert action["agent"] == pytest.approx(0.5, abs=0.12)
        assert late["cost"] == pytest.approx(MEAN_LENGTH / 2, rel=0.15)
        assert late["return"] == pytest.approx(0.75 * MEAN_LENGTH, rel=0.2)
        multiplier = np.mean([p.metrics["multiplier"] for p in run[-60:]])
        assert multiplier == pytest.approx(1.0, abs=0.3)  # the marginal reward 2 (1 - a)
    else:
        assert action["agent"] > 0.85
        assert late["cost"] > 0.7 * MEAN_LENGTH
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert ("cost_value_loss" in lines[-1]) == (agent in CONSTRAINED)


@pytest.mark.parametrize(
    ("agent", "scheme", "steps", "near"),
    [
        pytest.param("hasac-lag", "sequential", 10_000, 0.1, marks=pytest.mark.slow),
        ("hasac-lag", "simultaneous", 10_000, 0.1),
        pytest.param("hasac-lag", "replayed", 10_000, 0.1, marks=pytest.mark.slow),
        pytest.param("hatd3-lag", "sequential", 14_000, 0.2, marks=pytest.mark.slow),
    ],
)
def test_a_team_shares_a_budget_where_it_is_worth_most(
    tmp_path: Path, agent: str, scheme: str, steps: int, near: float
) -> None:
    """BudgetEnv: a = 2/3 and b = 1/3 share the limit of 5 per episode, at a price of 4/3."""
    task = task_of(BudgetEnv, cost_limit=5.0)
    more = {**GAINS, "scheme": scheme, "alpha": 0.05, "gamma": 0.5, "lambda_init": 1.0}
    more["buffer_size"] = 2000
    run = _train(agent, task, tmp_path, steps, **more)
    # the averages of a multiplier method settle before its iterates do
    late = {
        k: float(np.mean([p.metrics[k] for p in run[2 * len(run) // 3 :]]))
        for k in ("return", "cost", "multiplier")
    }
    assert late["cost"] == pytest.approx(5.0, rel=near)
    assert late["return"] == pytest.approx(70 / 6, rel=near / 2)
    assert late["multiplier"] == pytest.approx(4 / 3, abs=near)
    actions = _mean_actions(tmp_path, task, np.ones((4, 2), np.float32))
    assert actions["a"] == pytest.approx(2 / 3, abs=near)
    assert actions["b"] == pytest.approx(1 / 3, abs=near)
