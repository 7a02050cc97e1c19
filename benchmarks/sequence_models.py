"""The Decision Transformer's speed: training beside the transformers library, acting with a cache.

``python -m benchmarks.sequence_models`` prints two Markdown tables, and exits with 1 if a bar is
missed. Training: at the same sizes (those of ``dt-paper`` and ``dt``), in float32 on one thread, a
gradient step of ours, the drawing of its windows included, takes at most 1/1.2 of the time that the
library's model takes, which runs in its own virtual environment. Both take turns, and the fastest
step of each counts, in processor time. Acting: 16 episodes that are no longer than the window take
at most a fifth of the time with cached keys and values of what they take the published way, with a
window that is padded to its full length and computed whole at every step. The table also has what
is between the two: windows computed from their first token on, without padding, for the last step
alone. All are in double precision, as agents act here; tests hold them to the same numbers.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch.nn.functional import pad

from benchmarks.peers import TRANSFORMERS, PeerError, run_peer
from pkubench.agents.contract import BoolArray, FloatArray, Outcome
from pkubench.agents.registry import preset
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.offline.acting import DecisionPolicy, DecisionSettings, Window
from pkubench.agents.rl.offline.data import prepare
from pkubench.agents.rl.offline.learners.decision import DecisionLearner
from pkubench.agents.rl.offline.methods.base import Setup
from pkubench.agents.rl.offline.models.decision import Steps
from pkubench.data.episodes import Episodes, EpisodesBuilder

TRAINING_BAR, ACTING_BAR = 1.2, 5.0
STATES, ACTIONS, STEPS, EPISODES = 11, 3, 200, 20
BLOCK = 16
"""Episodes that act together, as in evaluations."""


def data() -> Episodes:
    """Return episodes of random numbers, of the sizes of Hopper."""
    rng, builder = np.random.default_rng(0), EpisodesBuilder()
    for _ in range(EPISODES):
        seen = rng.standard_normal((STEPS + 1, STATES)).astype(np.float32)
        acted = rng.uniform(-1, 1, (STEPS, ACTIONS)).astype(np.float32)
        builder.add(seen, acted, rng.random(STEPS), terminated=False)
    return builder.build()


def learner(agent: str) -> DecisionLearner:
    """Return the learner of an agent's settings on that data."""
    config = preset(agent).config()
    box = spaces.Box(-np.inf, np.inf, (STATES,), np.float32)
    unit = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    made: Any = config.method.start(
        Setup(
            data=prepare(data(), box, unit),
            batch_size=config.batch_size,
            seed=0,
            total=1000,
            horizon=1000,
        )
    )
    return made  # type: ignore[no-any-return]


def step_seconds(made: DecisionLearner, seconds: float) -> float:
    """Return the processor seconds of the fastest gradient step."""
    rng, best, end = np.random.default_rng(0), float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        made.update(rng)
        best = min(best, time.process_time() - start)
    return best


def episode_seconds(policy: DecisionPolicy, steps: int) -> float:
    """Return the processor seconds in which a block of episodes acts ``steps`` times."""
    seen = np.random.default_rng(0).standard_normal((steps, BLOCK, STATES)).astype(np.float32)
    outcome, active = Outcome(np.ones(BLOCK), None), np.ones(BLOCK, np.bool_)
    start = time.process_time()
    state = policy.begin(np.arange(BLOCK))
    for observation in seen:
        _, state = policy.act(observation, state, active)
        state = policy.observe(outcome, state)
    return time.process_time() - start


class PaddedPolicy(DecisionPolicy):
    """Acts the published way."""

    def _outputs(self, state: Window, active: BoolArray) -> FloatArray:
        steps = self._steps(state, len(state.states), slice(None))
        missing = self.settings.context - steps.times.shape[1]
        padded = [pad(part, (0, 0) * (part.ndim - 2) + (0, missing)) for part in steps]
        found: FloatArray = self.net(Steps(*padded)).numpy()[:, steps.times.shape[1] - 1]
        return found


def policies(made: DecisionLearner) -> list[DecisionPolicy]:
    """Return the learner's policy in its three forms, the slowest first."""
    unit = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    settings = DecisionSettings(
        space=unit,
        head="tanh",
        context=made.method.context,
        return_scale=made.scale,
        mean=made.data.mean,
        std=made.data.std,
    )
    return [
        PaddedPolicy(made.net, settings, 100.0, is_cached=False),
        DecisionPolicy(made.net, settings, 100.0, is_cached=False),
        DecisionPolicy(made.net, settings, 100.0),
    ]


def main() -> int:
    """Measure in turns, print the tables, and compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each side in each round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    missed = []
    print("| training | transformers, steps/s | ours, steps/s | ratio | bar |")
    print("|------|------:|------:|------:|------:|")
    for agent in ("dt-paper", "dt"):
        made = learner(agent)
        method = made.method
        sizes = (method.width, method.layers, method.heads, method.context)
        shape = (options.seconds, *sizes, made.setup.batch_size, STATES, ACTIONS)
        peer = mine = float("inf")
        try:
            for _ in range(options.rounds):
                found = run_peer(*TRANSFORMERS[:2], "sequence_peer.py", *map(str, shape))
                peer = min(peer, found["seconds"])
                mine = min(mine, step_seconds(made, options.seconds))
        except PeerError as error:
            print(f"transformers was not measured: {error}", file=sys.stderr)
            return 1
        ratio = peer / mine
        print(f"| {agent} | {1 / peer:.1f} | {1 / mine:.1f} | {ratio:.2f} | {TRAINING_BAR:g} |")
        missed += [f"training {agent}"] if ratio < TRAINING_BAR else []
    print("\n| a step of 16 episodes | padded, ms | not padded | cached | ratio | bar |")
    print("|------|------:|------:|------:|------:|------:|")
    for agent in ("dt-paper", "dt"):
        made = learner(agent)
        steps = made.method.context
        sides = policies(made)
        best = [min(episode_seconds(of, steps) for _ in range(4 * options.rounds)) for of in sides]
        padded, plain, cached = (1000 * seconds / steps for seconds in best)
        ratio = padded / cached
        times = f"{padded:.2f} | {plain:.2f} | {cached:.2f}"
        print(f"| {agent} | {times} | {ratio:.1f} | {ACTING_BAR:g} |")
        missed += [f"acting {agent}"] if ratio < ACTING_BAR else []
    print(f"\nMISSED: {', '.join(missed)}" if missed else "\nmet: both bars")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
