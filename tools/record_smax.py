"""Record single steps of JaxMARL's SMAX, from states of battles and from crowded ones.

    python tools/record_smax.py FOLDER [--moments N] [--seed S]

runs in JaxMARL's own virtual environment (``pip install jaxmarl==0.2.0``) and writes one compressed
file a scenario; ``tests/data/smax`` has those that the tests replay. Arithmetic is in float64
(``JAX_ENABLE_X64``), so that rounding hides no difference of rules. A moment is a state, the
actions of both teams, the noise that JAX draws for each cooldown, and what follows: next state,
reward, observations, masks, global state, and what the scripted enemies decide. Every third moment
is a state with all units in one small square anywhere on the map, at its edges too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"

import jax
import jax.numpy as jnp
import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario
    from jaxmarl.environments.smax.heuristic_enemy import create_heuristic_policy

jnp.float32 = jnp.float64  # SMAX names it once, beside numbers of the default type

SCENARIOS = {
    "3m": "3m",
    "2s3z": "2s3z",
    "5m_vs_6m": "5m_vs_6m",
    "6h_vs_8z": "6h_vs_8z",
    "random5": "smacv2_5_units",
}
"""Our names of scenarios -> JaxMARL's."""
TICKS = 8
STATE = {
    "positions": "unit_positions",
    "alive": "unit_alive",
    "health": "unit_health",
    "cooldowns": "unit_weapon_cooldowns",
    "moves": "prev_movement_actions",
    "attacks": "prev_attack_actions",
}
FULL = 4
"""Moments of a scenario whose observations, masks and global states are recorded."""


class Recorder:
    """Plays battles of one scenario and records moments of them."""

    def __init__(self, name: str, seed: int) -> None:
        """Make the environment."""
        self.env = HeuristicEnemySMAX(scenario=map_name_to_scenario(SCENARIOS[name]))
        self.inner = self.env._env
        self.n, self.m = self.env.num_allies, self.env.num_enemies
        self.rng = np.random.default_rng([seed, *name.encode()])
        self.step = jax.jit(self.inner.step_env_no_decode)
        self.ally_policy = jax.jit(jax.vmap(create_heuristic_policy(self.inner, 0)))
        self.enemy_policy = jax.jit(jax.vmap(create_heuristic_policy(self.inner, 1)))

    def noise(self, key: Any) -> np.ndarray:
        """Return what a step with ``key`` adds to cooldowns, (TICKS, units)."""
        dt, rows = self.inner.time_per_step, []
        for _ in range(TICKS):
            key, tick_key = jax.random.split(key)
            keys = jax.random.split(tick_key, self.n + self.m)
            draw = jax.vmap(lambda k: jax.random.uniform(k, minval=-dt, maxval=2 * dt))
            rows.append(np.asarray(draw(keys)))
        return np.stack(rows)

    def luck(self, keys: Any, observations: Any) -> np.ndarray:
        """Return uniform numbers that choose whom each enemy follows as JAX's keys do, (m,)."""
        size = len(self.inner.unit_features)
        first, last = (self.m - 1) * size, (self.n + self.m - 1) * size
        found = []
        for key, observation in zip(keys, observations, strict=True):
            seen = np.asarray(observation[first:last:size] > 0)
            if not seen.any():
                found.append(0.5)
                continue
            follow, _ = jax.random.split(key)
            chosen = int(jax.random.choice(follow, jnp.arange(self.n), p=seen / seen.sum()))
            found.append((seen[:chosen].sum() + 0.5) / seen.sum())
        return np.array(found)

    def crowded(self, state: Any) -> Any:
        """Return the state with everybody near one place, and weapons partly ready."""
        units = self.n + self.m
        corner = self.rng.uniform(-2.0, 30.0, 2)
        places = np.clip(corner + self.rng.uniform(0.0, 4.0, (units, 2)), 0.05, 31.95)
        cooldowns = self.rng.uniform(-0.3, 0.6, units)
        positions = jnp.where(state.unit_alive[:, None], places, state.unit_positions)
        return state.replace(unit_positions=positions, unit_weapon_cooldowns=jnp.array(cooldowns))

    def moments(self, count: int) -> dict[str, np.ndarray]:
        """Return ``count`` recorded moments, stacked."""
        rows: list[dict[str, Any]] = []
        key = jax.random.PRNGKey(int(self.rng.integers(2**31)))
        while len(rows) < count:
            key, reset_key, play_key = jax.random.split(key, 3)
            _, state = self.env.reset(reset_key)
            rows += self._battle(state, play_key, count - len(rows))
        found = {name: np.stack([r[name] for r in rows if name in r]) for name in rows[0]}
        return {name: values for name, values in found.items()}

    def _battle(self, state: Any, key: Any, wanted: int) -> list[dict[str, Any]]:
        """Play one battle; record at most three of its moments."""
        fight, enemy_state = state.state, state.enemy_policy_state
        attacks = fight.prev_attack_actions.astype(jnp.int64)  # as all indices in this mode
        fight = fight.replace(prev_attack_actions=attacks)
        rotated = jax.tree.map(lambda x: jnp.stack([x[0]] * self.n), enemy_state)
        ally_state, rows = rotated, []
        moments = set(self.rng.choice(40, 3, replace=False).tolist())
        random_share = self.rng.uniform(0.0, 0.6)
        for time in range(42):
            if bool(self.inner.is_terminal(fight)):
                break
            if time in moments and self.rng.uniform() < 1 / 3:
                fight = self.crowded(fight)
            key, ally_key, enemy_key, step_key = jax.random.split(key, 4)
            seen = self.inner.get_obs(fight)
            views = jnp.stack([seen[a] for a in self.inner.agents])
            ally_keys = jax.random.split(ally_key, self.n)
            enemy_keys = jax.random.split(enemy_key, self.m)
            allies, ally_state = self.ally_policy(ally_keys, ally_state, views[: self.n])
            before_enemies = enemy_state
            enemies, enemy_state = self.enemy_policy(enemy_keys, enemy_state, views[self.n :])
            actions = np.concatenate([allies, enemies]).astype(np.int64)
            for unit in np.flatnonzero(self.rng.uniform(size=self.n + self.m) < random_share):
                other = self.m if unit < self.n else self.n
                actions[unit] = self.rng.integers(5 + other)
            decoded = self.inner._decode_discrete_actions(jnp.array(actions))
            after = self.step(step_key, fight, decoded)
            if time in moments and len(rows) < wanted:
                rows.append(
                    self._moment(fight, actions, step_key, after)
                    | {
                        "enemy_actions": np.asarray(enemies),
                        "enemy_targets": np.asarray(before_enemies.last_attacked_enemy),
                        "enemy_targets_after": np.asarray(enemy_state.last_attacked_enemy),
                        "enemy_goals": np.asarray(enemy_state.default_target),
                        "luck": self.luck(enemy_keys, np.asarray(views[self.n :])),
                    }
                )
            fight = after[1]
        return rows

    def _moment(self, fight: Any, actions: Any, key: Any, after: Any) -> dict[str, Any]:
        observations, then, rewards, dones, _ = after
        row = {name: np.asarray(getattr(fight, field)) for name, field in STATE.items()}
        row |= {f"{name}_after": np.asarray(getattr(then, f)) for name, f in STATE.items()}
        row |= {
            "types": np.asarray(fight.unit_types).astype(np.int64),
            "actions": actions,
            "noise": self.noise(key),
            "reward": np.asarray(rewards["ally_0"]),
            "is_over": np.asarray(dones["__all__"]),
        }
        masks = self.inner.get_avail_actions(then)
        row["observations"] = np.stack([observations[a] for a in self.env.agents])
        row["masks"] = np.stack([masks[a] for a in self.env.agents]).astype(np.int8)
        row["world_state"] = np.asarray(observations["world_state"])
        return row


def main() -> None:
    """Record every scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=24, help="of each scenario")
    parser.add_argument("--full", type=int, default=FULL, help="of them with observations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.scenarios:
        found = Recorder(name, options.seed).moments(options.moments)
        for large in ("observations", "masks", "world_state"):
            found[large] = found[large][: options.full]
        np.savez_compressed(options.folder / f"{name}.npz", **found)
        print(f"{name}: {len(found['reward'])} moments")


if __name__ == "__main__":
    main()
