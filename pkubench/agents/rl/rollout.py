"""Collecting rollouts: environments stepped together, one episode after another in each.

The collector owns the training environments: their seeds, the unfinished episodes, the statistics
of recent episodes. It can be frozen into plain arrays and rebuilt exactly: an environment is a
deterministic function of an episode's seed and actions, so unfinished episodes are replayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pkubench.agents.rl.behaviour import Behaviour as Behaviour
from pkubench.agents.rl.behaviour import Prepare, RecurrentBehaviour
from pkubench.agents.rl.budget import RAW_REWARD
from pkubench.agents.rl.episode_window import EpisodeWindow
from pkubench.agents.rl.rows import cost_sources, credit_extras, stacked
from pkubench.agents.rl.rows import masks_of as masks_of
from pkubench.agents.rl.training_cost import TrainingCost
from pkubench.agents.rl.waiting import standing_still
from pkubench.envs.core.batch import BatchEnv, BoolArray
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.envs.core.traits import DENSE_REWARD

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Rollout:
    """T steps of ``num_envs`` environments (N); time on axis 0.

    T is ``rollout_steps``, or more where whole episodes were collected; these are padded with steps
    that are not ``valid``.
    """

    observations: dict[str, Array]
    """Agent id -> (T, N, d) float32, as the actor saw them."""
    states: Array
    """(T, N, s) float32, as the critic sees them; no numbers where critics see observations."""
    actions: dict[str, Array]
    """Agent id -> (T, N) int64 or (T, N, d) float32, before any clipping to bounds."""
    log_probs: dict[str, Array]
    """Agent id -> (T, N)."""
    masks: dict[str, Array]
    """Agent id -> (T, N, actions); empty where all actions are legal."""
    rewards: Array
    """(T, N, agents) float64, each agent's own."""
    costs: Array
    """(T, N) float32; zeros where the environment has no cost."""
    terminated: Array
    truncated: Array
    next_observations: dict[str, Array]
    """Agent id -> (T, N, d): the next observations, before any reset."""
    next_states: Array
    first: Array
    """(T, N) bool: the step is the first one of its episode."""
    valid: Array
    """(T, N) bool: the step belongs to an episode. All do, unless whole episodes of different
    lengths were collected."""
    sources: Array | None = None
    """(T, N, sources) float32, costs by source where these have limits of their own."""
    alive: Array | None = None
    """(T, N, agents) bool: the agent could act. None where agents do not die."""
    died: Array | None = None
    """(T, N, agents) bool: the agent was alive before the step and is not after it."""
    extras: dict[str, Array] = field(default_factory=dict)
    """Name -> (T, N, ...) float64, entries of the info that the credit model reads."""
    hidden: dict[str, Array] = field(default_factory=dict)
    """Agent id -> (N, units) float32, hidden states before the first step; empty without memory."""

    def with_blank_padding(self) -> Rollout:
        """Return it with zeros, and all actions legal, where steps are not valid.

        Whatever was there cannot reach a network, a sum or a moment then; itself where all are.
        """
        if self.valid.all():
            return self

        def blank(array: Array, value: int = 0) -> Array:
            chosen = self.valid.reshape(self.valid.shape + (1,) * (array.ndim - 2))
            return np.where(chosen, array, np.asarray(value, array.dtype))

        def each(arrays: Mapping[str, Array], value: int = 0) -> dict[str, Array]:
            return {agent: blank(array, value) for agent, array in arrays.items()}

        return replace(
            self,
            observations=each(self.observations),
            states=blank(self.states),
            actions=each(self.actions),
            log_probs=each(self.log_probs),
            masks=each(self.masks, 1),
            rewards=blank(self.rewards),
            costs=blank(self.costs),
            sources=None if self.sources is None else blank(self.sources),
            terminated=self.terminated & self.valid,
            truncated=self.truncated & self.valid,
            next_observations=each(self.next_observations),
            next_states=blank(self.next_states),
            extras=each(self.extras),
            first=self.first & self.valid,
        )

    @property
    def team_rewards(self) -> Array:
        """(T, N) float32: the sum over agents."""
        total: Array = self.rewards.sum(-1).astype(np.float32)
        return total

    def usable(self, agent: int) -> Array | None:
        """Return where a step of an agent (by number) counts, (T, N) bool; None: everywhere."""
        found: Array = self.valid if self.alive is None else self.valid & self.alive[..., agent]
        return None if found.all() else found

    @property
    def usable_states(self) -> Array | None:
        """(T, N) bool, where a state counts: some agent is alive; None: everywhere."""
        found: Array = self.valid if self.alive is None else self.valid & self.alive.any(-1)
        return None if found.all() else found

    def ended(self, agent: int) -> Array:
        """Return where an agent (by number) gets no further reward in its episode, (T, N) bool."""
        return self.terminated if self.died is None else self.terminated | self.died[..., agent]


class Collector:
    """Steps the training environments with a behaviour policy."""

    def __init__(
        self,
        env: BatchEnv,
        seed: int,
        window: int,
        prepare: Prepare,
        cost_keys: Sequence[str] = (),
        cost_limit: float | None = None,
        units: Mapping[str, int] | None = None,
        info_keys: Sequence[str] = (),
        has_states: bool = True,
        options: Mapping[str, Array] | None = None,
    ) -> None:
        """Start an episode in each environment of ``env``.

        ``prepare`` turns the environment's arrays into network inputs (normalisation), seeing each
        fresh array once; ``cost_keys`` are entries of the info with limits of their own; with the
        task's ``cost_limit`` the cost of training is counted. ``units`` are the sizes of each
        agent's hidden state, for a ``RecurrentBehaviour``; ``info_keys`` are entries of the info
        that the credit model reads. Without ``has_states`` the states of a rollout have no numbers.
        ``options`` are those of each environment's episodes, (N, ...) by name.
        """
        self.env = env
        self.seeds = TrainingSeeds(seed, env.num_envs)
        counted = None if cost_limit is None else TrainingCost(cost_limit)
        self.window = EpisodeWindow(window, counted)
        self.prepare, self.has_states = prepare, has_states
        self.options = dict(options or {})
        self.cost_keys, self.info_keys = tuple(cost_keys), tuple(info_keys)
        self.episode_seeds = np.zeros(env.num_envs, dtype=np.int64)
        self.sums = np.zeros((2 + len(self.cost_keys), env.num_envs))
        """Return, cost and costs by source so far of the unfinished episodes."""
        self.history: deque[dict[str, Array]] = deque()
        """Environment actions since the oldest unfinished episode began."""
        self.raw: dict[str, Array] = {}
        """The latest observations; empty where no episode is under way."""
        self.info: dict[str, Array] = {}
        self.hidden: dict[str, Array] = {
            agent: np.zeros((env.num_envs, size), np.float32)
            for agent, size in (units or {}).items()
            if size
        }
        """Agent id -> (N, units), the behaviour policy's hidden states after the last step."""

    def start(self) -> None:
        """Begin a new episode in every environment."""
        self._reset(np.arange(self.env.num_envs))

    def _reset(self, ids: npt.NDArray[np.int64]) -> None:
        self.episode_seeds[ids] = self.seeds.next(ids)
        self.sums[:, ids] = 0.0
        self._start_episodes(ids)

    def _start_episodes(self, ids: npt.NDArray[np.int64]) -> None:
        """Reset environments to their present episodes' seeds and options."""
        options = {name: values[ids] for name, values in self.options.items()}
        self.raw, self.info = self.env.reset(self.episode_seeds[ids], ids, options)

    def state_of(self, observations: Mapping[str, Array]) -> Array:
        """Return the global state that belongs to the latest ``observations``."""
        if not self.has_states:
            return np.zeros((self.env.num_envs, 0), np.float32)
        if self.env.state_space is None:
            parts = [observations[a].reshape(self.env.num_envs, -1) for a in self.env.agents]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return self.env.state()

    def _prepared(self, fresh: bool | Array) -> tuple[dict[str, Array], Array]:
        """Return network inputs for the latest observations and their state."""
        return self.prepare(self.raw, self.state_of(self.raw), fresh, self.info.get("alive"))

    def collect(
        self,
        steps: int,
        behave: Behaviour | RecurrentBehaviour,
        restart: bool,
        *,
        whole_episodes: bool = False,
    ) -> Rollout:
        """Take ``steps`` steps in every environment.

        Args:
            steps: of each environment.
            behave: the behaviour policy.
            restart: begin new episodes first.
            whole_episodes: begin new episodes, and one after another in each environment until one
                ends at ``steps`` or later. Environments that wait for the others' last episodes
                keep their last observation; their steps are not ``valid``.
        """
        env = self.env
        begin = restart or whole_episodes or not self.raw
        if begin:
            self.history.clear()
            self.start()
        inputs, state = self._prepared(begin)
        rows: dict[str, list[Any]] = {name: [] for name in _FIELDS}
        hidden = self.hidden
        active: BoolArray = np.ones(env.num_envs, np.bool_)
        taken = 0
        while active.any() if whole_episodes else taken < steps:
            row, done, next_state = self._step(behave, inputs, state, active)
            next_inputs = row["next_observations"]
            for name, value in row.items():
                rows[name].append(value)
            taken += 1
            for index in np.flatnonzero(done):
                total, cost, *by_source = self.sums[:, index].tolist()
                self.window.add(total, cost, int(env.elapsed[index]), by_source)
            if whole_episodes and taken >= steps:
                active = active & ~done
                done = np.zeros_like(done)
            if done.any():
                self._reset(np.flatnonzero(done))
                next_inputs, next_state = self._prepared(bool(done.all()))
            inputs, state = next_inputs, next_state
            while len(self.history) > int(env.elapsed.max()):
                self.history.popleft()
        if whole_episodes:  # nothing is under way
            self.raw = {}
            self.history.clear()
        return Rollout(**stacked(rows, env.agents), hidden=hidden)

    def _step(
        self,
        behave: Behaviour | RecurrentBehaviour,
        inputs: dict[str, Array],
        state: Array,
        active: BoolArray,
    ) -> tuple[dict[str, Any], BoolArray, Array]:
        """Take a step; return the rollout's row, which episodes ended (N,), and the next state."""
        env, before = self.env, self.info
        masks = masks_of(before, env.agents)
        first = (env.elapsed == 0) & active
        alive = before.get("alive")
        raw_actions, actions, log_probs = self._act(behave, inputs, masks, first)
        self.history.append(actions)
        waiting = None if active.all() else ~active
        step = env.step(actions, None if waiting is None else active.copy())
        if waiting is not None:
            keys = ("cost", RAW_REWARD, DENSE_REWARD, *self.cost_keys, *self.info_keys)
            step = standing_still(step, waiting, self.raw, before, keys)
        self.raw, self.info = step.observations, step.info
        reward = step.rewards.sum(1)
        cost = self.info.get("cost")
        self.sums[0] += self.info.get(RAW_REWARD, reward)
        if cost is not None:
            self.sums[1] += cost
        fresh = True if waiting is None else active
        next_inputs, next_state = self._prepared(fresh)
        row = {
            "observations": inputs,
            "states": state,
            "actions": raw_actions,
            "log_probs": log_probs,
            "masks": masks,
            "rewards": step.rewards,
            "costs": np.zeros_like(reward) if cost is None else cost,
            "terminated": step.terminated,
            "truncated": step.truncated & ~step.terminated,
            "next_observations": next_inputs,
            "next_states": next_state,
            "first": first,
            "valid": active,
        }
        if self.cost_keys:
            sources = cost_sources(self.info, self.cost_keys)
            self.sums[2:] += sources
            row["sources"] = sources.T
        if self.info_keys:
            row["extras"] = credit_extras(self.info, self.info_keys)
        if alive is not None:
            row |= {"alive": alive, "died": alive & ~self.info["alive"]}
        return row, step.terminated | step.truncated, next_state

    def _act(
        self,
        behave: Any,
        inputs: Mapping[str, Array],
        masks: Mapping[str, Array],
        first: Array,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Choose actions, and store the new hidden states."""
        if not self.hidden:
            found: tuple[dict[str, Array], dict[str, Array], dict[str, Array]]
            found = behave(inputs, masks)
            return found
        raw_actions, actions, log_probs, self.hidden = behave(inputs, masks, self.hidden, first)
        return raw_actions, actions, log_probs

    def freeze(self) -> dict[str, Array]:
        """Return everything needed to resume, as plain arrays."""
        frozen = {
            "episode_seeds": self.episode_seeds,
            "elapsed": self.env.elapsed.copy(),
            "sums": self.sums,
            "episode": self.seeds.episode,
            "window": np.array(
                [self.window.returns, self.window.costs, self.window.lengths], dtype=np.float64
            ),
            "has_new_episodes": np.array(self.window.has_new_episodes),
            "has_begun": np.array(bool(self.raw)),
        }
        if self.cost_keys:
            frozen["source_costs"] = np.array(self.window.sources, dtype=np.float64)
        if self.window.training is not None:
            frozen["training_cost"] = self.window.training.freeze()
        frozen |= {f"hidden.{agent}": hidden for agent, hidden in self.hidden.items()}
        for agent in self.env.agents:
            if self.history:
                frozen[f"history.{agent}"] = np.stack([h[agent] for h in self.history])
        return frozen

    def thaw(self, frozen: Mapping[str, Array]) -> None:
        """Restore a frozen state by replaying the unfinished episodes."""
        self.episode_seeds = frozen["episode_seeds"].astype(np.int64)
        self.seeds.episode = frozen["episode"].astype(np.int64)
        self.sums = frozen["sums"].astype(np.float64)
        for queue, values in zip(
            (self.window.returns, self.window.costs, self.window.lengths),
            frozen["window"],
            strict=True,
        ):
            queue.clear()
            queue.extend(float(v) for v in values)
        self.window.sources.clear()
        if self.cost_keys:
            self.window.sources.extend(frozen["source_costs"].tolist())
        # absent in checkpoints of earlier releases, whose last update had used all episodes
        self.window.has_new_episodes = bool(frozen.get("has_new_episodes", False))
        if self.window.training is not None:
            self.window.training.thaw(frozen.get("training_cost"))
        self.hidden = {agent: frozen[f"hidden.{agent}"].copy() for agent in self.hidden}
        if not frozen.get("has_begun", True):  # no episode is under way
            return
        agents, elapsed = self.env.agents, frozen["elapsed"].astype(np.int64)
        length = int(elapsed.max())
        self._start_episodes(np.arange(self.env.num_envs))
        self.history.clear()
        for k in range(length):
            actions = {a: frozen[f"history.{a}"][k] for a in agents}
            self.history.append(actions)
            begin = np.flatnonzero(elapsed == length - k)
            if len(begin) and k:
                self._start_episodes(begin)
            step = self.env.step(actions)
            self.raw, self.info = step.observations, step.info
        begin = np.flatnonzero(elapsed == 0)
        if len(begin) and length:
            self._start_episodes(begin)


_FIELDS = tuple(Rollout.__dataclass_fields__)
