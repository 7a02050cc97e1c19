"""A table of results is a list of rows: agent, task, number of seeds and steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkubench.agents.components import as_plain, matches, with_settings
from pkubench.agents.families.on_policy.former_settings import present_settings
from pkubench.agents.registry import WEIGHTS, family_of, preset
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.tasks.registry import make_task

ROOT = Path(__file__).parents[2]
DONE = "done"
"""Marks a run whose training is finished."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    agent: str
    task: str
    steps: int
    seeds: int
    ships: int = 5
    """Seeds whose weights go into the package, from seed 0 on."""
    label: str = ""
    """A name other than the agent's, for a row with another budget or settings."""
    table: str = "foundation"
    """Names the folder of its runs and records."""
    changes: tuple[tuple[str, str], ...] = ()
    """Settings that are not the preset's, as after ``--set``; such a row has a label."""
    keep: str = "last"
    """Which weights are scored: the last ones, or with ``best`` those of the best ten consecutive
    ones of 20 validations, on episodes that no table has."""
    sampled: int = 0
    """Episodes of each of 20 validations that are also played with sampled actions: the record has
    the means of the last ten, and the protocol's episodes with sampled actions. 0: none are."""
    data: str = ""
    """Id of the data set that is learned from."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Run folders that are trained from, by the name of the input, below the repository's root."""
    validate: int | None = None
    """Points of validation; None: the usual number."""
    episodes: int = 0
    """Episodes of the evaluation; 0: the protocol's."""
    asked: tuple[str, ...] = ()
    """Target returns that the agent is also evaluated with: numbers, or shares of the way from the
    worst to the best return of its data, such as ``50%``."""

    @property
    def name(self) -> str:
        """The name of the row in the table."""
        return self.label or self.agent

    def budget(self, scale: float) -> int:
        """Return the steps of a run when all budgets are multiplied by ``scale``."""
        return int(self.steps * scale)

    def run(self, seed: int, budget: int, fresh: bool = False) -> Path:
        """Return the folder of a run; ``fresh`` runs do not mix with those before."""
        table = f"{self.table}-fresh" if fresh else self.table
        return ROOT / "runs" / table / self.name / self.task / str(budget) / f"seed{seed}"

    def flags(self) -> list[str]:
        """Return the options of its training command that are not the usual ones."""
        words = [word for pair in self.changes for word in ("--set", "=".join(pair))]
        if self.keep == "best" or self.sampled:
            words += ["--validate", "20", "--validation-episodes", str(self.sampled or 8)]
            words += ["--window", "10", "--keep", self.keep, "--validate-sampled"]
        for name, folder in self.inputs:
            words += ["--input", f"{name}={folder}"]
        if self.validate is not None:
            words += ["--validate", str(self.validate)]
        return words + (["--data", self.data] if self.data else [])

    @property
    def num_episodes(self) -> int:
        """Episodes of the evaluation in a record."""
        return self.episodes or make_task(self.task).protocol.episodes

    def shipped(self, seed: int) -> Path:
        """Return where the weights of a run are in the package."""
        return WEIGHTS / self.agent / make_task(self.task).id.rpartition("/")[2] / f"seed{seed}"

    def is_made_by(self, config: Mapping[str, Any], budget: int) -> bool:
        """Return whether a run's ``config.json`` is of this row as the presets are now.

        Settings introduced after the run are ignored: they have their defaults.
        """
        command = f"{config['command']} "
        if f"--steps {budget} " not in command or (self.keep == "best") != (
            "--keep best " in command
        ):
            return False
        if self.sampled and f"--validation-episodes {self.sampled} " not in command:
            return False
        if self.data and f"--data {self.data} " not in command:
            return False
        if "settings" not in config:
            return True
        now = config_of(self.agent, self.task, dict(self.changes))
        # saved as it was resolved: the weights are the same to rounding
        then = {k: v for k, v in config["settings"].items() if k != "gradients"}
        if isinstance(now, OnPolicyConfig):
            then = present_settings(then)
        return matches(now, then)


def page_path(table: str, scale: float) -> Path:
    """Return where a table's page is: in the documentation, of other budgets in ``runs``."""
    if scale == 1.0:
        return ROOT / "docs/results" / f"{table}.md"
    return ROOT / "runs" / table / f"scale-{scale:g}.md"


def config_of(agent: str, task: str, changes: Mapping[str, str] | None = None) -> Any:
    """Return the current config of a preset on a task, with ``changes``."""
    return with_settings(preset(agent).config(make_task(task)), changes or {})


def settings_of(agent: str, task: str, changes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the settings of :func:`config_of` as a run saves them."""
    return as_plain(config_of(agent, task, changes))


def runs_of(rows: tuple[Row, ...]) -> Iterator[tuple[Row, int]]:
    """Yield all runs, those that ship first, row by row."""
    yield from ((row, seed) for row in rows for seed in range(min(row.ships, row.seeds)))
    yield from ((row, seed) for row in rows for seed in range(row.ships, row.seeds))


def jobs_of(runs: Iterable[tuple[Row, int]]) -> list[tuple[Row, tuple[int, ...]]]:
    """Group runs into training processes.

    Off-policy seeds that do not ship train side by side, which is quicker. What ships trains alone,
    so that anybody can make the same bytes again with one short command.
    """
    jobs: dict[tuple[Row, int], list[int]] = {}
    for row, seed in runs:
        batch = family_of(preset(row.agent)).batch
        side_by_side = batch is not None and seed >= row.ships
        jobs.setdefault((row, row.ships if side_by_side else seed), []).append(seed)
    return [(row, tuple(seeds)) for (row, _), seeds in jobs.items()]
