"""Scores of credit against numbers worked out by hand, and the recordings that they are of."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pkubench.agents.contract import FloatArray, Team
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.recording import Recorder, Recording
from pkubench.envs.core.seeding import EVALUATION_SEED_START, PROTOCOL_EPISODES, evaluation_seeds
from pkubench.errors import AgentError, ConfigError
from pkubench.evaluation import credit_quality
from pkubench.evaluation.credit_quality import mean_quality, quality, recorded, value_gains
from pkubench.evaluation.figures.credit import _draw_map, credit_map
from pkubench.evaluation.figures.strip import CreditStrip, coloured
from pkubench.tasks.registry import make_task
from tests.agents.credit_envs import WithheldTeam

VALID = np.array([[True, True], [True, True], [True, False]])
"""Two episodes, of three steps and of two."""
JUNK = np.nan


def by_step(first: list[Any], second: list[Any]) -> FloatArray:
    """Lay two episodes side by side: (T, 2, ...)."""
    return np.stack([np.array(first, np.float64), np.array(second, np.float64)], 1)


DENSE = by_step([[1, 0], [0, 0], [1, 1]], [[1, 1], [0, 0], [JUNK, JUNK]])
DIFFERENCE = by_step([[1, 0], [0, 0], [0, 2]], [[1, 1], [0, 0], [JUNK, JUNK]])
SHARES = by_step([[1, 1], [0, 0], [1, 0]], [[1, 1], [1, 0], [0, 0]])


def by_hand(**changes: Any) -> Recording:
    """A recording whose team earns 1, 0, 2 and 2, 0, paid at the ends."""
    paid = by_step([[0, 0], [0, 0], [2, 1]], [[0, 0], [1, 1], [JUNK, JUNK]])
    ends = np.array([[False, False], [False, True], [True, True]])
    nothing = np.zeros((1, 2, 2))
    made = Recording(
        agents=("a", "b"),
        observations={a: np.zeros((4, 2, 1), np.float32) for a in "ab"},
        actions={a: np.zeros((3, 2), np.int64) for a in "ab"},
        rewards=paid,
        info={
            "dense_reward": np.concatenate([nothing, DENSE]),
            "difference_reward": np.concatenate([nothing, DIFFERENCE]),
        },
        terminated=ends,
        truncated=np.zeros_like(ends),
        valid=VALID,
        optimal_values=np.array([[4, 2], [4, 0], [3, 0], [0, JUNK]], np.float64),
        events={"jumps": np.zeros((3, 2, 2), np.bool_)},
    )
    return replace(made, **changes)


def test_every_score_by_hand() -> None:
    recording = by_hand()
    np.testing.assert_array_equal(recording.returns, [3, 2])
    # Gains: V' - V plus what was earned.
    np.testing.assert_array_equal(value_gains(recording), [[1, 0], [-1, 0], [-1, 0]])
    found = quality(lambda _: SHARES, recording)
    assert found.episodes == 2
    # The shares sum to 3 and 3, the returns are 3 and 2, around 2.5.
    assert found.return_rmse == pytest.approx(math.sqrt(0.5))
    assert found.return_r2 == pytest.approx(1 - 1 / 0.5)
    # The team's credit is (2, 0, 1), (2, 1): off its means by (1, -1, 0), (.5, -.5). Rewards are
    # off theirs by (0, -1, 1), (1, -1): products sum to 1 + 1, squares to 2.5 and 4.
    assert found.time == pytest.approx(2 / math.sqrt(2.5 * 4))
    # Agents differ in the last steps alone, by (.5, -.5) each; in difference rewards by (.5, -.5)
    # and (-1, 1) in the first and the last step of the first episode.
    assert found.agents == pytest.approx(-1 / math.sqrt(1 * 2.5))
    # Gains are off their means by (4, -2, -2) / 3 and nothing.
    assert found.value == pytest.approx(2 / math.sqrt(2.5 * 24 / 9))
    # Credit less gain: (1, 1, 2), (2, 1).
    assert found.value_rmse == pytest.approx(math.sqrt(11 / 5))
    assert found.spread == 0.0


def test_the_spread_is_the_standard_deviation_between_two_calls() -> None:
    calls = iter((SHARES, SHARES + np.where(VALID[..., None], 0.2, 0.0)))
    # Of two numbers that differ by d the sample's variance is d² / 2.
    assert quality(lambda _: next(calls), by_hand()).spread == pytest.approx(0.2 / math.sqrt(2))


def test_perfect_credit_scores_one_and_constant_credit_nothing() -> None:
    perfect = quality(lambda _: np.where(VALID[..., None], DENSE, 0.0), by_hand())
    assert (perfect.return_rmse, perfect.return_r2, perfect.time) == pytest.approx((0, 1, 1))
    # The mean of three times 0.1 is not 0.1 to the last bit: that is no signal.
    even = np.where(VALID[..., None], 0.05, 0.0)
    constant = quality(lambda _: even, by_hand())
    assert (constant.time, constant.agents, constant.value) == (0.0, 0.0, 0.0)


def test_what_the_environment_does_not_report_is_unknown() -> None:
    bare = by_hand(info={}, optimal_values=None)
    found = quality(lambda _: SHARES, bare)
    # Without a dense reward, what was paid is what was earned: (0, 0, 3), (0, 2).
    assert found.time == pytest.approx((0 - 0.5 - 0.5) / math.sqrt(2.5 * 8), abs=1e-12)
    assert [found.to_json()[name] for name in ("agents", "value", "value_rmse")] == [None] * 3
    level = by_hand(info={"dense_reward": np.ones((4, 2, 2))})
    assert math.isnan(quality(lambda _: SHARES, level).time)
    alike = by_hand(rewards=np.where(VALID[..., None], 0.5, 0.0) * [[[2, 2], [3, 3]]])
    np.testing.assert_array_equal(alike.returns, [6, 6])
    assert math.isnan(quality(lambda _: SHARES, alike).return_r2)


def test_means_are_over_runs() -> None:
    first = quality(lambda _: SHARES, by_hand())
    second = first._replace(return_rmse=first.return_rmse + 2.0)
    assert mean_quality([first, second]).return_rmse == pytest.approx(first.return_rmse + 1.0)


def test_a_recording_is_what_the_environment_gave() -> None:
    env = WithheldTeam(3)
    recorder = Recorder(env)
    seeds, rng = np.array([0, 1, 2]), np.random.default_rng(0)
    steps: list[Any] = []
    for _ in range(2):  # the second reset forgets what was recorded before
        start, _ = recorder.reset(seeds)
        steps, active = [], np.ones(3, np.bool_)
        while active.any():
            actions = {a: rng.integers(2, size=3) for a in env.agents}
            step = recorder.step(actions, None if active.all() else active.copy())
            steps.append((actions, step))
            active &= ~(step.terminated | step.truncated)
    found = recorder.recording()
    assert found.lengths.tolist() == [2, 3, 4]
    for a in env.agents:
        np.testing.assert_array_equal(found.observations[a][0], start[a])
        for t, (actions, step) in enumerate(steps):
            np.testing.assert_array_equal(found.observations[a][t + 1], step.observations[a])
            np.testing.assert_array_equal(found.actions[a][t], actions[a])
    # The last episode ends at the time limit, but by itself.
    assert steps[-1][1].truncated[2] and found.terminated[3, 2] and not found.truncated.any()
    earned = found.info["dense_reward"][1:].sum(-1)
    np.testing.assert_array_equal(found.team_rewards, np.where(found.valid, earned, 0.0))
    # What is paid at the end is all that was earned until then.
    np.testing.assert_array_equal(found.returns, found.team_rewards.sum(0))
    assert found.optimal_values is None and found.events == {}


def test_episodes_are_of_seeds_that_no_protocol_has(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    played = credit_quality.run_block

    def block(env: Any, entrant: Any, task: Any, episodes: Any) -> Any:
        planned.extend(episode.seed for episode in episodes)
        return played(env, entrant, task, episodes)

    monkeypatch.setattr(credit_quality, "run_block", block)
    task = make_task("Navigation3-v0")
    found = recorded(scripted_agent("no-op", task.id), task, 3)
    assert planned == evaluation_seeds(0, 3, PROTOCOL_EPISODES).tolist()
    assert min(planned) >= EVALUATION_SEED_START
    assert found.rewards.shape == (25, 3, 3) and found.info["difference_reward"].any()


def test_an_agent_that_fails_or_a_task_without_episodes_is_refused_in_a_line() -> None:
    task = make_task("AliceAndBob-v0")
    team = scripted_agent("optimum", task.id)
    assert isinstance(team, Team)

    class Failing:
        def begin(self, seeds: Any) -> None: ...

        def act(self, observation: Any, state: Any, active: Any) -> Any:
            raise ValueError("no idea")

    with pytest.raises(AgentError, match="no idea"):
        recorded(Team(dict.fromkeys(team.members, Failing())), task, 1)
    with pytest.raises(ConfigError, match="nothing is assigned"):
        recorded(team, make_task("KuhnPoker-v0"), 1)


def test_the_gains_of_the_optimum_sum_to_what_it_lacked_at_the_start() -> None:
    task = make_task("AliceAndBob-v0")
    found = recorded(scripted_agent("optimum", task.id), task, 1)
    gains = value_gains(found)
    assert found.optimal_values is not None and gains is not None
    assert found.lengths.tolist() == [14] and found.returns.tolist() == [100]
    assert gains.sum() == pytest.approx(100 - found.optimal_values[0, 0])
    # Each step of the way is worth a ninth more than the one before, or nothing where Alice waits;
    # next to the treasure nothing is left to gain.
    assert sorted(np.round(gains[-4:-1, 0], 9)) == pytest.approx([8.1, 9.0, 10.0], abs=0.2)
    assert gains[-1, 0] == pytest.approx(0.0)


def test_maps_show_shares_by_agent_and_step(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    upper, lower = Figure().subplots(2, 1)
    _draw_map(upper, [upper, lower], SHARES[:, 0].T, ("a", "b"))
    mesh = cast(Any, upper.collections[0])
    np.testing.assert_array_equal(mesh.get_array(), [[1, 0, 1], [1, 0, 0]])
    assert mesh.get_clim() == (-1.0, 1.0)
    assert [label.get_text() for label in upper.get_yticklabels()] == ["a", "b"]
    events = {"jumps": SHARES > 0}
    paths = [
        credit_map(by_hand(events=events), SHARES, tmp_path / f"{k}.svg", title="Credit")
        for k in range(2)
    ]
    first, second = (path.read_bytes() for path in paths)
    assert first == second and b"<svg" in first


def test_colours_run_from_red_over_white_to_blue() -> None:
    red, white, pale, blue = coloured(np.array([-2.0, 0.0, 1.0, 2.0]), 2.0).astype(int)
    assert red[0] > 150 > 100 > red[2] and blue[2] > 150 > 100 > blue[0]
    assert (white == 247).all()
    np.testing.assert_allclose(pale, (white + blue) / 2, atol=1)


def test_the_strip_shows_the_steps_that_are_played() -> None:
    strip = CreditStrip(by_hand(), SHARES)
    frame = np.full((50, 300, 3), 7, np.uint8)
    pictures = [strip.under(frame, step) for step in range(4)]
    assert len({picture.shape for picture in pictures}) == 1
    assert pictures[0].shape[0] > 50 and pictures[0].shape[0] % 2 == 0
    assert (pictures[0][:50] == 7).all()
    row = pictures[2][50 + 6 + 18 + 11]  # the middle of the first agent's row
    cells = row[np.linspace(20 + 45, 294 - 45, 3).astype(int)]
    np.testing.assert_array_equal(cells[0], coloured(np.array(1.0), 1.0))
    np.testing.assert_array_equal(cells[1], coloured(np.array(0.0), 1.0))
    np.testing.assert_array_equal(cells[2], [228] * 3)  # not yet
    happens = CreditStrip(by_hand(events={"jumps": SHARES > 0}), SHARES).under(frame, 1)
    assert (happens != pictures[1]).any()


def test_wrapped_environments_pass_on_what_they_know() -> None:
    from pkubench.envs.core.registry import make_batch

    env = cast(BatchEnv, make_batch("AliceAndBob-v0", 2))
    env.reset(np.arange(2))
    inner = env.unwrapped.optimal_values()
    assert inner is not None
    np.testing.assert_array_equal(env.optimal_values(), inner)
    assert set(env.events()) == set(env.unwrapped.events())
