"""How good is the credit itself? Models fitted to the same episodes, against exact answers.

``python -m benchmarks.results.credit_quality`` fits what has no record of the present settings, and
writes ``docs/results/credit-quality.md``; it can be stopped and started again. No policy is
trained: each method of a seed gets the same random episodes, and as many steps of Adam.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces

from benchmarks.results.records import RECORDS
from benchmarks.results.rows import ROOT
from pkubench.agents.registry import preset
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.rl.credit.base import CreditContext
from pkubench.agents.rl.credit.episodes import Episodes, episodes_of, spans_of
from pkubench.agents.rl.credit.models.base import LearnedModel
from pkubench.agents.rl.credit.replay import EpisodeReplay
from pkubench.agents.rl.credit.shapley import shapley_error
from pkubench.agents.rl.credit.uniform import IRCRModel
from pkubench.agents.rl.on_policy.saved_credit import Moments, RecordedCredit, rollout_of, start
from pkubench.cli.credit import HEADS
from pkubench.envs.core.batch import BatchEnv, FloatArray
from pkubench.envs.core.recording import Recorder, Recording
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.envs.credit.alice_and_bob import VALUE_DISCOUNT, AliceAndBob
from pkubench.envs.credit.alice_and_bob_table import ACTIONS, optimal_values
from pkubench.evaluation.credit_quality import (
    quality,
    recorded,
    recorded_as_planned,
)
from pkubench.files import write_json
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

LEARNED = ("stas", "stas-ml", "arel", "tar2", "rudder")
FORMULAS = ("ircr", "uniform", "undecomposed", "difference", "dense")
METHODS = (*LEARNED, *FORMULAS)
SEEDS = 5
EPISODES, HELD_OUT = 20_000, 500
"""Random episodes to fit to, and of each policy to score on."""
BLOCK = 1_000
"""Episodes that are played side by side."""
TABLE = "credit-quality"
PAGE = ROOT / "docs/results" / f"{TABLE}.md"
ALICE = "AliceAndBob-v0"
STEPS = {ALICE: 600, "Navigation3-v0": 2_000}
"""Task -> steps of Adam. Batches on Navigation3 are a quarter as large; policies are trained there
after as many."""
TASKS = tuple(STEPS)
HALF = "half random"
"""AliceAndBob: each agent plays its part of an optimal joint action, or at random, by a coin."""
GAMES: dict[str, FloatArray] = {
    "unanimity": np.array([0, 0, 0, 0, 0, 0, 0, 1.0]),
    "majority": np.array([0, 0, 0, 1, 0, 1, 1, 1.0]),
    "additive": np.array([0, 1, 2, 3, 3, 4, 5, 6.0]),
}
"""Values of the coalitions of three agents (``rl.credit.shapley``)."""
PLAYS, GAME_STEPS = 512, 500


def random_episodes(task: Task, seed: int, count: int) -> Iterator[Recording]:
    """Yield random episodes of training seeds, in blocks."""
    seeds = TrainingSeeds(seed, BLOCK)
    agent = resolve_agent("random", task).runs[0]
    for _ in range(0, count, BLOCK):
        drawn = seeds.next(np.arange(BLOCK)).tolist()
        planned = [Episode(number=k, seed=s, agent_seed=s) for k, s in enumerate(drawn)]
        yield recorded_as_planned(agent.load(), task, planned)


def half_random(task: Task, count: int, seed: int) -> Recording:
    """Return episodes of AliceAndBob whose agents act optimally or at random, by a coin each."""
    env = make_batch(task.id, count, **task.env_kwargs, difference_rewards=True)
    inner, rng = env.unwrapped, np.random.default_rng(seed)
    assert isinstance(inner, AliceAndBob)
    recorder = cast(BatchEnv, Recorder(env))
    recorder.reset(np.arange(count))
    active, known = np.ones(count, np.bool_), inner.table
    values = optimal_values(40, VALUE_DISCOUNT)
    while active.any():
        left = np.maximum(40 - inner.elapsed, 1)
        worth = known.rewards[inner.states]
        worth = worth + VALUE_DISCOUNT * values[left[:, None] - 1, known.following[inner.states]]
        # ties, as while one agent waits, are broken at random
        best = (worth + 1e-6 * rng.random(worth.shape)).argmax(1)
        joint = np.stack([best // ACTIONS, best % ACTIONS], 1)
        is_random = rng.random(joint.shape) < 0.5
        joint = np.where(is_random, rng.integers(ACTIONS, size=joint.shape), joint)
        step = recorder.step({"alice": joint[:, 0], "bob": joint[:, 1]}, active.copy())
        active &= ~(step.terminated | step.truncated)
    return cast(Recorder, recorder).recording()


def held_out(task: Task, seed: int) -> dict[str, Recording]:
    """Return the episodes that credit is scored on, of evaluation seeds."""
    sources = {name: name for name in ("random", task.reference) if name}
    found = {
        name: recorded(resolve_agent(of, task).runs[0].load(), task, HELD_OUT, seed)
        for name, of in sources.items()
    }
    if task.id.endswith(ALICE):
        found[HALF] = half_random(task, HELD_OUT, seed)
    return found


def moments_of(recordings: Sequence[Recording]) -> Moments:
    """Return mean and deviation of the observations of all agents, the same for each."""
    agents = recordings[0].agents
    seen = np.concatenate(
        [of.observations[a][:-1][of.valid] for of in recordings for a in agents]
    ).astype(np.float64)
    mean, deviation = seen.mean(0), np.maximum(seen.std(0), 1e-2)
    return dict.fromkeys(agents, (mean, deviation))


def fit(model: LearnedModel, replay: EpisodeReplay, steps: int) -> None:
    """Take ``steps`` steps of Adam on batches of a replay."""
    for _ in range(-(-steps // model.config.fit_steps)):
        model.fit(replay)


def prepared(task: Task, seed: int) -> tuple[EpisodeReplay, Moments, dict[str, Recording]]:
    """Return what all methods of a seed share: replay, moments, and episodes to score on."""
    recordings = list(random_episodes(task, seed, EPISODES))
    moments = moments_of(recordings)
    # any learned model knows the layout of episodes
    model, ask = start(preset("stas").config(task), task, moments)
    assert isinstance(model, LearnedModel)
    replay = EpisodeReplay(EPISODES, model.layout)
    for of in recordings:
        replay.add(_episodes(of, ask, model))
    return replay, moments, held_out(task, seed)


def _episodes(recording: Recording, ask: RecordedCredit, model: LearnedModel) -> Episodes:
    rollout = rollout_of(recording, ask)
    return episodes_of(rollout, spans_of(rollout), model.layout)


def measure(
    method: str,
    task: Task,
    seed: int,
    shared: tuple[EpisodeReplay, Moments, dict[str, Recording]],
) -> dict[str, Any]:
    """Fit a method and score its credit; return the record."""
    replay, moments, known = shared
    begun = time.process_time()
    model, ask = start(preset(method).config(task), task, moments, seed)
    if isinstance(model, LearnedModel):
        fit(model, replay, steps_on(task))
    elif isinstance(model, IRCRModel):
        returns = replay.state()["returns"]
        model.low, model.high = float(returns.min()), float(returns.max())
    found = {name: quality(ask, of).to_json() for name, of in known.items()}
    return {
        "method": method,
        "task": task.id,
        "seed": seed,
        "settings": settings_of(method, task),
        "processor_seconds": round(time.process_time() - begun, 1),
        "returns": {name: float(of.returns.mean()) for name, of in known.items()},
        "quality": found,
    }


def measure_games(method: str, seed: int) -> dict[str, Any]:
    """Fit a method to one-step games and compare its credit with Shapley values.

    Each of three agents takes part or not; the return is the value of those who do.
    """
    rng, found = np.random.default_rng(seed), {}
    names = ("a", "b", "c")
    context = CreditContext(
        names,
        dict.fromkeys(names, (1,)),
        dict.fromkeys(names, spaces.Discrete(2)),
        (3,),
        "cpu",
        1,
    )
    credit = _of_games(method)
    for name, game in GAMES.items():
        played = rng.integers(2, size=(PLAYS, 3)).astype(np.bool_)
        returns = game[played @ (1 << np.arange(3))]
        plays = Episodes(
            np.ones((PLAYS, 3, 2, 1), np.float32),
            played.astype(np.int64)[..., None],
            np.ones(PLAYS, np.int64),
            returns,
        )
        model = credit.start(context, torch.Generator().manual_seed(seed))
        if isinstance(model, LearnedModel):
            replay = EpisodeReplay(PLAYS, model.layout)
            replay.add(plays)
            fit(model, replay, GAME_STEPS)
        elif isinstance(model, IRCRModel):
            model.low, model.high = float(returns.min()), float(returns.max())
        shares = model.assign(plays)[..., 0]
        found[name] = shapley_error(shares, game, played)
    settings = _plain(credit)
    return {"method": method, "seed": seed, "settings": settings, "errors": found}


def _of_games(method: str) -> Any:
    """Return the credit of a method, with returns of the games' size not scaled down."""
    credit = preset(method).config(None).credit
    return replace(credit, return_scale=1.0) if hasattr(credit, "return_scale") else credit


def settings_of(method: str, task: Task) -> dict[str, Any]:
    """Return what decides a record: the credit's settings, and the sizes here."""
    credit = preset(method).config(task).credit
    return {**_plain(credit), "episodes": EPISODES, "held_out": HELD_OUT, "steps": steps_on(task)}


def steps_on(task: Task) -> int:
    """Return the steps of Adam on a task."""
    return STEPS[task.id.rpartition("/")[2]]


def _plain(credit: Any) -> dict[str, Any]:
    return {"credit": credit.name, **asdict(credit)}


def path_of(method: str, where: str, seed: int) -> Path:
    """Return the path of a record; ``where`` is a task or ``games``."""
    return RECORDS / TABLE / method / where / f"seed{seed}.json"


def read(method: str, where: str, seed: int) -> dict[str, Any] | None:
    """Return the record of the present settings, or None."""
    path = path_of(method, where, seed)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    now = _plain(_of_games(method)) if where == "games" else settings_of(method, make_task(where))
    return found if found["settings"] == json.loads(json.dumps(now)) else None


def section() -> str:
    """Return the tables in Markdown, from the records that there are."""
    return "".join([_HEAD, *(text for task in TASKS for text in _table(task)), *_games_table()])


_HEAD = f"""# Quality of credit

Written by `python -m benchmarks.results.credit_quality`; no figure is entered by hand. No policy is
trained here. The methods of a seed get the same {EPISODES:,} random episodes, and networks take as
many steps of Adam on batches from them, with the settings of the presets (a tenth of a batch are
successes): {" and ".join(f"{n:,} on {task.removesuffix('-v0')}" for task, n in STEPS.items())}.
Credit is scored on {HELD_OUT} new episodes of each policy. `pkubench credit` scores the credit of a
trained agent in the same way. Means over n seeds, with the least and the most in brackets where
seeds differ.

* **RMSE**, **R²**: the sum of an episode's shares as a prediction of its return.
* **time**: correlation of the team's credit with the reward that is withheld, over the steps of an
  episode. **agents**: that of each agent's credit with its difference reward, over the agents of a
  step. **value**: that of the team's credit with what a step gains by the exact value of optimal
  play, V(s') - V(s) plus the reward, discounted by 0.9. **gap**: root mean squared difference from
  that gain. **spread**: standard deviation of a share between two calls.
* Credit that is constant over the steps, or the same for all agents, has a correlation of 0. A
  dash: the truth is constant or unknown.

`difference` and `dense` are oracles, which read the truth. `tar2`, `uniform`,
`undecomposed` and `dense` sum to the return because they are given it or its parts: their
RMSE of 0 and R² of 1 predict nothing.

"""


def _table(task_name: str) -> Iterator[str]:
    known = {
        method: [of for seed in range(SEEDS) if (of := read(method, task_name, seed)) is not None]
        for method in METHODS
    }
    done = {method: records for method, records in known.items() if records}
    if not done:
        return
    yield f"## {task_name}\n\n"
    for policy in next(iter(done.values()))[0]["quality"]:
        mean = (
            np.mean([of["returns"][policy] for of in done["uniform"]]) if "uniform" in done else 0
        )
        yield f"Episodes of `{policy}`, mean return {mean:.4g}:\n\n"
        names = [n for n in HEADS if any(_values(of, policy, n) for of in done.values())]
        yield f"| credit | {' | '.join(HEADS[name] for name in names)} | n |\n"
        yield f"|---|{'---|' * len(names)}---|\n"
        for method, records in done.items():
            cells = [_cell(_values(records, policy, name)) for name in names]
            yield f"| {method} | {' | '.join(cells)} | {len(records)} |\n"
        yield "\n"


def _values(records: Sequence[Mapping[str, Any]], policy: str, name: str) -> list[float]:
    return [
        of["quality"][policy][name] for of in records if of["quality"][policy][name] is not None
    ]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, high = min(values), max(values)
    ends = "" if _text(low) == _text(high) else f" ({_text(low)} to {_text(high)})"
    return _text(float(np.mean(values))) + ends


def _text(value: float) -> str:
    return "0" if abs(value) < 5e-4 else f"{value:.3g}"


def _games_table() -> Iterator[str]:
    done = {
        method: of
        for method in (*LEARNED, "uniform")
        if (of := [r for seed in range(SEEDS) if (r := read(method, "games", seed)) is not None])
    }
    if not done:
        return
    yield (
        "## Shapley values\n\nThree agents each take part or not, and the return is the value of "
        "those who do, in one step. Below is the mean absolute difference of credit from the "
        f"exact Shapley value after {GAME_STEPS} steps of Adam on {PLAYS} random plays. `uniform` "
        "divides the value evenly.\n\n"
    )
    yield f"| credit | {' | '.join(GAMES)} | n |\n|---|{'---|' * len(GAMES)}---|\n"
    for method, of in done.items():
        cells = [_cell([record["errors"][name] for record in of]) for name in GAMES]
        yield f"| {method} | {' | '.join(cells)} | {len(of)} |\n"
    yield "\n"


def _write(method: str, where: str, seed: int, found: dict[str, Any]) -> None:
    path = path_of(method, where, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    print(f"{method} {where} seed {seed}", flush=True)


def _missing(where: str, seed: int, only: str, methods: Sequence[str]) -> list[str]:
    return [
        method
        for method in methods
        if re.search(only, f"{method} {where}") and read(method, where, seed) is None
    ]


def main() -> None:
    """Fit what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="what matches 'METHOD TASK', or 'METHOD games'")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(SEEDS):
        for method in _missing("games", seed, args.only, (*LEARNED, "uniform")):
            _write(method, "games", seed, measure_games(method, seed))
        for name in TASKS:
            missing = _missing(name, seed, args.only, METHODS)
            if not missing:
                continue
            task = make_task(name)
            shared = prepared(task, seed)
            for method in missing:
                _write(method, name, seed, measure(method, task, seed, shared))
        PAGE.write_text(section())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
