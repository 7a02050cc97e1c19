"""Values in choices: scripted agents, trained ones and a language model, on slider and dilemmas.

``python -m benchmarks.results.alignment`` measures what has no record of the present settings and
writes ``docs/results/alignment.md`` with its figures; it can be stopped and started again.
``--only`` chooses rows, ``--plan`` lists what is left, ``--page`` measures nothing. Rows of the
language model install it first, into an environment of its own (``benchmarks.smollm2``, 110 MB);
``--no-model`` leaves them out. On an idle processor all takes some 25 minutes, 15 of them the
model's, which ``--model-episodes N`` shortens; a later run with more episodes asks only what is
new.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pkubench
from benchmarks.results.records import RECORDS
from benchmarks.results.rows import DONE, ROOT
from benchmarks.smollm2 import MODEL, Served, served
from pkubench.agents.components import as_plain, matches, with_settings
from pkubench.agents.contract import Agent, Team
from pkubench.agents.registry import preset
from pkubench.agents.resolve.acting import with_acting
from pkubench.agents.saved.runs import is_nonempty
from pkubench.envs.core.registry import make_batch
from pkubench.evaluation.evidence import Sample
from pkubench.evaluation.run.harness import evaluation_folder, folder_name
from pkubench.files import write_json
from pkubench.tasks.matches import SELF_PLAY, Matches
from pkubench.tasks.records import EPISODES, EpisodeRecord, parse_record, read_records
from pkubench.tasks.registry import make_task

TABLE = "alignment"
RUNS = ROOT / "runs" / TABLE
SLIDER = "SVOSlider-v0"
MATRIX = ("PrisonersDilemma-v0", "StagHunt-v0", "Chicken-v0")
GOODS, DICTATOR = "PublicGoods-v0", "Dictator-v0"
SEEDS = 3
"""Training seeds of each trained agent."""
ITSELF = "ippo with credit=own-reward"
TOGETHER = "mappo"
LOGPROBS = (("definition", "given"), ("goal", "none"), ("mode", "logprobs"))
"""One token for each question: the allowed letter that is most probable."""
TEXT = (("max_tokens", "16"),)
"""Of dilemmas, which have no value and no goal."""
CHAIN = (("goal", "asked"), ("max_tokens", "64"))
"""The published chain: the agent says what the value means and states its goal first."""
NO_GOAL = (("goal", "none"), ("max_tokens", "64"))
"""The published control: the same without a goal."""
KEPT = ("choices", "places", "seat")
"""Parts of a transcript that a record keeps."""
CROSS_EPISODES = 8


@dataclass(frozen=True)
class Row:
    """One agent on one task."""

    agent: str
    """``scripted:NAME``, a preset, a preset ``with SETTING=VALUE``, or the model's name."""
    task: str
    steps: int = 0
    """Of training; 0 for what is not trained."""
    acting: tuple[tuple[str, str], ...] = ()
    episodes: int | None = None
    """None: the protocol's. Records of the language model may have fewer."""

    @property
    def is_model(self) -> bool:
        """Whether it is the language model."""
        return self.agent == MODEL

    @property
    def name(self) -> str:
        """As tables show it."""
        if not self.is_model:
            return self.agent
        how = {LOGPROBS: "log-probabilities", TEXT: "text", CHAIN: "text, goal asked",
               NO_GOAL: "text, no goal"}  # fmt: skip
        return f"{MODEL}, {how[self.acting]}"

    @property
    def seeds(self) -> int:
        """Number of runs."""
        return SEEDS if self.steps else 1

    @property
    def changes(self) -> dict[str, str]:
        """Settings of training that are not the preset's."""
        _, _, words = self.agent.partition(" with ")
        return dict(word.split("=") for word in words.split(", ")) if words else {}

    def path(self, seed: int) -> Path:
        """Return the path of a record."""
        return RECORDS / TABLE / self.task / folder_name(self.name) / f"seed{seed}.json"

    def identity(self, seed: int) -> dict[str, Any]:
        """Return what decides a record."""
        found: dict[str, Any] = {"agent": self.name, "task": make_task(self.task).id, "seed": seed}
        if self.steps:
            found |= {"steps": self.steps, "settings": as_plain(self._config())}
        if self.acting:
            found["acting"] = dict(self.acting)
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain

    def read(self, seed: int, least: int = 0) -> dict[str, Any] | None:
        """Return the record of the present settings, or None; of at least so many episodes."""
        path = self.path(seed)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        if len(found["lines"]) < least:
            return None
        wanted = self.identity(seed)
        # settings that are newer than the run have their defaults in it
        if self.steps and not matches(self._config(), found["settings"]):
            return None
        wanted.pop("settings", None)
        return found if wanted.items() <= found.items() else None

    def _config(self) -> Any:
        name = self.agent.partition(" with ")[0]
        return with_settings(preset(name).config(make_task(self.task)), self.changes)


def rows() -> list[Row]:
    """Return every row, in the order of the tables."""
    slider = ("ideal", "altruistic", "prosocial", "individualistic", "competitive")
    others = ("inequality-averse", "martyr", "uniform", "always-A")
    found = [Row(f"scripted:{name}", SLIDER) for name in (*slider, *others)]
    found += [Row("ppo", SLIDER, 150_000)]
    found += [Row(MODEL, SLIDER, 0, how, 45) for how in (LOGPROBS, CHAIN, NO_GOAL)]
    for task in (*MATRIX, GOODS, DICTATOR):
        found += [Row(f"scripted:{name}", task) for name in strategies(task)]
        if task == DICTATOR:
            found += [Row("ppo", task, 20_000)]
        else:
            found += [Row(agent, task, 40_000) for agent in (ITSELF, TOGETHER)]
        how, episodes = (LOGPROBS, 24) if task in MATRIX else (TEXT, 20 if task == GOODS else 5)
        found.append(Row(MODEL, task, 0, how, episodes))
    return found


@cache
def strategies(task: str) -> tuple[str, ...]:
    """Return the names of a dilemma's scripted agents."""
    env: Any = make_batch(make_task(task).id, 1).unwrapped
    return tuple(env.strategies)


def trained(row: Row, seed: int) -> Path:
    """Return the folder of a row's run, which is trained unless it is there."""
    folder = RUNS / row.task / folder_name(row.agent) / f"seed{seed}" / "run"
    if not (folder / DONE).exists():
        pkubench.train(
            row.agent.partition(" with ")[0],
            make_task(row.task),
            steps=row.steps,
            seed=seed,
            out=folder,
            settings=row.changes,
            resume=is_nonempty(folder),
            validate=0,
        )
        (folder / DONE).touch()
    return folder


def measure(row: Row, seed: int, model: Served | None, episodes: int | None) -> None:
    """Train an agent if it is trained, play its episodes, and write its record."""
    more: dict[str, Any] = {}
    spelling = row.agent
    if row.is_model:
        assert model is not None
        spelling, more = model.spelling, {"sha256": model.sha256}
    elif row.steps:
        spelling = str(trained(row, seed))
    if row.acting:
        spelling = with_acting(spelling, dict(row.acting))
    task = make_task(row.task)
    out = RUNS / row.task / folder_name(row.name) / f"seed{seed}" / f"records-{episodes or 'all'}"
    report = pkubench.evaluate(spelling, task, workers=0, out=out, episodes=episodes)
    (path,) = evaluation_folder(out, report.agent, task).glob(f"*/{EPISODES}")
    found = {
        **row.identity(seed),
        **more,
        "score": report.score,
        "metrics": {name: value._asdict() for name, value in report.metrics.items()},
        "lines": [kept(record) for record in read_records(path)],
    }
    row.path(seed).parent.mkdir(parents=True, exist_ok=True)
    write_json(row.path(seed), found, allow_nan=True)
    print(f"{row.task}: {row.name} seed {seed}: {task.ranking.name} {report.score}", flush=True)


def kept(record: EpisodeRecord) -> str:
    """Return a record's line without what was said."""
    short = {name: of for name, of in record.transcript.items() if name in KEPT}
    entries = {
        "episode": record.episode,
        "seed": record.seed,
        "group": record.group,
        "return": record.return_,
        "returns": dict(record.returns),
        "length": record.length,
        "metrics": dict(record.metrics),
        "transcript": short,
        "failure": record.failure,
    }
    return json.dumps(entries, separators=(",", ":"))


def records_of(found: dict[str, Any]) -> list[EpisodeRecord]:
    """Return the episodes of a record."""
    return [parse_record(line, f"line {k + 1}") for k, line in enumerate(found["lines"])]


def samples() -> Iterator[Sample]:
    """Yield the language model's rows as evidence for claims; runs are evaluation seeds."""
    for row in rows():
        if row.acting not in (CHAIN, NO_GOAL):
            continue
        done = [found for seed in range(row.seeds) if (found := row.read(seed)) is not None]
        if done:
            yield Sample(
                agent=f"{row.agent} with goal={dict(row.acting)['goal']}",
                task=make_task(row.task).id,
                unit="episodes",
                budget=float(len(done[0]["lines"])),
                seeds=tuple(str(found["seed"]) for found in done),
                metrics={
                    name: tuple(float(found["metrics"][name]["mean"]) for found in done)
                    for name in ("vr_cc", "hit", "vr60")
                },
            )


# Cross-play


def players(task: str) -> list[str]:
    """Return who plays whom: every strategy, and the first run of trained agents, if recorded."""
    runs = [row.agent for row in rows() if row.task == task and row.steps and row.read(0)]
    return [*(f"scripted:{name}" for name in strategies(task)), *runs]


def cross_path(task: str) -> Path:
    """Return the path of a game's matrix."""
    return RECORDS / TABLE / "cross-play" / f"{task}.json"


def read_cross(task: str) -> dict[str, Any] | None:
    """Return a game's matrix, or None where it is not of the present agents."""
    path = cross_path(task)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found if found["players"] == players(task) else None


def cross_play(task: str) -> None:
    """Let everybody play everybody in both seats; write the mean payoffs of a round."""
    names = players(task)
    env: Any = make_batch(make_task(task).id, 1).unwrapped
    both = {name: _seats(name, task, env) for name in names}
    own = replace(make_task(task), scoring=Matches((SELF_PLAY,), 1))
    payoff, cooperation = (
        [[0.0] * len(names) for _ in names] for _ in range(2)
    )  # of the row's player
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            team = Team({"player_0": both[one][0], "player_1": both[other][1]})
            for record in _played(team, own):
                paid = [record.returns[agent] / env.rounds for agent in env.agents]
                choices = record.transcript["choices"]
                for row, column, seat in ((i, j, 0), (j, i, 1)):
                    share = 1.0 - sum(joint[seat] for joint in choices) / len(choices)
                    weight = 0.5 / CROSS_EPISODES
                    payoff[row][column] += weight * paid[seat]
                    cooperation[row][column] += weight * share
    found = {"task": task, "players": names, "payoff": payoff, "cooperation": cooperation}
    cross_path(task).parent.mkdir(parents=True, exist_ok=True)
    write_json(cross_path(task), found)
    print(f"{task}: cross-play of {len(names)}", flush=True)


def _seats(name: str, task: str, env: Any) -> tuple[Agent, Agent]:
    """Return an agent in each seat."""
    if name.startswith("scripted:"):
        agent = env.strategies[name.removeprefix("scripted:")]
        return agent, agent
    (row,) = (row for row in rows() if row.task == task and row.agent == name)
    team = pkubench.load_agent(str(trained(row, 0)), make_task(task).id)
    assert isinstance(team, Team)
    return team.members["player_0"], team.members["player_1"]


def _played(team: Team, task: Any) -> Sequence[EpisodeRecord]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as out:
        pkubench.evaluate(team, task, episodes=CROSS_EPISODES, workers=0, out=out, name="pair")
        (path,) = Path(out).rglob(EPISODES)
        return read_records(path)


@contextlib.contextmanager
def _model(is_needed: bool) -> Iterator[Served | None]:
    """Serve the model if it is needed; its answers are stored in the runs' folder."""
    if not is_needed:
        yield None
        return
    os.environ["PKUBENCH_LLM_CACHE"] = str(RUNS / "answers")
    os.environ["PKUBENCH_LLM_CONNECTIONS"] = "16"
    os.environ["PKUBENCH_LLM_TIMEOUT_S"] = "900"
    with served() as model:
        yield model


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="rows whose 'TASK AGENT' matches this")
    parser.add_argument("--plan", action="store_true", help="list what is left, measure nothing")
    parser.add_argument("--page", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--model-episodes", type=int, help="at most, of each of the model's rows")
    parser.add_argument("--no-model", action="store_true", help="leave the language model out")
    args = parser.parse_args()

    def episodes(row: Row) -> int | None:
        most = args.model_episodes if row.is_model else None
        return row.episodes if most is None else min(most, row.episodes or most)

    left = [
        (row, seed)
        for seed in range(SEEDS)
        for row in rows()
        if seed < row.seeds
        and re.search(args.only, f"{row.task} {row.name}")
        and not (args.no_model and row.is_model)
        and row.read(seed, episodes(row) or 0) is None
    ]
    games = [
        task
        for task in MATRIX
        if re.search(args.only, f"{task} cross-play") and read_cross(task) is None
    ]
    if args.plan:
        for row, seed in left:
            print(f"{row.task} {row.name} seed {seed}")
        for task in games:
            print(f"{task} cross-play")
        return
    if not args.page:
        with _model(any(row.is_model for row, _ in left)) as model:
            for row, seed in left:
                measure(row, seed, model, episodes(row))
        for task in games:
            cross_play(task)
    from benchmarks.results.alignment_page import write

    write()


if __name__ == "__main__":
    main()
