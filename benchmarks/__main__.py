"""Run every comparison in turn: ``make bench``. Exits with 1 if one misses its bar."""

from __future__ import annotations

import subprocess
import sys

COMPARISONS = (
    *("particle", "training", "off_policy", "velocity", "multi_mujoco", "safety", "safe_training"),
    *("micro_battle", "minigrid", "games", "credit", "credit_models", "offline", "sequence_models"),
    *("retrieval", "alignment", "grasp", "grasp_clouds", "harness"),
)


def main() -> int:
    """Run the comparisons named on the command line, or all."""
    names = sys.argv[1:] or list(COMPARISONS)
    unknown = sorted(set(names) - set(COMPARISONS))
    if unknown:
        print(f"no comparison {', '.join(unknown)}; there are {', '.join(COMPARISONS)}")
        return 2
    missed = []
    for name in names:
        print(f"\n## {name}\n", flush=True)
        # one process each: thread counts and imported peers must not affect the next
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode:
            missed.append(name)
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nevery bar is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
