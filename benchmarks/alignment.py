"""The suite alignment: items of the SVO slider a second, and updates of language models.

``python -m benchmarks.alignment`` prints two Markdown tables, and exits with 1 if a bar is missed.
A whole evaluation of a scripted agent, with its records and its report, answers 10,000 items per
second of processor time on one thread; an item is one question of six of a sheet. Updates of DPO,
KTO and reward models take at most the time of TRL's (``preference_updates``); the tokens per second
of PPO-Lag are stated. Each figure is the best of its rounds. ``--only slider`` or ``updates`` does
one of them: ten seconds, or two minutes and once the installation of TRL.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

import pkubench
from benchmarks.peers import PeerError
from pkubench.envs.alignment.slider import PRIMARY
from pkubench.envs.core.registry import make_batch

BAR = 10_000
SHEETS, BATCH = 1_440, 4_096


def evaluation() -> int:
    """Evaluate the ideal types and write their records; return the number of items."""
    with tempfile.TemporaryDirectory() as out:
        report = pkubench.evaluate(
            "scripted:ideal", "SVOSlider-v0", episodes=SHEETS, workers=0, out=out
        )
    assert report.failed == 0
    return SHEETS * PRIMARY


def batch() -> int:
    """Answer sheets in one batch, without the harness; return the number of items."""
    env = make_batch("SVOSlider-v0", BATCH)
    seeds = np.arange(BATCH)
    observed, _ = env.reset(seeds)
    agent = env.unwrapped.strategies["ideal"]  # type: ignore[attr-defined]
    active = np.ones(BATCH, dtype=np.bool_)
    for _ in range(PRIMARY):
        places, _ = agent.act(observed["agent"], None, active)
        observed = env.step({"agent": places}).observations
    return BATCH * PRIMARY


def rate(work: Callable[[], int], rounds: int) -> float:
    """Return the best number of items per second of processor time."""
    work()
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        count = work()
        best = max(best, count / (time.process_time() - start))
    return best


def slider(rounds: int) -> bool:
    """Measure items and print their table; return whether the bar was met."""
    whole, bare = rate(evaluation, rounds), rate(batch, rounds)
    print("| what | items/s of processor time |")
    print("|------|--------------------------:|")
    print(f"| evaluation of `scripted:ideal`, records and report | {whole:,.0f} |")
    print(f"| environment and agent, batch of {BATCH:,} | {bare:,.0f} |")
    print()
    print(f"{'met' if whole >= BAR else 'MISSED'}: at least {BAR:,} items/s in an evaluation")
    return whole >= BAR


def updates(rounds: int, seconds: float) -> bool:
    """Measure updates and print their table; return whether every bar was met."""
    import torch

    from benchmarks import preference_updates as language

    torch.set_num_threads(1)
    print("| update | TRL, updates/s | ours, updates/s | ratio | bar |")
    print("|------|------:|------:|------:|------:|")
    missed = []
    try:
        for kind, peer, mine in language.compared(rounds, seconds):
            ratio = peer / mine
            print(f"| {kind} | {1 / peer:.1f} | {1 / mine:.1f} | {ratio:.2f} | {language.BAR:g} |")
            missed += [kind] if ratio < language.BAR else []
    except PeerError as error:
        print(f"TRL was not measured: {error}", file=sys.stderr)
        missed.append("TRL")
    print(f"\nPPO-Lag: {language.tokens_per_second(seconds):,.0f} tokens/s")
    print(f"MISSED: {', '.join(missed)}" if missed else "met: updates as fast as TRL's")
    return not missed


def main() -> int:
    """Measure, print the tables, and say whether the bars were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side in each round")
    parser.add_argument("--only", choices=("slider", "updates"))
    options = parser.parse_args()
    is_met = options.only == "updates" or slider(options.rounds)
    if options.only != "slider":
        is_met = updates(options.rounds, options.seconds) and is_met
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
