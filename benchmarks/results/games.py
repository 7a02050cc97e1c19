"""Population learners on matrix games and game trees: exploitability under equal budgets.

``make results-games`` runs what has no record yet, one run after the other, and writes
``docs/results/games.md``. It can be stopped and started again at any time: each finished run is in
its row's record. The matrix games take minutes, the trees hours; ``--only`` chooses rows by a
regular expression on ``AGENT GAME`` (``AGENT+SETTING=VALUE GAME`` where settings are changed),
``--seconds`` limits the time. The stage ``ablation`` is of the section with that name.

    python -m benchmarks.results.games --stage train --only matrix:
    python -m benchmarks.results.games --stage table
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import pkubench
from benchmarks.results import games_ablation, games_page
from benchmarks.results.game_records import MIXTURE, GameRow, read, write
from pkubench.agents.components import as_plain, changed
from pkubench.agents.families.psro.learner import GameLearner
from pkubench.agents.families.psro.mixture_points import PointSpace, mixture_settings
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.presets import PRESETS
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.training import learner
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.trees import registered_game

METHODS = ("psro", "p-psro", "psro-rn", "dpp-psro", "bd-rd-psro", "psd-psro", "self-play")
SKILL = tuple(f"matrix:game_of_skill(888,{seed})" for seed in range(5))
TREES = ("KuhnPoker-v0", "LeducPoker-v0", "LiarsDice5-v0", "Goofspiel5-v0")
SOLVERS = ("anytime-psro", "sp-psro", "xdo", "xdo-exact", "mmd", "mmd-magnet")
SAMPLED = ("nfsp", "deep-cfr")
ON_TREES = (*METHODS[:-1], "psd-psro-hull", "cfr+", *SOLVERS, *SAMPLED)
DETERMINISTIC = ("cfr+", "mmd", "mmd-magnet")
"""All seeds give the same run."""
PUBLISHED_MMD: dict[tuple[str, str], tuple[tuple[str, float], ...]] = {
    ("mmd", "LeducPoker-v0"): (("alpha", 5.0),),
    ("mmd", "LiarsDice5-v0"): (("eta", 2.0),),
}
"""Where MMD's authors anneal from other numbers than 1."""
DEEP = ("psro-deep", "psd-psro-deep")
EQUAL_STEP = (("diversity_step", 0.5),)
"""PSD-PSRO's diverse responses with the step of every other method. The published 0.6 lowers PE by
itself (see the ablation), so rows named ``psd-psro`` take equal steps, and those named
``psd-psro-0.6`` are as published."""


def _matrix_rows(game: str, methods: Sequence[str]) -> Iterator[GameRow]:
    """Yield a matrix game's rows, with the official settings and PSD-PSRO in both forms."""
    for method in methods:
        row = GameRow(f"{method}-paper", game, 200, 10, every=5)
        if method == "psd-psro":
            yield replace(row, changes=EQUAL_STEP)
            row = replace(row, label="psd-psro-0.6")
        yield row


ROWS = (
    *(
        row
        for game in (SKILL[0], "matrix:blotto(10,3)", "matrix:blotto(10,4,payoff=margin)")
        for row in _matrix_rows(game, METHODS)
    ),
    *(GameRow(method, "matrix:blotto(10,3)", 200, 10, every=5) for method in SOLVERS[:2]),
    *(GameRow(method, MIXTURE, 50, 10, every=5) for method in (*METHODS, "bd-rd-psro-official")),
    *(row for game in SKILL[1:] for row in _matrix_rows(game, ("p-psro", "psd-psro"))),
    *(
        GameRow(
            method,
            game,
            200,
            1 if method in DETERMINISTIC else 5,
            1 if game == TREES[0] else 10,
            PUBLISHED_MMD.get((method, game), ()),
        )
        for game in TREES
        for method in ON_TREES
    ),
    *(GameRow(method, "LeducPoker-v0", 162, 3, every=9) for method in DEEP),
)


def started(row: GameRow, seed: int) -> tuple[GameLearner, Mapping[str, Any], float]:
    """Return a run's learner, its settings and the largest payoff."""
    if row.game == MIXTURE:
        config = mixture_settings(row.agent)
        return PopulationLearner(PointSpace(config), config, seed), as_plain(config), 1.0
    settings = changed(PRESETS[row.agent], dict(row.changes))
    plain = as_plain(settings)
    game = registered_game(row.game)
    # Payoffs of matrix games are in units of the largest one, as in the published figures.
    scale = game.max_utility if isinstance(game, MatrixGame) else 1.0
    if isinstance(settings, PSROConfig):
        settings = replace(settings, pe_every=10**9)
    made = learner(settings, row.game, seed)
    return made, plain, scale


def yardstick() -> float:
    """Return the processor seconds that one fixed learning takes now.

    Processor time leaves out other processes, but they take cache and memory bandwidth: on a busy
    machine a run has taken twice the seconds. A quicker release has other seconds, too.
    """
    made, before = learner(PRESETS["p-psro-paper"], SKILL[0], 0), time.process_time()
    for _ in range(40):
        made.advance()
    return time.process_time() - before


def run(row: GameRow, seed: int) -> dict[str, Any]:
    """Do one run and return its record."""
    measures = [yardstick()]
    made, settings, scale = started(row, seed)
    spent = 0.0
    curve: dict[str, list[float]] = {}

    def point() -> None:
        figures = made.measure(last=True)
        # A symmetric matrix game has one population: its exploitability is that of one side.
        figures["pe"] = figures["population_exploitability"] / 2.0
        kept = {name: figures[name] / scale for name in ("exploitability", "pe")}
        kept |= {"episodes": figures.get("episodes", 0.0), "policies": figures["policies"]}
        for name, value in {"iterations": made.iteration, "seconds": spent, **kept}.items():
            curve.setdefault(name, []).append(float(f"{value:.6g}"))

    point()
    while made.iteration < row.iterations and not made.finished:
        before = time.process_time()  # other work on the machine must not count
        made.advance()
        spent += time.process_time() - before
        is_last = made.iteration == row.iterations or made.finished
        if is_last or made.iteration % row.every == 0:
            point()
    measures.append(yardstick())
    return {
        "seed": seed,
        "finished": bool(made.finished),
        "yardstick": float(f"{np.mean(measures):.3g}"),
        "curve": curve,
        "settings": dict(settings),
        **({"plane": plane(row, made)} if seed == 0 and row.every < row.iterations else {}),
    }


def plane(row: GameRow, made: GameLearner) -> list[list[float]] | None:
    """Return a population as points of a plane: the model's, or that of a game's main directions.

    These are the first two right singular vectors of the payoffs, the same for every method.
    """
    points = made.plans()[0]
    if row.game != MIXTURE:
        game = registered_game(row.game)
        if not isinstance(game, MatrixGame):
            return None
        payoff = game.payoff / game.max_utility
        directions = np.linalg.svd(payoff)[2][:2]
        points = points @ payoff @ directions.T
    return [[float(f"{value:.4g}") for value in point] for point in points]


@dataclass
class Clock:
    """Limits the time of the work."""

    seconds: float
    started: float = 0.0

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() - self.started > self.seconds


def train(rows: Sequence[GameRow], seconds: float, *, seeds_first: bool = False) -> None:
    """Do every run that has no record, and write each when it is done.

    Args:
        rows: The rows.
        seconds: No run starts later than this.
        seeds_first: Do the first seed of all rows before the second, so that a comparison stands
            early with few seeds.
    """
    clock = Clock(seconds, time.monotonic())
    jobs = [(row, seed) for row in rows for seed in range(row.seeds)]
    if seeds_first:
        jobs.sort(key=lambda job: job[1])
    for row, seed in jobs:
        done = read(row)
        if seed < len(done):
            continue
        if clock.is_over():
            print(f"time is up before {row.path.stem} {row.game} seed {seed}", flush=True)
            return
        before = time.perf_counter()
        done.append(run(row, seed))
        write(row, done, {"pkubench": pkubench.__version__, "numpy": np.__version__})
        last = {name: values[-1] for name, values in done[-1]["curve"].items()}
        print(
            f"{row.path.stem} {row.game} seed {seed}: exploitability "
            f"{last['exploitability']:.4g}, PE {last['pe']:.4g}, {last['seconds']:.1f} s of "
            f"learning, {time.perf_counter() - before:.1f} s in all",
            flush=True,
        )


def main() -> None:
    """Run the stages that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stage", choices=("all", "train", "ablation", "table"), default="all")
    parser.add_argument(
        "--only", default="", help="rows whose 'AGENT[+SETTING=VALUE] GAME' this matches"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"))
    args = parser.parse_args()
    if args.stage in ("all", "train"):
        chosen = [row for row in ROWS if re.search(args.only, f"{row.path.stem} {row.game}")]
        train(chosen, args.seconds)
    if args.stage in ("all", "ablation"):
        chosen = [
            row
            for row in games_ablation.rows()
            if re.search(args.only, f"{row.path.stem} {row.game}")
        ]
        train(chosen, args.seconds, seeds_first=True)
    if args.stage in ("all", "table"):
        page = Path(__file__).parents[2] / "docs/results/games.md"
        page.write_text(games_page.page_of(ROWS, page))
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
