"""Measures how close the navigation environments are to the recordings of the original.

``python -m tools.measure_navigation_parity`` prints the figures of ``docs/concepts/parity.md``: the
shares of steps that agree, on each task's worst and best level, and how far free runs diverge.
"""

from __future__ import annotations

import numpy as np

from tests.envs.safety_replay import make_env, restore
from tests.envs.test_safety_parity import EXACT, ONE_STEP, TASKS, family, free_runs, trace_of

ROBOTS = ("Point", "Car", "Doggo", "Ant")


def shares_of(task: str) -> tuple[float, float]:
    """Return the shares of rows that agree: on the copied state, and after one step."""
    trace = trace_of(task)
    arrays = trace.arrays
    before, after, resets = (arrays[f"step_{key}"] for key in ("before", "after", "reset"))
    env = make_env(task, trace.num_steps)
    restore(env, trace, after, resets, task=after)
    env.ctrl[:] = np.clip(arrays["step_action"], env._low, env._high)
    env.batch.forward()
    copied = np.abs(env._observation() - arrays["step_obs"]).max(axis=1) < EXACT
    restore(env, trace, before, resets, task=before)
    step = env.step({"agent": arrays["step_action"].astype(np.float64)})
    stepped = np.abs(step.observations["agent"] - arrays["step_obs"]).max(axis=1) < ONE_STEP
    return float(copied.mean()), float(stepped.mean())


def main() -> None:
    """Print both tables."""
    found: dict[str, list[tuple[float, float]]] = {}
    for task in TASKS:
        found.setdefault(family(task), []).append(shares_of(task))
    print("share of rows that agree, worst to best level: copied state, one step")
    for name, levels in found.items():
        low, high = np.min(levels, axis=0), np.max(levels, axis=0)
        print(f"{name:12} {low[0]:.3f} to {high[0]:.3f}   {low[1]:.3f} to {high[1]:.3f}")
    print("\nfree runs from a copied start: metres apart after so many steps")
    for robot in ROBOTS:
        runs = [run for task in TASKS if task.startswith(robot) for run in free_runs(task)]
        for steps in (1, 10, 30, 100):
            apart = np.array([run[steps - 1] for run in runs if len(run) >= steps])
            if len(apart):
                close = int((apart < 1e-12).sum())
                print(
                    f"{robot:6} {steps:4} steps: median {np.median(apart):.0e}, largest "
                    f"{apart.max():.0e}, {close} of {len(apart)} runs below 1e-12"
                )


if __name__ == "__main__":
    main()
