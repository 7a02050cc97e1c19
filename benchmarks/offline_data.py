"""Make the offline data sets: ``python -m benchmarks.offline_data [TASK ...]``. Resumable.

For each task four data sets, made by our own agents, in Minari's root (``--out`` for another
folder), and their cards in ``pkubench/data/cards.json``:

* ``expert``: of three trained seeds the one with the best mean return at the last ten validation
  points, with sampled actions;
* ``medium``: the first saved agent of that training whose validation return is at least a third of
  the way from random play's return to the expert's (a third of the expert's return itself where
  random play earns nothing), with sampled actions;
* ``mixed``: every episode that this training finished up to then, by training it again, which gives
  the same episodes;
* ``random``: uniform random actions.

Tasks whose optimum is known need no training: their agents play the optimum's action with
probability q and a random one otherwise. The expert has q = 1, medium the smallest q of 0.05, 0.1,
... that reaches a third of the way, and mixed as many episodes of each q from 0 up to that.

Seeds of episodes are training seeds of the runs 19,000 and up: no evaluation plays one. What is
there already, with the hash of its card, is not made again; trainings resume.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.offline_scripted import THIRD, Scripted
from pkubench.agents.contract import Array, Entrant
from pkubench.agents.families.scripted.random import random_entrant
from pkubench.agents.learner import Context
from pkubench.agents.registry import family_of, import_function, preset
from pkubench.agents.saved.files import load_saved
from pkubench.agents.saved.runs import is_nonempty
from pkubench.data import minari_files
from pkubench.data.cards import FILE as CARDS
from pkubench.data.cards import card_of, cards
from pkubench.data.episodes import Episodes, joined
from pkubench.data.recording import RecordingEnv
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.evaluation.run.episodes import run_block
from pkubench.files import write_json
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episode
from pkubench.training.request import Request, request
from pkubench.training.run import POINTS
from pkubench.training.session import run_request
from pkubench.training.validation import Validation

KINDS = ("random", "medium", "mixed", "expert")
SEEDS = (0, 1, 2)
"""Of the trainings; the best one is the expert."""
FIRST_RUN = 19_000
"""Data set k of a task plays training seeds of the run 19,000 + k."""
NUM_ENVS = 250
"""Episodes that are played together."""
VALIDATION = Validation(points=50, episodes=4, window=10)


@dataclass(frozen=True)
class Plan:
    """How the data sets of a task are made."""

    task: str
    agent: str = ""
    """The learner; "": the optimum of the task with random actions in between."""
    steps: int = 0
    """Its budget."""
    size: int = 10_000
    """Episodes of a set; of steps, where an agent is trained."""
    is_trial: bool = False
    """Whether budget and sizes are not the published ones: then there are no cards, and the medium
    agent is the first one saved."""

    def scaled(self, scale: float) -> Plan:
        """Return the plan with its budget and sizes multiplied; of 1 the published one."""
        if scale == 1.0:
            return self
        steps, size = (int(scale * number) for number in (self.steps, self.size))
        return replace(self, steps=max(steps, 1), size=max(size, 20), is_trial=True)


PLANS = (
    Plan("HalfCheetahVelocity-v0", "ppo", 2_000_000, 500_000),
    Plan("HopperVelocity-v0", "ppo", 1_000_000, 500_000),
    Plan("Walker2dVelocity-v0", "ppo", 2_000_000, 500_000),
    Plan("SimpleSpread-v0", "happo", 1_500_000, 250_000),
    Plan("SimpleReference-v0", "happo", 1_500_000, 250_000),
    Plan("KeyToDoor-v0"),
    Plan("KeyToDoorLong-v0"),
    Plan("LuckyArm-v0"),
    Plan("GraphPath-v0", size=1000),
    Plan("Stitching-v0", size=1000),
)


def main(words: Sequence[str] | None = None) -> int:
    """Make the data sets that are asked for; return 1 if one does not have its card's hash."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("tasks", nargs="*", help="such as KeyToDoor-v0; default: all")
    parser.add_argument("--out", type=Path, help="folder of the data sets; default: Minari's")
    parser.add_argument("--runs", type=Path, default=Path("runs/offline"), help="trainings")
    parser.add_argument("--update", action="store_true", help="write the cards again")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="multiplies budgets and sizes, for a trial in --out",
    )
    given = parser.parse_args(words)
    unknown = sorted(set(given.tasks) - {plan.task for plan in PLANS})
    if unknown:
        parser.error(f"no data sets of {', '.join(unknown)}")
    if given.scale != 1.0 and given.out is None:
        parser.error("--scale makes other data sets: give them a folder, --out")
    wrong = 0
    for plan in PLANS:
        if not given.tasks or plan.task in given.tasks:
            maker = Maker(
                plan.scaled(given.scale),
                given.runs,
                given.out,
                update=given.update,
                threads=os.cpu_count() or 1,
            )
            wrong += sum(not maker.make(name, how) for name, how in maker.sets().items())
    return 1 if wrong else 0


class Maker:
    """Makes the data sets of one task."""

    def __init__(
        self,
        plan: Plan,
        runs: Path,
        below: Path | None,
        *,
        update: bool = False,
        threads: int = 1,
    ) -> None:
        self.plan, self.runs, self.below, self.update = plan, runs, below, update
        self.task = make_task(plan.task)
        self.settings = dict(self.task.env_kwargs)
        if threads > 1 and self.task.id.endswith("Velocity-v0"):  # a robot's physics
            self.settings["num_threads"] = threads

    def sets(self) -> dict[str, Callable[[str], tuple[Episodes, str]]]:
        """Return how each set is made, by its id: a function of the id, to episodes and policy."""
        stem = f"pkubench/{self.plan.task.rpartition('-v')[0]}"
        if self.plan.task.startswith("Stitching"):
            return {f"{stem}/halves-v0": self._halves}
        source = Trained(self) if self.plan.agent else Scripted(self)
        found = {f"{stem}/{kind}-v0": getattr(source, kind) for kind in KINDS}
        if isinstance(source, Scripted) and self.plan.task.startswith("KeyToDoor"):
            found[f"{stem}/random-1k-v0"] = source.few
        return found

    def make(self, name: str, how: Callable[[str], tuple[Episodes, str]]) -> bool:
        """Make a set unless it is there; return whether it has the hash of its card."""
        known = None if self.plan.is_trial else cards().get(name)
        folder = (minari_files.root() if self.below is None else self.below) / name
        if self.plan.is_trial and (folder / minari_files.DATA).is_dir():
            return True
        if known is not None and (folder / minari_files.DATA).is_dir() and not self.update:
            metadata = minari_files.read_metadata(folder / minari_files.DATA)
            if metadata.get(minari_files.HASH) == known["sha256"]:
                print(f"{name}: made already", flush=True)
                return True
        episodes, policy = how(name)
        card = card_of(
            episodes,
            policy=policy,
            command=f"python -m benchmarks.offline_data {self.plan.task}",
        )
        env = make_batch(self.task.id, 1, **self.task.env_kwargs)
        agent = env.agents[0]
        minari_files.write(
            episodes,
            env.observation_spaces[agent],
            env.action_spaces[agent],
            card=card,
            below=self.below,
        )
        env.close()
        print(f"{name}: {card['steps']:,} steps, return {card['return']['mean']:.4g}", flush=True)
        if self.plan.is_trial:
            return True
        if known is None or self.update:
            write_json(CARDS, dict(sorted({**cards(), name: card}.items())))
            return True
        if known["sha256"] != card["sha256"]:
            print(f"{name} differs from its card: {card['sha256'][:12]}", file=sys.stderr)
        return bool(known["sha256"] == card["sha256"])

    def play(
        self, entrant: Entrant, name: str, run: int, *, steps: int = 0, episodes: int = 0
    ) -> Episodes:
        """Record an entrant until there are so many steps or episodes; the same for any machine.

        Blocks of episodes are played to their ends, so that none is left out for being long.
        """
        seeds, parts, done = TrainingSeeds(FIRST_RUN + run, NUM_ENVS), [], 0
        while done < (episodes or steps):
            count = min(NUM_ENVS, episodes - done) if episodes else NUM_ENVS
            env = RecordingEnv(make_batch(self.task.id, count, **self.settings))
            block = [
                Episode(number=k, seed=seed, agent_seed=seed)
                for k, seed in enumerate(seeds.next(np.arange(count)).tolist())
            ]
            for record in run_block(env, entrant, self.task, block):
                if record.failure:
                    raise RuntimeError(f"{name}: {record.failure}")
            done += env.num_episodes if episodes else env.num_steps
            parts.append(env.recorded(task=self.task.id, name=name))
            env.close()
        return joined(parts, name)

    def random_entrant(self) -> Entrant:
        """Return the entrant of uniform random actions."""
        env = make_batch(self.task.id, 1, **self.task.env_kwargs)
        try:
            return random_entrant(env)
        finally:
            env.close()

    def _halves(self, name: str) -> tuple[Episodes, str]:
        """Return Stitching's data: A a1 J x, A a2, B J g, and nothing else."""
        parts = []
        for start, plan in ((0, (0, 0)), (0, (1, 0)), (1, (0, 1))):
            env = RecordingEnv(make_batch(self.task.id, self.plan.size))
            env.reset(np.arange(self.plan.size), options={"start": start})
            over = np.zeros(self.plan.size, dtype=np.bool_)
            for action in plan:
                step = env.step({"agent": np.full(self.plan.size, action)}, ~over)
                over |= step.terminated
            parts.append(env.recorded(task=self.task.id, name=name))
        return joined(parts, name), "the same number of episodes of A a1 J x, A a2 and B J g"


class Expert(NamedTuple):
    """The training that data sets are made from."""

    seed: int
    mean: float
    """Mean validation return of its last points."""
    points: Sequence[Mapping[str, Any]]


class Trained:
    """Data of a learner: of three seeds, the best."""

    def __init__(self, maker: Maker) -> None:
        self.maker, self.plan, self.task = maker, maker.plan, maker.task

    def _folder(self, seed: int) -> Path:
        return self.maker.runs / f"{self.plan.agent}-{self.plan.task}" / f"seed{seed}"

    def _request(self, seed: int, **more: Any) -> Request:
        return request(self.plan.agent, self.task, {}, steps=self.plan.steps, seeds=[seed], **more)

    @functools.cached_property
    def _expert(self) -> Expert:
        """The best seed; what is not trained yet is trained."""
        found = []
        for seed in SEEDS:
            folder = self._folder(seed)
            asked = self._request(seed, validation=VALIDATION, save_points=True)
            for reports in run_request(asked, [folder], resume=is_nonempty(folder)):
                if "validation_return" in reports[0].metrics:
                    print(f"{folder}: {reports[0].steps:,} steps", flush=True)
            points = load_saved(folder).config["validation"]["points"]
            last = [point["return"] for point in points[-VALIDATION.window :]]
            found.append(Expert(seed, float(np.mean(last)), points))
        return max(found, key=lambda expert: expert.mean)

    @functools.cached_property
    def _medium(self) -> tuple[Expert, int]:
        """The expert, and the steps of the first point that is a third as good."""
        expert = self._expert
        random = self.maker.play(self.maker.random_entrant(), "random", 4, episodes=256)
        base = float(_team(random).mean())
        wanted = base + THIRD * (expert.mean - base)
        for point in expert.points:
            if self.plan.is_trial or point.get("return", -np.inf) >= wanted:
                return expert, int(point["at"])
        raise RuntimeError(f"no validation point of seed {expert.seed} reaches {wanted:g}")

    def _play(self, folder: Path, name: str, run: int) -> Episodes:
        family = family_of(preset(self.plan.agent))
        load = import_function(str(family.load))
        entrant = load(load_saved(folder), self.task, family.acting_with({"mode": "sampled"}))
        return self.maker.play(entrant, name, run, steps=self.plan.size)

    def random(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of random play, and who acted."""
        entrant = self.maker.random_entrant()
        episodes = self.maker.play(entrant, name, 0, steps=self.plan.size)
        return episodes, "uniform random actions"

    def expert(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of the best seed."""
        expert = self._expert
        policy = f"{self.plan.agent} seed {expert.seed} after {self.plan.steps:,} steps, sampled"
        return self._play(self._folder(expert.seed), name, 3), policy

    def medium(self, name: str) -> tuple[Episodes, str]:
        """Return episodes of its first saved agent that is a third as good."""
        expert, at = self._medium
        policy = f"{self.plan.agent} seed {expert.seed} after {at:,} steps, sampled"
        return self._play(self._folder(expert.seed) / POINTS / str(at), name, 1), policy

    def mixed(self, name: str) -> tuple[Episodes, str]:
        """Return what the best seed trained on up to then."""
        expert, at = self._medium
        folder = self._folder(expert.seed).with_name("again")
        shutil.rmtree(folder, ignore_errors=True)
        asked, made = recorded(self._request(expert.seed))
        for reports in _until(run_request(asked, [folder]), at):
            done = reports[0].steps
        shutil.rmtree(folder, ignore_errors=True)
        if done != at:
            raise RuntimeError(f"training again was at {done:,} steps, not at {at:,}")
        parts = [env.recorded(task=self.task.id, name=name) for env in made if env.num_steps]
        policy = f"all that {self.plan.agent} seed {expert.seed} trained on in {at:,} steps"
        return joined(parts, name), policy


def _until(progress: Any, at: int) -> Iterator[Any]:
    """Yield reports up to ``at`` steps, and stop the training there."""
    try:
        for reports in progress:
            yield reports
            if reports[0].steps >= at:
                return
    finally:
        progress.close()


def recorded(asked: Request) -> tuple[Request, list[RecordingEnv]]:
    """Return a request whose learner's environments are recorded, and the list they come into."""
    made: list[RecordingEnv] = []

    class RecordedContext(Context):
        def make_env(self, num_envs: int, **kwargs: Any) -> BatchEnv:
            made.append(RecordingEnv(Context.make_env(self, num_envs, **kwargs)))
            return made[-1]

    class RecordedRequest(Request):
        def context(self, seed: int) -> Context:
            context = Request.context(self, seed)
            return RecordedContext(**{f.name: getattr(context, f.name) for f in fields(context)})

    return RecordedRequest(**{f.name: getattr(asked, f.name) for f in fields(asked)}), made


def _team(episodes: Episodes) -> Array:
    """Return the team's return of each episode, (E,)."""
    returns: Array = episodes.returns.reshape(len(episodes), -1).sum(axis=1)
    return returns


if __name__ == "__main__":
    sys.exit(main())
