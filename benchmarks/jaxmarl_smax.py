"""Speed and win rates of JaxMARL's SMAX; run in JaxMARL's own environment.

``python jaxmarl_smax.py speed SECONDS MAP:BATCH...`` prints, as JSON, environment steps per second
of processor time (that of all threads) for each. One compiled call steps all environments through
25 steps on actions drawn beforehand, as ours are; JaxMARL resets within the step. Observations,
global state, action masks and rewards are carried out of the loop, so that the compiler cannot
leave them out.

``python jaxmarl_smax.py outcomes EPISODES MAP...`` prints, for each map and for allies that act at
random or by the script of the enemies, the return and the share of battles won, each as mean and
standard error.
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
import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario
    from jaxmarl.environments.smax.heuristic_enemy import (
        create_heuristic_policy,
        get_heuristic_policy_initial_state,
    )

STEPS = 25
LIMIT = 101
"""Steps after which every episode of SMAX has ended."""


def make(name: str) -> Any:
    """Make an environment by JaxMARL's name of its map."""
    return HeuristicEnemySMAX(scenario=map_name_to_scenario(name))


def rate(name: str, batch: int, seconds: float) -> float:
    """Return the best rate of repeated compiled runs of ``batch`` environments."""
    env = make(name)
    key = jax.random.PRNGKey(0)
    observations, state = jax.jit(jax.vmap(env.reset))(jax.random.split(key, batch))
    masks = jax.jit(jax.vmap(env.get_avail_actions))(state)
    actions = env.num_enemies + 5
    moves = jax.random.randint(key, (STEPS, len(env.agents), batch), 0, actions)

    @jax.jit
    def run(carry: Any, moves: Any) -> Any:
        def step(carry: Any, move: Any) -> Any:
            keys, _, _, state, earned = carry
            keys, now = jnp.split(jax.vmap(jax.random.split)(keys), 2, axis=1)
            keys, now = keys[:, 0], now[:, 0]
            chosen = dict(zip(env.agents, move, strict=True))
            observations, state, rewards, _, _ = jax.vmap(env.step)(now, state, chosen)
            masks = jax.vmap(env.get_avail_actions)(state)
            earned = earned + rewards[env.agents[0]]
            return (keys, observations, masks, state, earned), None

        return jax.lax.scan(step, carry, moves)[0]

    carry = (jax.random.split(key, batch), observations, masks, state, jnp.zeros(batch))
    for _ in range(4):  # compiles, and leads the episodes apart
        carry = jax.block_until_ready(run(carry, moves))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        carry = jax.block_until_ready(run(carry, moves))
        best = min(best, time.process_time() - start)
    return STEPS * batch / best


def outcomes(name: str, team: str, episodes: int) -> dict[str, list[float]]:
    """Return mean and standard error of the return and of the win rate of a team of allies."""
    env = make(name)
    inner, allies = env._env, env.num_agents
    policy = jax.vmap(create_heuristic_policy(inner, 0))

    def decide(key: Any, fight: Any, memory: Any) -> Any:
        keys = jax.random.split(key, allies)
        if team == "random":
            masks = inner.get_avail_actions(fight)
            choose = [
                jax.random.categorical(k, jnp.log(masks[a].astype(jnp.float32)))
                for k, a in zip(keys, env.agents, strict=True)
            ]
            return jnp.stack(choose), memory
        seen = inner.get_obs(fight)
        return policy(keys, memory, jnp.stack([seen[a] for a in env.agents]))

    def episode(key: Any) -> Any:
        key, reset_key = jax.random.split(key)
        _, state = env.reset(reset_key)
        start = get_heuristic_policy_initial_state()
        memory = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * allies), start)

        def step(carry: Any, key: Any) -> Any:
            state, memory, is_over, earned, won = carry
            act_key, step_key = jax.random.split(key)
            actions, memory = decide(act_key, state.state, memory)
            chosen = dict(zip(env.agents, actions, strict=True))
            _, then, rewards, dones, _ = env.step_env(step_key, state, chosen)
            earned = earned + jnp.where(is_over, 0.0, rewards[env.agents[0]])
            alive = then.state.unit_alive
            is_won = alive[:allies].any() & ~alive[allies:].any()
            won = won | (is_won & ~is_over)
            return (then, memory, is_over | dones["__all__"], earned, won), None

        carry = (state, memory, jnp.array(False), jnp.array(0.0), jnp.array(False))
        carry = jax.lax.scan(step, carry, jax.random.split(key, LIMIT))[0]
        return carry[3], carry[4]

    keys = jax.random.split(jax.random.PRNGKey(1), episodes)
    found = jax.jit(jax.vmap(episode))(keys)
    rows = [np.asarray(values, np.float64) for values in found]
    names = ("return", "battle_won")
    return {
        row_name: [float(row.mean()), float(row.std() / np.sqrt(len(row)))]
        for row_name, row in zip(names, rows, strict=True)
    }


def main() -> None:
    """Measure what is asked for."""
    what, amount, *names = sys.argv[1:]
    if what == "speed":
        pairs = [name.split(":") for name in names]
        found: Any = {
            f"{name}:{batch}": rate(name, int(batch), float(amount)) for name, batch in pairs
        }
    else:
        found = {
            name: {team: outcomes(name, team, int(amount)) for team in ("random", "heuristic")}
            for name in names
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
