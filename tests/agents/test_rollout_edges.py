"""The edges of rollouts: ends of both kinds, final observations, masks, and what a run resumes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pkubench.agents.rl.constraints.lagrangian import LagrangeMultiplier
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.on_policy.state import load_state_of, state_of
from pkubench.agents.rl.rollout import Collector
from pkubench.envs.core.batch import SOLE_AGENT, Array, BatchEnv, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, TrainingSeeds
from pkubench.training import checkpoints
from tests.agents.configs import config_of
from tests.agents.toy_envs import SpeedEnv

NUM_ENVS = 6
HORIZON = 5


class Ladder(BatchEnv):
    """Counts steps; step t pays t and costs t mod 2. Terminates, is truncated, or both.

    The observation is (step, seed mod 97). With a seed divisible by three it terminates at step 2,
    with another even one at step 5, when the clock runs out as well; others are truncated there.
    """

    default_horizon = HORIZON

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.observation_spaces = {SOLE_AGENT: spaces.Box(-np.inf, np.inf, (2,), np.float64)}
        self.action_spaces = {SOLE_AGENT: spaces.Discrete(2)}
        self._seen = np.zeros((num_envs, 2))
        self._seeds = np.zeros(num_envs, dtype=np.int64)

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._seeds[ids] = seeds
        self._seen[ids] = np.stack([0 * seeds, seeds % 97], 1)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        self._seen[:, 0] += 1
        step = self._seen[:, 0]
        return step[:, None].copy(), terminates(self._seeds, step), {"cost": step % 2}

    def _observe(self) -> dict[str, Array]:
        return {SOLE_AGENT: self._seen.copy()}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def terminates(seeds: Any, step: Any) -> Any:
    third = seeds % 3 == 0
    return (third & (step >= 2)) | (~third & (seeds % 2 == 0) & (step >= HORIZON))


def _as_they_are(
    observations: Mapping[str, Array], state: Array, fresh: bool, alive: Any = None
) -> tuple[dict[str, Array], Array]:
    return {a: o.astype(np.float32) for a, o in observations.items()}, state.astype(np.float32)


def _no_op(
    observations: Mapping[str, Array], masks: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    zero = {SOLE_AGENT: np.zeros(NUM_ENVS, dtype=np.int64)}
    return zero, zero, {SOLE_AGENT: np.zeros(NUM_ENVS, dtype=np.float32)}


def test_a_rollout_distinguishes_termination_from_truncation_and_keeps_final_observations() -> None:
    collector = Collector(Ladder(NUM_ENVS), 11, 7, _as_they_are)
    parts = [collector.collect(17, _no_op, restart=False) for _ in range(2)]
    source = TrainingSeeds(11, NUM_ENVS)
    finished: list[tuple[int, int, float, float, int]] = []
    kinds = set()
    for index in range(NUM_ENVS):
        seed, step = int(source.next(np.array([index]))[0]), 0
        total = cost = 0.0
        for t in range(34):
            data, row = parts[t // 17], t % 17
            place = row, index
            before, after = [step, seed % 97], [step + 1, seed % 97]
            assert data.observations[SOLE_AGENT][place].tolist() == before
            assert data.states[place].tolist() == before
            step += 1
            ended, late = bool(terminates(np.int64(seed), step)), step >= HORIZON
            assert data.rewards[place] == step and data.costs[place] == step % 2
            assert data.terminated[place] == ended
            assert data.truncated[place] == (late and not ended)  # termination takes precedence
            assert data.next_observations[SOLE_AGENT][place].tolist() == after
            assert data.next_states[place].tolist() == after
            kinds.add((ended, late))
            total, cost = total + step, cost + step % 2
            if ended or late:
                finished.append((t, index, total, cost, step))
                seed, step = int(source.next(np.array([index]))[0]), 0
                total = cost = 0.0
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}
    recent = sorted(finished)[-7:]  # the window holds the last seven in the order they ended
    assert list(collector.window.returns) == [r for _, _, r, _, _ in recent]
    assert list(collector.window.costs) == [c for _, _, _, c, _ in recent]
    assert list(collector.window.lengths) == [n for _, _, _, _, n in recent]


def test_a_rollout_may_begin_with_new_episodes_everywhere() -> None:
    collector = Collector(Ladder(NUM_ENVS), 0, 7, _as_they_are)
    for _ in range(3):
        data = collector.collect(4, _no_op, restart=True)
        assert (data.observations[SOLE_AGENT][0, :, 0] == 0).all()


def test_observation_statistics_count_every_next_observation_exactly_once() -> None:
    config = config_of(num_envs=NUM_ENVS, hidden=(4,), observation_norm=True)
    env = Ladder(NUM_ENVS)
    learner = OnPolicyLearner(env, config, 0)
    counting = Collector(env, 11, 7, learner.inputs)
    plain = Collector(Ladder(NUM_ENVS), 11, 7, _as_they_are)
    seen = []
    for part in range(2):
        counting.collect(17, _no_op, restart=False)
        data = plain.collect(17, _no_op, restart=False)
        first = [data.observations[SOLE_AGENT][:1]] if part == 0 else []
        seen += [*first, data.next_observations[SOLE_AGENT]]
    every = np.concatenate(seen).reshape(-1, 2).astype(np.float64)
    norm = learner.inputs.norms[SOLE_AGENT]
    assert norm.count == len(every) == NUM_ENVS * (1 + 34)
    np.testing.assert_allclose(norm.mean, every.mean(0))
    np.testing.assert_allclose(norm.std, every.std(0, ddof=1))


class Masked(BatchEnv):
    """Two agents with four actions of which two are legal, others at every step."""

    default_horizon = 6

    def __init__(self, num_envs: int = 1, max_episode_steps: int | None = -1) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.agents = ("a", "b")
        box = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.observation_spaces = {a: box for a in self.agents}
        self.action_spaces = {a: spaces.Discrete(4) for a in self.agents}

    def _legal(self, shift: int) -> Array:
        first = (np.arange(self.num_envs) + self.elapsed_now + shift) % 4
        return (np.arange(4) == first[:, None]) | (np.arange(4) == (first[:, None] + 1) % 4)

    def _info(self) -> Info:
        return {f"action_mask:{a}": self._legal(k).astype(np.int8) for k, a in enumerate("ab")}

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self.elapsed_now = 0

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        for k, agent in enumerate("ab"):
            assert self._legal(k)[np.arange(self.num_envs), actions[agent]].all(), "illegal"
        self.elapsed_now += 1
        reward = (actions["a"] + actions["b"]).astype(np.float64)
        return np.stack([reward, reward], 1), np.zeros(self.num_envs, bool), self._info()

    def _observe(self) -> dict[str, Array]:
        seen = np.stack([np.arange(self.num_envs), 0 * self.elapsed, self.elapsed], 1)
        return {a: seen.astype(np.float32) for a in self.agents}

    def render(self, index: int = 0) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize("scheme", ["sequential", "simultaneous"])
def test_masked_actions_are_neither_taken_nor_counted_in_the_update(scheme: Any) -> None:
    config = config_of(
        scheme=scheme, num_envs=8, rollout_steps=18, hidden=(8,), epochs=1, actor_gain=1.0
    )
    env = Masked(8)
    learner = OnPolicyLearner(env, config, 0)
    collector = Collector(env, 0, 10, learner.inputs)
    data = collector.collect(18, learner.behave, False)
    for agent in "ab":
        legal = data.masks[agent]
        chosen = np.take_along_axis(legal, data.actions[agent][..., None], 2)
        assert (legal.sum(2) == 2).all() and (chosen == 1).all()
    factors = []
    update = learner._update_actor

    def spy(name: str, samples: Any) -> Any:
        factors.append(samples.factor.clone())
        return update(name, samples)

    learner._update_actor = spy  # type: ignore[method-assign]
    for trainer in learner.trainers.values():
        trainer.adam.lr = 0.0
    metrics = learner.update(data, math.nan, 0.0)
    # Nothing was learned, so old and new policy are one, with the illegal actions left out of both.
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < metrics["entropy"] <= math.log(2) + 1e-6
    for factor in factors:
        torch.testing.assert_close(factor, torch.ones_like(factor))


def _run(seed: int) -> tuple[OnPolicyLearner, Collector]:
    config = config_of(
        constraint="lagrangian",
        num_envs=4,
        rollout_steps=33,
        hidden=(8,),
        cost_limit=0.1,
        observation_norm=True,
        minibatches=2,
        epochs=2,
        critic_epochs=2,
        window=5,
    )
    env = SpeedEnv(4)
    learner = OnPolicyLearner(env, config, seed)
    return learner, Collector(env, seed, config.window, learner.inputs)


def _advance(learner: OnPolicyLearner, collector: Collector) -> None:
    data = collector.collect(33, learner.behave, False)
    learner.update(data, collector.window.mean(collector.window.costs), 0.0)


def test_a_checkpoint_holds_every_part_of_the_state(tmp_path: Path) -> None:
    learner, collector = _run(0)
    for _ in range(3):
        _advance(learner, collector)
    checkpoints.write([tmp_path], [state_of(learner, collector)], [{"iterations": 1}])
    other, restored = _run(1)
    [written] = checkpoints.read_generations(tmp_path)
    load_state_of(checkpoints.read(tmp_path, written), other, restored)
    assert isinstance(learner.constraint, LagrangeMultiplier)
    assert learner.constraint.value > 0.0
    assert other.constraint == learner.constraint
    assert collector.env.elapsed.max() > 0 and len(collector.window.costs) == 5
    assert restored.window == collector.window
    both = learner.stacks[0].members, other.stacks[0].members
    assert len(both[0]) == 2
    for old, new in zip(*both, strict=True):
        assert old.norm is not None and new.norm is not None
        np.testing.assert_array_equal(old.norm.sums, new.norm.sums)
    for name, norm in learner.inputs.norms.items():
        np.testing.assert_array_equal(other.inputs.norms[name].mean, norm.mean)
        np.testing.assert_array_equal(other.inputs.norms[name].std, norm.std)
    np.testing.assert_array_equal(restored.env.elapsed, collector.env.elapsed)
    np.testing.assert_array_equal(restored.episode_seeds, collector.episode_seeds)
    np.testing.assert_array_equal(restored.sums, collector.sums)
    np.testing.assert_array_equal(restored.raw[SOLE_AGENT], collector.raw[SOLE_AGENT])
    # The training seeds derive from the run's own seed, which the checkpoint's identity holds.
    restored.seeds.seed = collector.seeds.seed
    for pair in ((learner, collector), (other, restored)):
        _advance(*pair)
    for old, new in zip(
        learner.actors[SOLE_AGENT].parameters(), other.actors[SOLE_AGENT].parameters(), strict=True
    ):
        assert torch.equal(old, new)
    assert other.constraint == learner.constraint
