"""OpenEnv: an environment in words as a server, where the package is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("openenv.core.env_server.interfaces")

from pkubench.envs.adapters.openenv import TextAction, TextEnvironment, make_app
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError, UnknownName


def play(env: Any, reply: str, **reset: Any) -> list[Any]:
    found = [env.reset(**reset)]
    while not found[-1].done:
        found.append(env.step(TextAction(text=reply)))
    return found


def test_an_episode_is_the_environments() -> None:
    env = TextEnvironment("SVOSlider-v0", {"goal": "none"})
    options = {"value": 0, "starts": [1] * 15}
    seen = play(env, "A", seed=3, options=options)
    batch = make_batch("SVOSlider-v0", 1)
    batch.reset(np.array([3]), None, options)
    for _ in range(6):
        step = batch.step({"agent": np.zeros(1, dtype=np.int64)})
    assert seen[-1].reward == step.rewards[0, 0] and seen[-1].metadata["terminated"] is True
    assert seen[-1].metadata["angle"] == step.info["angle"][0]
    assert len(seen) == 8 and env.state.step_count == 7 and env.state.episode_id == "3"
    assert seen[0].answers == [] and seen[1].answers == list("ABCDEFGHI") and seen[-1].answers == []
    assert [o.reward for o in seen[:-1]] == [0.0] * 7
    with pytest.raises(ConfigError, match="no episode is under way"):
        env.step(TextAction(text="A"))
    assert env.reset().messages and env.state.step_count == 0
    with pytest.raises(UnknownName, match="option"):
        env.reset(option={"value": 0})


def test_what_cannot_be_served() -> None:
    with pytest.raises(ConfigError, match="one agent, and PrisonersDilemma-v0 has 2"):
        make_app("PrisonersDilemma-v0")
    with pytest.raises(ConfigError, match="cannot be asked in words"):
        TextEnvironment("KeyToDoor-v0")
    with pytest.raises(ConfigError, match="no episode is under way"):
        TextEnvironment("Dictator-v0").step(TextAction(text="5"))


def test_the_server_plays_over_a_socket() -> None:
    from fastapi.testclient import TestClient

    client = TestClient(make_app("Dictator-v0", rounds=2))
    assert client.get("/health").status_code == 200
    with client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "reset", "data": {"seed": 1}})
        first = socket.receive_json()["data"]
        assert first["done"] is False and len(first["observation"]["answers"]) == 11
        for is_last in (False, True):
            socket.send_json({"type": "step", "data": {"text": "4"}})
            found = socket.receive_json()["data"]
            assert found["done"] is is_last and found["reward"] == 6.0


def test_sessions_play_different_episodes() -> None:
    from fastapi.testclient import TestClient

    def first_questions() -> list[list[Any]]:
        client = TestClient(make_app("SafePreference-v0", seed=7))
        found: list[list[Any]] = []
        with client.websocket_connect("/ws") as one, client.websocket_connect("/ws") as other:
            for socket in (one, other):
                found.append([])
                for _ in range(6):
                    socket.send_json({"type": "reset", "data": {}})
                    messages = socket.receive_json()["data"]["observation"]["messages"]
                    found[-1].append(messages[-1]["content"])
        return found

    one, other = first_questions()
    assert not set(one) & set(other) and len(set(one)) == 6
    assert first_questions() == [one, other], "the same again from the same seed"
