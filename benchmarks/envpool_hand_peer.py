"""EnvPool's HandManipulateBlock, on request; run in its own environment.

``python envpool_hand_peer.py`` reads lines that each say for how many seconds to measure, and
answers each with the physics steps per second of processor time of random play, resets included.
"""

from __future__ import annotations

import sys
import time

import envpool
import numpy as np

NUM_ENVS = 16


def main() -> None:
    """Answer requests until there are none."""
    env = envpool.make(
        "HandManipulateBlock-v1", env_type="gymnasium", num_envs=NUM_ENVS, num_threads=1, seed=0
    )
    env.reset()
    tape = np.random.default_rng(0).uniform(-1, 1, (64, NUM_ENVS, *env.action_space.shape))
    skip = env.config["frame_skip"]
    for line in sys.stdin:
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < float(line):
            env.step(tape[count % len(tape)].astype(np.float32))
            count += 1
        print(count * NUM_ENVS * skip / spent, flush=True)


if __name__ == "__main__":
    main()
