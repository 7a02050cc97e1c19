"""The scripted controllers act as documented, from one agent's own observation."""

from __future__ import annotations

import numpy as np
import pytest

import pkubench
from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.policies import MessengerAgent, scripted_agent
from pkubench.errors import AgentError

ALONE = np.ones(1, dtype=bool)
LANDMARKS = [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0)]
GOAL_2 = (0.25, 0.25, 0.75)
LEFT, RIGHT, UP = 1, 2, 4


def reference_view(received: int | None) -> np.ndarray:
    """SimpleReference: at rest, the landmarks around, the partner's goal is landmark 2."""
    message = np.zeros(10) if received is None else np.eye(10)[received]
    return np.array([[0, 0, *np.ravel(LANDMARKS), *GOAL_2, *message]], dtype=np.float32)


@pytest.mark.parametrize(("received", "move"), [(0, RIGHT), (1, LEFT), (2, UP), (None, UP)])
def test_messenger_sends_the_goal_and_moves_to_the_landmark_it_receives(
    received: int | None, move: int
) -> None:
    # Without a message, it moves to the mean of the landmarks, (0, 1/3): up.
    action, _ = MessengerAgent("both", continuous=False).act(reference_view(received), None, ALONE)
    assert action.tolist() == [move + 5 * 2]


def test_messenger_with_pushes_and_channels() -> None:
    action, _ = MessengerAgent("both", continuous=True).act(reference_view(0), None, ALONE)
    assert action.shape == (1, 15)
    assert action[0, :5].tolist() == [0, 0, 1, 0, 0]
    assert action[0, 5:].tolist() == np.eye(10)[2].tolist()


def test_speaker_says_a_word_and_the_listener_follows_it() -> None:
    speaker = MessengerAgent("speaker", continuous=False)
    assert speaker.act(np.array([GOAL_2]), None, ALONE)[0].tolist() == [2]
    view = np.array([[0, 0, *np.ravel(LANDMARKS), 0, 1, 0]])
    listener = MessengerAgent("listener", continuous=False)
    assert listener.act(view, None, ALONE)[0].tolist() == [LEFT]


@pytest.mark.parametrize(
    ("task", "at_least"),
    [
        pytest.param("SimpleReference-v0", -16.5, marks=pytest.mark.slow),
        ("SimpleReferenceContinuous-v0", -13.5),
        ("SimpleSpeakerListener-v0", -17.5),
        pytest.param("SimpleSpeakerListenerContinuous-v0", -14.0, marks=pytest.mark.slow),
    ],
)
def test_messenger_is_far_above_random_play(task: str, at_least: float) -> None:
    # 400 episodes: the bounds are three standard errors below the means in the docstring.
    report = pkubench.evaluate("scripted:messenger", task, episodes=400, workers=0)
    assert report.score is not None
    assert report.score > at_least


def test_scripted_agents_refuse_other_tasks() -> None:
    with pytest.raises(AgentError, match="SimpleReference and SimpleSpeakerListener"):
        scripted_agent("messenger", "pkubench/SimpleSpread-v0")
    with pytest.raises(AgentError, match="SimpleSpread and Navigation tasks only"):
        scripted_agent("assignment", "pkubench/SimpleReference-v0")
    with pytest.raises(AgentError, match="observes 11 numbers as listener, got 3"):
        MessengerAgent("listener", continuous=False).act(np.zeros((1, 3)), None, ALONE)


@pytest.mark.parametrize("name", ["KuhnPoker-v0", "matrix:gaussian(4,6)", "matrix:cyclic(5)"])
def test_the_equilibrium_of_a_game_cannot_be_exploited(name: str) -> None:
    report = pkubench.evaluate("scripted:equilibrium", name, workers=0)
    assert report.score == pytest.approx(0.0, abs=1e-9)


def test_only_games_have_an_equilibrium_agent() -> None:
    with pytest.raises(AgentError, match="plays games, not 'pkubench/SimpleSpread-v0'"):
        scripted_agent("equilibrium", "pkubench/SimpleSpread-v0")


@pytest.mark.parametrize("received", [None, 0, 1, 2])
def test_a_silent_team_says_the_same_word_and_moves_to_the_centroid_whatever_it_receives(
    received: int | None,
) -> None:
    silent = MessengerAgent("both", continuous=False, is_silent=True)
    assert silent.act(reference_view(received), None, ALONE)[0].tolist() == [UP]
    silent = MessengerAgent("both", continuous=True, is_silent=True)
    action, _ = silent.act(reference_view(received), None, ALONE)
    assert action[0, 4] > 0 and not action[0, :4].any() and not action[0, 5:].any()
    speaker = MessengerAgent("speaker", continuous=False, is_silent=True)
    assert speaker.act(np.array([GOAL_2]), None, ALONE)[0].tolist() == [0]


def test_a_silent_team_is_between_random_play_and_messages() -> None:
    scores = [
        pkubench.evaluate(
            f"scripted:{name}", "SimpleSpeakerListener-v0", episodes=200, workers=0
        ).score
        for name in ("no-op", "silent", "messenger")
    ]
    assert scores == sorted(scores, key=lambda score: score or 0.0)


@pytest.mark.parametrize("task", ["MultiHopper3x1-v0", "HopperVelocity-v0", "SimpleReference-v0"])
def test_no_op_plays_zeros_in_every_action_space(task: str) -> None:
    env = pkubench.make_batch(task, 2)
    found = scripted_agent("no-op", task)
    members = found.members if isinstance(found, Team) else {env.agents[0]: found}
    for agent, space in env.action_spaces.items():
        action, _ = members[agent].act(np.zeros((2, 3)), None, np.ones(2, bool))
        assert not action.any() and all(space.contains(a.astype(space.dtype)) for a in action)


def test_no_op_refuses_games_and_standing_other_robots() -> None:
    with pytest.raises(AgentError, match="scripted:no-op: no action of"):
        scripted_agent("no-op", "pkubench/Climbing-v0")
    with pytest.raises(AgentError, match="HopperVelocity-v0 only"):
        scripted_agent("standing", "pkubench/Walker2dVelocity-v0")
    with pytest.raises(AgentError, match="scripted:silent plays"):
        scripted_agent("silent", "pkubench/SimpleSpread-v0")


def test_the_standing_hopper_survives_all_steps_below_the_speed_limit() -> None:
    report = pkubench.evaluate("scripted:standing", "HopperVelocity-v0", episodes=4)
    assert report.metrics["return"].mean == pytest.approx(1000, rel=0.02)
    assert report.metrics["cost"].mean == 0.0
