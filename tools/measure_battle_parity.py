"""Measures how close MicroBattle is to JaxMARL's SMAX, live.

``python -m tools.measure_battle_parity`` makes an environment with JaxMARL (once, some minutes),
records moments of battles there from another seed than the tests', repeats each step here, and
prints by how much they differ. Then it plays whole battles in both, allies at random and by the
script, and prints returns and win rates with their standard errors. Exits with 1 if a step differs
by more than 1e-5, a decision at all, or a mean by more than three standard errors of the
difference.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.micro_battle import JAXMARL
from benchmarks.peers import peer_python, run_peer
from tests.envs.smax_replay import decision_errors, load, step_errors
from tests.envs.test_micro_battle import play

MAPS = {
    "3m": "3m",
    "2s3z": "2s3z",
    "3s5z": "3s5z",
    "5m_vs_6m": "5m_vs_6m",
    "6h_vs_8z": "6h_vs_8z",
    "3s5z_vs_3s6z": "3s5z_vs_3s6z",
    "random5": "smacv2_5_units",
    "random10": "smacv2_10_units",
}
"""Our names of scenarios -> JaxMARL's."""


def compare_steps(moments: int, seed: int) -> bool:
    """Record and repeat single steps; print the differences, and return whether they are small."""
    python = peer_python("jaxmarl", JAXMARL)
    recorder = Path(__file__).parent / "record_smax.py"
    is_small = True
    with tempfile.TemporaryDirectory() as folder:
        options = ["--moments", str(moments), "--full", str(moments), "--seed", str(seed)]
        subprocess.run([python, recorder, folder, *options], check=True)
        for file in sorted(Path(folder).glob("*.npz")):
            found = load(file)
            differences, wrong = step_errors(file.stem, found), decision_errors(file.stem, found)
            largest = max(differences, key=lambda name: differences[name])
            print(
                f"{file.stem}: {moments} steps differ by at most {differences[largest]:.1e} "
                f"({largest}), {wrong} decisions differ"
            )
            is_small &= differences[largest] < 1e-5 and wrong == 0
    return is_small


def compare_outcomes(maps: list[str], episodes: int) -> bool:
    """Play battles here and there; print means, and return whether they agree."""
    agree = True
    theirs = run_peer(
        *("jaxmarl", JAXMARL, "jaxmarl_smax.py", "outcomes", str(episodes)),
        *(MAPS[name] for name in maps),
        timeout_s=7200,
    )
    for name in maps:
        for team in ("random", "heuristic"):
            returns, won = play(team, name, episodes)
            for what, values in (("return", returns), ("battle_won", won)):
                mean, error = float(np.mean(values)), float(np.std(values)) / episodes**0.5
                other, other_error = theirs[MAPS[name]][team][what]
                apart = abs(mean - other) / max((error**2 + other_error**2) ** 0.5, 1 / episodes)
                print(
                    f"{name} {team} {what}: {mean:.3f} +- {error:.3f}, JaxMARL {other:.3f} +- "
                    f"{other_error:.3f}: {apart:.1f} standard errors"
                )
                agree &= apart < 3
    return agree


def main() -> int:
    """Compare both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=60, help="of each recorded scenario")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("maps", nargs="*", default=list(MAPS), help="for whole battles")
    options = parser.parse_args()
    is_same = compare_steps(options.moments, options.seed) if options.moments else True
    is_same &= compare_outcomes(options.maps, options.episodes)
    print("equal" if is_same else "DIFFERENT")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
