"""EnvPool's MiniGrid environments, on request; run in their own environment.

``python envpool_peer.py`` reads lines of JSON, ``{"level", "num_envs", "seconds"}``, and answers
each with a line that has the steps per second of processor time (all threads together) of random
play with automatic resets. Environments are made at their first request and kept.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from typing import Any

import envpool
import numpy as np


@functools.cache
def prepared(level: str, num_envs: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """Return environments past their first resets, and a tape of actions."""
    env = envpool.make(
        f"MiniGrid-{level}", env_type="gymnasium", num_envs=num_envs, num_threads=1, seed=0
    )
    env.reset()
    tape = np.random.default_rng(0).integers(0, 7, (64, num_envs)).astype(np.int32)
    for actions in tape:
        env.step(actions)
    return env, tape


def rate(level: str, num_envs: int, seconds: float) -> float:
    """Return steps per second of processor time."""
    env, tape = prepared(level, num_envs)
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for actions in tape:
            env.step(actions)
        count += tape.size
    return count / spent


def main() -> None:
    """Answer requests until there are none."""
    for line in sys.stdin:
        print(json.dumps(rate(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
