"""Whole episodes of the original Safety-Gymnasium; run in its own environment.

``python safety_gymnasium_peer.py TASK EPISODES`` prints, as JSON, steps per second of one
environment and of its own vector environment with two processes, over whole episodes with their
resets, and resets per second. Each figure is the best episode. Actions are drawn beforehand.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

with contextlib.redirect_stderr(io.StringIO()):
    import safety_gymnasium


def best(play: Callable[[], int], rounds: int) -> float:
    """Return the best rate of ``play``, which returns how much it did."""
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        done = play()
        rates.append(done / (time.perf_counter() - start))
    return max(rates)


def single(env: Any, tape: np.ndarray[Any, Any]) -> int:
    """Play one episode and reset."""
    for count, action in enumerate(tape, 1):
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
            return count
    raise RuntimeError("the episode did not end")


def vector(envs: Any, tape: np.ndarray[Any, Any]) -> int:
    """Play one episode in each process; they reset themselves."""
    for actions in np.repeat(tape[:, None], envs.num_envs, axis=1):
        envs.step(actions)
    return len(tape) * envs.num_envs


def main() -> None:
    """Measure and print."""
    name, episodes = sys.argv[1], int(sys.argv[2])
    env = safety_gymnasium.make(f"Safety{name}-v0", disable_env_checker=True)
    space = env.action_space
    tape = np.random.RandomState(0).uniform(space.low, space.high, (1000, *space.shape))
    env.reset(seed=0)
    found = {
        "single": best(lambda: single(env, tape), episodes),
        "resets": best(lambda: int(bool(env.reset())), 5 * episodes),
    }
    env.close()
    envs = safety_gymnasium.vector.make(f"Safety{name}-v0", num_envs=2, disable_env_checker=True)
    envs.reset(seed=0)
    found["vector"] = best(lambda: vector(envs, tape), episodes)
    envs.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
