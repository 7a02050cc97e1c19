"""Record traces of safety-gymnasium 1.0.0; runs inside the environment that has the package.

`tools/record_safety_gymnasium.py` makes that environment and starts this script, which knows only
the original's public classes, numpy and MuJoCo 2.3.3. `tests/data/safety/README.md` explains every
array that is written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import safety_gymnasium
import safety_gymnasium.world

WORDS = 624
"""Words a block of the Mersenne Twister holds."""
OBS_GRID = 2.0**-40
"""Observations are stored as multiples of this: 1e-12, four decimals finer than the comparison."""
MODEL_ARRAYS = (
    "body_parentid body_pos body_quat body_ipos body_iquat body_mass body_inertia body_mocapid "
    "body_jntnum body_jntadr body_geomnum body_geomadr jnt_type jnt_bodyid jnt_qposadr jnt_dofadr "
    "jnt_pos jnt_axis jnt_limited jnt_range jnt_margin jnt_stiffness jnt_solref jnt_solimp "
    "dof_armature dof_damping dof_frictionloss qpos0 qpos_spring geom_type geom_bodyid geom_size "
    "geom_pos geom_quat geom_friction geom_condim geom_contype geom_conaffinity geom_priority "
    "geom_solmix geom_solref geom_solimp geom_margin geom_gap geom_group geom_rgba site_bodyid "
    "site_type site_size site_pos site_quat actuator_trntype actuator_trnid actuator_gear "
    "actuator_dyntype actuator_gaintype actuator_gainprm actuator_biastype actuator_biasprm "
    "actuator_ctrllimited actuator_ctrlrange actuator_forcelimited actuator_forcerange sensor_type "
    "sensor_objtype sensor_objid sensor_dim sensor_adr sensor_cutoff sensor_noise eq_type "
    "eq_obj1id eq_obj2id eq_active eq_data eq_solref eq_solimp"
)
OPTIONS = (
    "timestep gravity wind magnetic density viscosity impratio integrator solver cone jacobian "
    "iterations tolerance noslip_iterations noslip_tolerance mpr_iterations mpr_tolerance "
    "o_margin o_solref o_solimp disableflags enableflags"
)
NAMED = {
    "body": "nbody",
    "joint": "njnt",
    "geom": "ngeom",
    "site": "nsite",
    "actuator": "nu",
    "sensor": "nsensor",
}
LAST = ("last_dist_goal", "last_dist_box", "last_box_goal", "old_potential")
"""State of the previous step that the rewards of the tasks depend on."""


class WithoutTextures:
    """MuJoCo's module for the original's builder, compiling models without their textures.

    Textures play no part in physics and take 99 % of the time of a reset.
    """

    class MjModel(mujoco.MjModel):  # type: ignore[misc]
        """The class whose constructor from XML is replaced."""

        @staticmethod
        def from_xml_string(xml: str) -> Any:
            """Compile without textures."""
            bare = re.sub(r"<texture\b[^>]*?(/>|>\s*</texture>)", "", xml)
            bare = re.sub(r'(<material\b[^>]*?) texture="[^"]*"', r"\1", bare)
            return mujoco.MjModel.from_xml_string(bare)

    def __getattr__(self, name: str) -> Any:
        return getattr(mujoco, name)


@dataclass(eq=False)
class Snapshot:
    """Everything a step depends on, except the layout of the episode."""

    values: dict[str, np.ndarray]


@dataclass
class Row:
    """One step: the state before, the action, what came out, the state after."""

    reset: int
    step: int
    before: Snapshot
    action: np.ndarray
    obs: np.ndarray
    reward: float
    cost: float
    costs: dict[str, float]
    ended: tuple[bool, bool, bool]
    after: Snapshot
    events: frozenset[str]


@dataclass
class Free:
    """A run of which only the outcome is kept."""

    reset: int
    actions: list[np.ndarray] = field(default_factory=list)
    outcome: list[np.ndarray] = field(default_factory=list)


class Oracle:
    """One original environment and what is read from it."""

    def __init__(self, task: str) -> None:
        self.agent = re.match("[A-Z][a-z]+", task)[0]  # type: ignore[index]
        self.env = safety_gymnasium.make(f"Safety{task}-v0").unwrapped
        self.task = self.env.task
        self.resets: list[dict[str, np.ndarray]] = []
        self.seed, self.episode = 0, 0
        self.blocks: list[np.ndarray] = []
        self.count = np.random.RandomState(0)
        self.step_count = 0

    def draws(self) -> int:
        """Count the 32-bit words taken from the generator since it was seeded."""
        _, key, position, *_ = self.task.random_generator.random_generator.get_state()
        for block, known in enumerate(self.blocks):
            if np.array_equal(known, key):
                return WORDS * (block - 1) + int(position)
        self.count.bytes(4 * WORDS)
        self.blocks.append(self.count.get_state()[1])
        return self.draws()

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Reset, remember the episode's layout, return the first observation."""
        before = 0 if seed is not None else self.draws()
        if seed is not None:
            self.seed, self.episode = seed, 0
            self.count = np.random.RandomState(seed)
            self.blocks = [self.count.get_state()[1]]
        else:
            self.episode += 1
        obs, _ = self.env.reset(seed=seed)
        self.step_count = 0
        info, names = self.task.world_info, self.objects()
        config = info.world_config_dict
        placed = {**config["geoms"], **config["free_geoms"]}
        yaws = [config["agent_rot"]]
        yaws += [placed.get(n, placed.get(f"{n}obj", {})).get("rot", np.nan) for n in names[1:]]
        self.resets.append(
            {
                "seed": np.array(self.seed),
                "episode": np.array(self.episode),
                "draws_before": np.array(before),
                "layout": np.array([info.reset_layout[n] for n in names]),
                "yaw": np.array(yaws, float),
                "obs": np.asarray(obs),
                **{k: v for k, v in self.snapshot().values.items() if k != "warmstart"},
            }
        )
        return np.asarray(obs)

    def objects(self) -> list[str]:
        """Return the names of everything that is placed in the layout, in sampling order."""
        return list(self.task.placements_conf.placements)

    def snapshot(self) -> Snapshot:
        """Copy the state of the physics and of the task."""
        task, data, model = self.task, self.task.data, self.task.model
        buttons = getattr(task, "buttons", None)
        goal = model.body("goal").pos if hasattr(task, "goal") else np.full(3, np.nan)
        last = [np.nan if getattr(task, n, None) is None else getattr(task, n) for n in LAST]
        return Snapshot(
            {
                "qpos": data.qpos.copy(),
                "qvel": data.qvel.copy(),
                "warmstart": data.qacc_warmstart.copy(),
                "act": data.act.copy(),
                "time": np.array(data.time),
                "mocap_pos": data.mocap_pos.copy(),
                "mocap_quat": data.mocap_quat.copy(),
                "agent_pos": data.body("agent").xpos.copy(),
                "goal": np.array(goal),
                "button": np.array(-1 if buttons is None else buttons.goal_button),
                "timer": np.array(-1 if buttons is None else buttons.timer),
                "last": np.array(last, float).reshape(-1),
                "draws": np.array(self.draws()),
            }
        )

    def row(self, action: np.ndarray, before: Snapshot) -> Row:
        """Take one step."""
        # The tapes are float32 on disk, and what was applied is exactly that.
        action = np.float32(action).astype(np.float64)
        obs, reward, cost, terminated, truncated, info = self.env.step(action)
        self.step_count += 1
        costs = {k: float(v) for k, v in info.items() if k.startswith("cost_")}
        met = bool(info.get("goal_met", False))
        events = {k for k, v in costs.items() if v > 0} | self.contacts()
        events |= {n for n, on in (("met", met), ("dead", terminated), ("over", truncated)) if on}
        return Row(
            reset=len(self.resets) - 1,
            step=self.step_count - 1,
            before=before,
            action=action,
            obs=np.asarray(obs),
            reward=float(np.asarray(reward).reshape(())),
            cost=float(cost),
            costs=costs,
            ended=(bool(terminated), bool(truncated), met),
            after=self.snapshot(),
            events=frozenset(events),
        )

    def contacts(self) -> set[str]:
        """Return the kinds of objects that the agent touches."""
        data, model = self.task.data, self.task.model
        own = self.task.agent.body_info.geom_names
        kinds = set()
        for contact in data.contact[: data.ncon]:
            pair = [model.geom(g).name for g in (contact.geom1, contact.geom2)]
            if any(n in own for n in pair):
                kinds |= {
                    "touch_" + n.removesuffix("obj").rstrip("0123456789")
                    for n in pair
                    if n not in own
                }
        return kinds - {"touch_floor"}

    def teleport(self, xy: np.ndarray) -> Snapshot:
        """Put the agent at a place, its speed unchanged, and return the state."""
        task, data = self.task, self.task.data
        if self.agent == "Point":
            rotation = data.body("agent").xmat.reshape(3, 3)[:2, :2]
            turned = data.qpos[2]
            back = np.array([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
            axes = rotation @ back
            data.qpos[:2] = axes.T @ (xy - task.model.body("agent").pos[:2])
        else:
            data.qpos[:2] = xy
        mujoco.mj_forward(task.model, data)
        if hasattr(task, "goal"):
            task.last_dist_goal = task.dist_goal()
        if getattr(task, "last_dist_box", None) is not None:
            task.last_dist_box, task.last_box_goal = task.dist_box(), task.dist_box_goal()
        if hasattr(task, "old_potential"):
            task.specific_reset()
        return self.snapshot()

    def bring_box(self, away: np.ndarray) -> np.ndarray:
        """Put the box of a Push task next to the goal; return its position."""
        place = self.task.data.body("goal").xpos[:2] + away
        self.task.data.joint("push_box").qpos[:2] = place
        mujoco.mj_forward(self.task.model, self.task.data)
        return place

    def targets(self) -> list[np.ndarray]:
        """Return the places worth visiting: the goal, a target, objects, or the walls."""
        names = [n for n in self.objects() if n not in ("agent", "circle")]
        bodies = {self.task.model.body(i).name for i in range(self.task.model.nbody)}
        places = []
        for name in names:
            body = f"{name}obj" if f"{name}obj" in bodies else name
            if not body.startswith("sigwall"):
                places.append(self.task.data.body(body).xpos[:2].copy())
        if not places:
            here = self.task.data.body("agent").xpos[:2]
            wide = 0.5 if hasattr(self.task, "old_potential") else 1.125
            y = here[1] if hasattr(self.task, "old_potential") else 0.4
            places = [np.array([wide, y]), np.array([-wide, y]), np.array([0.3, y])]
            if not hasattr(self.task, "old_potential"):
                places += [np.array([0.2, wide]), np.array([0.2, -wide])]
        return places


class Tape:
    """Action tapes: seeded uniform actions, or driving towards one object after another."""

    def __init__(self, oracle: Oracle, kind: str, seed: int) -> None:
        self.oracle, self.kind = oracle, kind
        self.random = np.random.RandomState(10**6 + seed)
        self.space = oracle.env.action_space
        self.held = np.zeros(self.space.shape)
        self.turn = 0

    def action(self, step: int) -> np.ndarray:
        """Return the next action, in the range of the controls."""
        low, high = self.space.low.astype(float), self.space.high.astype(float)
        noise = self.random.uniform(low, high)
        if self.kind == "uniform":
            return noise
        if step % 30 == 0:
            self.held = np.clip(2.0 * noise, low, high)
        if self.oracle.agent in ("Point", "Car") and hasattr(self.oracle.task, "goal"):
            return np.clip(self._steer(step), low, high)
        return np.clip(self.held + 0.1 * noise, low, high)

    def _steer(self, step: int) -> np.ndarray:
        """Head for the goal two times in three, for another object the third."""
        task = self.oracle.task
        places = self.oracle.targets()
        goal = task.data.body("goal").xpos[:2]
        other = places[(step // 120) % len(places)]
        aim = getattr(task, "push_box", None)
        place = goal if (step // 40) % 3 else other
        if aim is not None and (step // 40) % 3 == 1:
            place = task.data.body("push_box").xpos[:2]
        rotation = task.data.body("agent").xmat.reshape(3, 3)
        x, y = (place - task.data.body("agent").xpos[:2]) @ rotation[:2, :2]
        if self.oracle.agent == "Point":
            error = np.arctan2(y, x)
            return np.array([1.0 if abs(error) < 1 else 0.2, 2 * error])
        error = np.arctan2(x, -y)
        speed = 0.6 if abs(error) < 1 else 0.0
        return np.array([speed + error, speed - error])


def played(oracle: Oracle, kind: str, seed: int, steps: int, teleports: bool) -> list[Row]:
    """Play a tape from a seed, over as many episodes as it takes."""
    oracle.reset(seed)
    tape, state = Tape(oracle, kind, seed), oracle.snapshot()
    visits = np.random.RandomState(2 * 10**6 + seed)
    rows: list[Row] = []
    for step in range(steps):
        if teleports and step % 6 == 0:
            places = oracle.targets()
            place = places[(step // 6) % len(places)]
            angle, away = visits.uniform(0, 2 * np.pi), visits.uniform(0.12, 0.45)
            way = np.array([np.cos(angle), np.sin(angle)])
            place = place + away * way
            if hasattr(oracle.task, "push_box") and step % 18 == 0:
                place = oracle.bring_box(away * way) + 0.45 * way
            state = oracle.teleport(place)
        row = oracle.row(tape.action(step), state)
        rows.append(row)
        state = row.after
        if row.ended[0] or row.ended[1]:
            oracle.reset()
            state = oracle.snapshot()
    return rows


def free_run(oracle: Oracle, seed: int, steps: int) -> Free:
    """Play uniform actions; keep only the agent's position, the reward and the cost."""
    oracle.reset(seed)
    free, tape = Free(len(oracle.resets) - 1), Tape(oracle, "uniform", seed)
    for step in range(steps):
        row = oracle.row(tape.action(step), Snapshot({}))
        free.actions.append(row.action)
        place = row.after.values["agent_pos"]
        free.outcome.append(np.array([row.reward, row.cost, *row.ended, *place, row.obs.sum()]))
        if row.ended[0] or row.ended[1]:
            break
    return free


def chosen(runs: list[list[Row]], wanted: int, each: int, opening: int) -> list[list[Row]]:
    """Choose windows of steps: openings, the first steps of every kind of event, then any."""
    windows: list[list[Row]] = [run[:opening] for run in runs[:2]]
    taken = {id(row) for window in windows for row in window}
    seen: dict[str, int] = {}

    def take(run: list[Row], start: int, length: int) -> None:
        window = [r for r in run[max(start, 0) : start + length] if id(r) not in taken]
        taken.update(id(row) for row in window)
        if window:
            windows.append(window)

    for run in runs:
        before: frozenset[str] = frozenset()
        for i, row in enumerate(run):
            new = {e for e in row.events - before if seen.get(e, 0) < each}
            before = row.events
            if new:
                for event in new:
                    seen[event] = seen.get(event, 0) + 1
                if id(row) not in taken:
                    take(run, i - 1, 4)
    random = np.random.RandomState(0)
    while len(taken) < min(wanted, sum(len(run) for run in runs)):
        run = runs[random.randint(len(runs))]
        take(run, random.randint(len(run)), 4)
    print("   events:", {k: seen[k] for k in sorted(seen)})
    return windows


def quantised(obs: np.ndarray) -> np.ndarray:
    """Round to the grid on which observations are stored."""
    return np.round(np.asarray(obs) / OBS_GRID) * OBS_GRID


def model_facts(oracle: Oracle) -> dict[str, Any]:
    """Return the compiled model's constants: those of the first reset."""
    model = oracle.task.model
    facts = {n: np.array(getattr(model, n)).tolist() for n in MODEL_ARRAYS.split()}
    facts |= {f"opt_{n}": np.array(getattr(model.opt, n)).tolist() for n in OPTIONS.split()}
    for kind, count in NAMED.items():
        names = [getattr(model, kind)(i).name for i in range(getattr(model, count))]
        facts[f"{kind}_names"] = names
    return facts


def recorded(task: str, steps: int, opening: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Record one task: its traces and the constants of its model."""
    oracle = Oracle(task)
    oracle.env.reset(seed=0)
    facts = model_facts(oracle)
    walker = oracle.agent in ("Doggo", "Ant")
    runs = [
        played(oracle, "uniform", 0, 300 if oracle.agent == "Ant" else 1010, False),
        played(oracle, "drive", 1, 600 if not walker else 150, False),
        played(oracle, "drive", 2, 300, True),
        played(oracle, "uniform", 3, 120, True),
    ]
    windows = chosen(runs, steps, 3, opening)
    frees = [free_run(oracle, seed, 100) for seed in (4, 5)]
    for seed in range(6, 10):
        oracle.reset(seed)
        oracle.reset()
    used = {r.reset for w in windows for r in w} | {f.reset for f in frees}
    # Short-lived episodes of Ant would fill the file with layouts that nothing refers to.
    keep = [i for i, r in enumerate(oracle.resets) if i in used or r["episode"] <= 1]
    return packed(oracle, windows, frees, keep), facts


def packed(
    oracle: Oracle, windows: list[list[Row]], frees: list[Free], keep: list[int]
) -> dict[str, np.ndarray]:
    """Lay the windows out as arrays."""
    states: dict[int, Snapshot] = {}
    rows = [row for window in windows for row in window]
    for row in rows:
        for snapshot in (row.before, row.after):
            states.setdefault(id(snapshot), snapshot)
    index = {key: i for i, key in enumerate(states)}
    place = {reset: i for i, reset in enumerate(keep)}
    resets = [oracle.resets[i] for i in keep]
    costs = sorted({k for row in rows for k in row.costs})
    out = {f"reset_{k}": np.array([r[k] for r in resets]) for k in resets[0]}
    out["reset_obs"] = quantised(out["reset_obs"])
    snapshots = list(states.values())
    for key in snapshots[0].values:
        out[f"state_{key}"] = np.array([s.values[key] for s in snapshots])
    out |= {
        "object_names": np.array(oracle.objects()),
        "cost_names": np.array(costs),
        "step_reset": np.array([place[r.reset] for r in rows]),
        "step_index": np.array([r.step for r in rows]),
        "step_before": np.array([index[id(r.before)] for r in rows]),
        "step_after": np.array([index[id(r.after)] for r in rows]),
        "step_action": np.array([r.action for r in rows], np.float32),
        "step_obs": quantised(np.array([r.obs for r in rows])),
        "step_reward": np.array([r.reward for r in rows]),
        "step_cost": np.array([r.cost for r in rows]),
        "step_costs": np.array([[r.costs.get(k, np.nan) for k in costs] for r in rows]),
        "step_terminated": np.array([r.ended[0] for r in rows]),
        "step_truncated": np.array([r.ended[1] for r in rows]),
        "step_goal_met": np.array([r.ended[2] for r in rows]),
        "free_reset": np.array([place[f.reset] for f in frees for _ in f.actions]),
        "free_action": np.array([a for f in frees for a in f.actions], np.float32),
        "free_outcome": np.array([o for f in frees for o in f.outcome]),
        "versions": np.array(
            [
                f"safety-gymnasium {safety_gymnasium.__version__}",
                f"mujoco {mujoco.__version__}",
                f"numpy {np.__version__}",
                f"python {platform.python_version()}",
            ]
        ),
    }
    return {k: v for k, v in out.items() if v.size}


def main() -> None:
    """Record the tasks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    options = parser.parse_args()
    safety_gymnasium.world.mujoco = WithoutTextures()
    for task in options.tasks:
        print(task, flush=True)
        walker = task.startswith(("Doggo", "Ant"))
        crowded = task.endswith(("Goal2", "Button2"))
        steps = options.steps or (70 if walker or crowded else 130)
        noise = io.StringIO()
        with contextlib.redirect_stderr(noise):
            arrays, facts = recorded(task, steps, 10 if walker else 20)
        (options.into / f"{task}.json").write_text(json.dumps(facts), encoding="utf-8")
        file = options.into / f"{task}.npz"
        np.savez_compressed(file, **arrays)
        print(
            f"   {len(arrays['step_reset'])} steps, {file.stat().st_size / 1000:.0f} kB", flush=True
        )


if __name__ == "__main__":
    main()
