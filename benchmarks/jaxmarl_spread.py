"""Steps per second of JaxMARL's compiled MPE_simple_spread_v3; run in JaxMARL's own environment.

``python jaxmarl_spread.py SECONDS BATCH...`` prints, as JSON, steps per second for each batch size.
One compiled call steps all environments through 25 steps (one episode; JaxMARL resets within the
step) on actions drawn beforehand, as ours are. Observations, state and rewards are carried out of
the loop, so that the compiler cannot leave them out. All cores that XLA finds are used.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp

with contextlib.redirect_stdout(io.StringIO()):
    import jaxmarl

STEPS = 25


def rate(env: Any, batch: int, seconds: float) -> float:
    """Return the best rate of repeated compiled episodes of ``batch`` environments."""
    key = jax.random.PRNGKey(0)
    reset = jax.jit(jax.vmap(env.reset))
    observations, state = reset(jax.random.split(key, batch))
    moves = jax.random.randint(key, (STEPS, len(env.agents), batch), 0, 5)

    @jax.jit
    def episode(carry: Any, moves: Any) -> Any:
        def step(carry: Any, move: Any) -> Any:
            keys, _, state, earned = carry
            keys, now = jnp.split(jax.vmap(jax.random.split)(keys), 2, axis=1)
            keys, now = keys[:, 0], now[:, 0]
            actions = dict(zip(env.agents, move, strict=True))
            observations, state, rewards, _, _ = jax.vmap(env.step)(now, state, actions)
            earned = earned + sum(rewards[agent] for agent in env.agents)
            return (keys, observations, state, earned), None

        return jax.lax.scan(step, carry, moves)[0]

    carry = (jax.random.split(key, batch), observations, state, jnp.zeros(batch))
    carry = jax.block_until_ready(episode(carry, moves))  # compiles
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        carry = jax.block_until_ready(episode(carry, moves))
        best = min(best, time.perf_counter() - start)
    return STEPS * batch / best


def main() -> None:
    """Measure each batch size."""
    seconds, *batches = sys.argv[1:]
    env = jaxmarl.make("MPE_simple_spread_v3")
    print(json.dumps({batch: rate(env, int(batch), float(seconds)) for batch in batches}))


if __name__ == "__main__":
    main()
