"""The suite of grid worlds: whose episodes take the tasks in turn, and what its anchors are."""

from __future__ import annotations

import numpy as np
import pytest

import pkubench
from pkubench.envs.core.registry import make_batch
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import CycledEpisodes, Episodes

ELSEWHERE = {
    "DoorKey6x6": 0.0192,
    "SimpleCrossingS9N2": 0.0120,
    "RedBlueDoors6x6": 0.0571,
    "DistShift1": 0.0064,
    "MemoryS11": 0.197,
    "LavaGapS7": 0.0110,
    "MultiRoomN2S4": 0.0076,
}
"""Mean returns of random play in MiniGrid itself, over 11,000 to 127,000 episodes."""


def test_episodes_take_the_tasks_in_turn_on_the_seeds_of_any_task() -> None:
    task = make_task("MiniGridMT5-v0")
    assert isinstance(task.scoring, CycledEpisodes)
    planned = task.scoring.plan(task, 3, 12)
    assert [episode.options["task"] for episode in planned] == [0, 1, 2, 3, 4] * 2 + [0, 1]
    plain = Episodes().plan(task, 3, 12)
    assert [(e.number, e.seed, e.agent_seed) for e in planned] == [
        (e.number, e.seed, e.agent_seed) for e in plain
    ]
    for name, count in (("MT3", 3), ("MT5", 5), ("MT7", 7)):
        of = make_task(f"MiniGrid{name}-v0")
        assert len(make_batch(of.id).levels) == count  # type: ignore[attr-defined]
        assert of.protocol.episodes % count == of.protocol.quick_episodes % count == 0
        assert of.protocol.training_steps == 200_000 * count


def test_records_say_which_task_was_played_and_whether_it_was_fulfilled() -> None:
    report = pkubench.evaluate("random", "MiniGridMT3-v0", episodes=6, workers=0)
    assert report.failed == 0 and set(report.metrics) == {"return", "success"}
    assert report.metrics["success"].mean is not None


@pytest.mark.parametrize("name", ELSEWHERE)
def test_random_play_scores_what_it_does_in_minigrid(name: str) -> None:
    reference = make_task(f"MiniGrid{name}-v0").references["random"]
    assert reference.n >= 10_000
    # a success pays 0.55 or so, so the share of successes gives the standard error of both
    error = (0.6 * ELSEWHERE[name] / 1e4) ** 0.5
    assert reference.score == pytest.approx(ELSEWHERE[name], abs=5 * error)


def test_the_multitask_anchors_are_the_means_of_their_members() -> None:
    mixed, members = make_task("MiniGridMT7-v0"), list(ELSEWHERE)
    for anchor, tolerance in (("random", 0.004), ("reference", 1e-9)):
        scores = [make_task(f"MiniGrid{name}-v0").references[anchor].score for name in members]
        assert mixed.references[anchor].score == pytest.approx(np.mean(scores), abs=tolerance)
    assert mixed.normalised(mixed.references["random"].score) == 0.0
    assert mixed.references["no-op"].score == 0.0


def test_the_reference_is_the_mean_of_the_shortest_ways() -> None:
    for name in ("DistShift1", "LavaGapS7"):
        exact = make_batch(f"MiniGrid{name}-v0").exact_returns  # type: ignore[attr-defined]
        found = make_task(f"MiniGrid{name}-v0").references["reference"]
        assert found.score == pytest.approx(exact["optimum"], abs=1e-9)
        assert found.agent == "search"
    # always 13 steps of 252; and by the row of the gap 9 to 11 of 196, turns included
    assert make_task("MiniGridDistShift1-v0").references["reference"].score == pytest.approx(
        1 - 0.9 * 13 / 252
    )


def test_doing_nothing_is_the_action_done() -> None:
    report = pkubench.evaluate("scripted:no-op", "MiniGridMultiRoomN2S4-v0", episodes=4, workers=0)
    assert report.score == 0.0
    env = make_batch("MiniGridDoorKey6x6-v0", 2)
    seen, _ = env.reset(np.arange(2))
    idle = {"agent": np.full(2, env.no_op_action)}  # type: ignore[attr-defined]
    for _ in range(3):
        assert np.array_equal(env.step(idle).observations["agent"], seen["agent"])


def test_a_level_by_name_is_a_task_without_anchors() -> None:
    task = make_task("minigrid:DoorKey-5x5-v0")
    assert not task.references and task.protocol.horizon is None
    report = pkubench.evaluate("random", task, episodes=3, workers=0)
    assert report.failed == 0
