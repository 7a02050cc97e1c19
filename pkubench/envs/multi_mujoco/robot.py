"""The base of the Multi-Agent MuJoCo environments: Gymnasium's v5 rules, and what each agent sees.

The physics, rewards, ends and initial distributions are those of ``gymnasium.envs.mujoco.*_v5``
(``tests/envs/test_multi_mujoco.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BoolArray, FloatArray, Info
from pkubench.envs.core.seeding import IntArray, RandomStreams
from pkubench.envs.mujoco.contacts import name_floor_pairs
from pkubench.envs.mujoco.locomotion import Runner
from pkubench.envs.multi_mujoco.factorization import (
    Graph,
    Layout,
    Part,
    action_order,
    nearest_columns,
)
from pkubench.errors import ConfigError, UnknownName


class MultiRobot(Runner):
    """One robot whose joints are moved by several agents, all paid for its forward speed.

    **What an agent sees.** By default (`agent_obsk=None`) the mode of HARL: the whole state of the
    robot, that is, the observation of Gymnasium's single-agent v5 environment, then a one-hot
    number of the agent, and of these numbers x each vector's (x − mean(x)) / std(x); the state for
    centralised critics is then the state alone, put on the same scale. Published results of HAPPO,
    HASAC and their kin are in this mode. With `agent_obsk=k` an agent sees what it sees in
    Gymnasium-Robotics' `mamujoco_v1`, unscaled: all about its own joints, the angles of the joints
    at most k edges away in the graph of the robot, and the motion of the root; the state is
    Gymnasium's observation.

    **Reward.** There is one reward, that of Gymnasium's v5 environment. Each of the n agents is
    given 1/n of it, so the sum over agents, which is the team return of tasks and learners, is the
    return of the single-agent environment. (Gymnasium-Robotics gives every agent the whole.)

    **Not the numbers of the papers.** HARL was run on the v2 environments of OpenAI's Gym. Since
    then a fallen robot no longer earns the reward for being up (Hopper, Walker2d, Ant, Humanoid),
    contact forces are computed, observed and charged for (Ant, Humanoid), the walker's right foot
    grips like its left, and MuJoCo's physics has changed. Compare agents on these environments with
    one another; compare with published curves who is better than whom, not the returns.

    `info`: `reward_forward`, `reward_ctrl`, `reward_survive` (robots that can fall),
    `reward_contact` (Ant, Humanoid), `x_position`, `x_velocity`, `y_position`, `y_velocity` (robots
    that move in the plane), `simulation_failed`. The reward is the sum of those named so. Where
    MuJoCo meets a value it cannot continue with, Gymnasium silently continues from the default
    state; here the episode ends with reward 0 and `simulation_failed`.

    Settings: `factorization`, `agent_obsk`, `max_episode_steps`, `num_threads` (results do not
    depend on it).

    Source: Peng et al., "FACMAC: Factored Multi-Agent Centralised Policy Gradients", NeurIPS 2021
    (Multi-Agent MuJoCo); Zhong et al., "Heterogeneous-Agent Reinforcement Learning", JMLR 25(32),
    2024 (what its agents see).
    """

    graph: ClassVar[Graph]
    """Joints, neighbours and factorizations."""
    clips_nearest: ClassVar[bool] = False
    """Whether those that an agent sees of its nearest joints are clipped as well."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = -1,
        num_threads: int = 1,
        *,
        factorization: str,
        agent_obsk: int | None = None,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: number of environments.
            max_episode_steps: time limit; -1 is the 1000 steps of the original, None no limit.
            num_threads: threads that share the environments; results do not depend on it.
            factorization: who moves what, a name in the robot's table.
            agent_obsk: edges of the graph an agent sees across (0: its own joints alone); None is
                the whole state with the agent's number, standardised.

        Raises:
            UnknownName: the robot is not factorized so.
            ConfigError: a negative number of edges, or another number that is not positive.
        """
        if factorization not in self.graph.parts:
            raise UnknownName("factorization", factorization, self.graph.parts)
        if agent_obsk is not None and agent_obsk < 0:
            raise ConfigError(f"agent_obsk must be at least 0 or None, got {agent_obsk}")
        super().__init__(num_envs, max_episode_steps, num_threads, edit=name_floor_pairs)
        self.factorization = factorization
        self.agent_obsk = agent_obsk
        self._random = RandomStreams(num_envs)
        parts = self.graph.parts[factorization]
        self.agents = tuple(f"agent_{i}" for i in range(len(parts)))
        self._order = action_order(self.graph, parts)
        size = self._single_observation().shape[1]
        self.state_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self._columns = self._prepare_observations(parts, size)
        low, high = np.array(self.model.actuator_ctrlrange[0], dtype=np.float32)
        self.observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (len(columns),), np.float64)
            for agent, columns in zip(self.agents, self._columns, strict=True)
        }
        self.action_spaces = {
            agent: spaces.Box(float(low), float(high), (len(part),), np.float32)
            for agent, part in zip(self.agents, parts, strict=True)
        }

    def _prepare_observations(self, parts: tuple[Part, ...], state_size: int) -> list[IntArray]:
        """Prepare the gathering of observations; return what columns each agent gets."""
        if self.agent_obsk is None:
            return [np.arange(state_size + len(parts))] * len(parts)
        fields = self._fields()
        widths = {name: array.shape[1] for name, array in fields.items()}
        starts = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
        layout = Layout(
            starts,
            {name: width // self.model.nbody for name, width in widths.items()},
            self.model.nq,
            self.model.nv,
        )
        seen = [nearest_columns(self.graph, part, self.agent_obsk, layout) for part in parts]
        self._seen: IntArray = np.concatenate(seen)
        self._cuts: list[int] = np.cumsum([0, *map(len, seen)]).tolist()
        return seen

    def _reset(self, ids: IntArray, seeds: IntArray) -> None:
        self._random.seed(ids, seeds)
        noise, nq, nv = self.reset_noise, self.model.nq, self.model.nv
        qpos = self._initial_qpos + self._random.uniform(ids, nq, -noise, noise)
        if self.normal_velocity:
            qvel = noise * self._random.normal(ids, nv)
        else:
            qvel = self._random.uniform(ids, nv, -noise, noise)
        self._place(ids, qpos, qvel)

    def _step(
        self, actions: Mapping[str, Array], active: BoolArray | None
    ) -> tuple[FloatArray, BoolArray, Info]:
        given = np.concatenate([actions[agent] for agent in self.agents], axis=1, dtype=np.float32)
        _, velocity = self._run_forward(given.take(self._order, axis=1), active)
        failed = self.failed.copy()

        # In double precision, and added up in this order, as in v5.
        earned = self.forward_weight * velocity[:, 0]
        spent = self.control_weight * np.square(self.ctrl).sum(axis=1)
        # v5 reports the coordinates, whatever it measures the velocity of.
        info = self._motion_info(self._coordinates(), velocity)
        info |= {"reward_forward": earned, "reward_ctrl": -spent}
        if self.has_contact_forces:
            contact = self._contact_cost()
            spent = spent + contact
            info["reward_contact"] = -contact
        terminated = failed
        if self.healthy_reward is not None:
            healthy = self._healthy()
            alive = healthy * self.healthy_reward
            earned = earned + alive
            terminated = failed | ~healthy
            info["reward_survive"] = alive
        reward = earned - spent
        reward[failed] = 0.0
        shares = np.empty((self.num_envs, self.num_agents))
        shares[...] = (reward / self.num_agents)[:, None]
        return shares, terminated, info

    def _info(self) -> Info:
        terms = ["reward_forward", "reward_ctrl"]
        terms += ["reward_contact"] * self.has_contact_forces
        terms += ["reward_survive"] * (self.healthy_reward is not None)
        position = self._coordinates()
        info = self._motion_info(position, np.zeros_like(position))
        return info | {name: np.zeros(self.num_envs) for name in terms}

    def state(self) -> FloatArray:
        """Return what Gymnasium's v5 environment observes, standardised in HARL's mode.

        HARL standardises each vector by its own mean and deviation. An agent's number, which is
        in its vector, reveals both; the critic's state has no number, so they are lost to it.
        """
        whole = self._single_observation()
        if self.agent_obsk is None:
            whole -= whole.mean(axis=1, keepdims=True)
            whole /= np.sqrt(np.square(whole).mean(axis=1, keepdims=True))
        return whole

    def _observe(self) -> dict[str, Array]:
        if self.agent_obsk is None:
            return dict(zip(self.agents, self._numbered(), strict=True))
        fields = np.concatenate(list(self._fields().values()), axis=1)
        seen = fields.take(self._seen, axis=1)
        cuts = zip(self.agents, self._cuts, self._cuts[1:], strict=False)
        return {agent: seen[:, start:stop] for agent, start, stop in cuts}

    def _numbered(self) -> FloatArray:
        """Return the standardised state and number of each agent, (num_agents, num_envs, size).

        All agents' vectors hold the same numbers up to the place of the 1, hence have one mean and
        one deviation.
        """
        whole, count = self._single_observation(), self.num_agents
        size = whole.shape[1] + count
        mean = (whole.sum(axis=1, keepdims=True) + 1.0) / size
        whole -= mean
        spread = np.square(whole).sum(axis=1, keepdims=True)
        spread += (count - 1) * np.square(mean) + np.square(1.0 - mean)
        scale = np.sqrt(spread / size)
        whole /= scale
        vectors = np.empty((count, self.num_envs, size))
        vectors[:, :, :-count] = whole
        vectors[:, :, -count:] = -mean / scale
        own = (1.0 - mean[:, 0]) / scale[:, 0]
        for agent in range(count):
            vectors[agent, :, size - count + agent] = own
        return vectors

    def _single_observation(self) -> FloatArray:
        """Return a new array of what Gymnasium's v5 environment observes, (num_envs, size)."""
        return self._observed_motion()

    def _fields(self) -> dict[str, FloatArray]:
        """Return what agents' nearest joints are read from: field -> (num_envs, width)."""
        qvel = self.qvel
        if self.velocity_clip is not None and self.clips_nearest:
            qvel = np.clip(qvel, -self.velocity_clip, self.velocity_clip)
        return {"qpos": self.qpos, "qvel": qvel}

    def _contact_cost(self) -> FloatArray:
        """Return the price of the contact forces, (num_envs,), of robots that feel them."""
        return np.zeros(self.num_envs)
