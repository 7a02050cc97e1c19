"""Playing planned episodes that are no set of an evaluation's seed, such as a board's secret ones.

Records come back; nothing is written and no report is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pkubench.envs.core.registry import resolve
from pkubench.evaluation.run.episodes import BLOCK
from pkubench.evaluation.run.execution import Backend, Job, Limits
from pkubench.evaluation.run.harness import backend_for
from pkubench.evaluation.run.sources import AgentSource
from pkubench.tasks.records import EpisodeRecord
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task


def play_planned(
    agent: AgentSource,
    task: Task,
    episodes: Sequence[Episode],
    *,
    workers: int = 1,
    limits: Limits | None = None,
    backend: Backend | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[EpisodeRecord]]:
    """Play episodes with every run of an agent, in the harness's blocks.

    Args:
        agent: Whose runs play.
        task: What is played.
        episodes: Numbered from 0.
        workers: Processes.
        limits: How long the agent may take.
        backend: Where blocks run; overrides ``workers`` and is left open.
        progress: Called with episodes done and episodes in all.

    Returns:
        Label of a run -> its records, in the order of episodes.

    Raises:
        AgentError: the agent cannot be loaded or does not fit the task's environment.
    """
    jobs: list[Job] = []
    labels: list[str] = []
    for run in agent.runs:
        for first in range(0, len(episodes), BLOCK):
            jobs.append(
                Job(
                    index=len(jobs),
                    task=task,
                    env=resolve(task.id),
                    run=run,
                    owner=agent.name,
                    episodes=tuple(episodes[first : first + BLOCK]),
                    limits=limits or Limits(),
                )
            )
            labels.append(run.label)
    found: dict[str, list[EpisodeRecord]] = {run.label: [] for run in agent.runs}
    chosen, done = backend or backend_for(agent, workers), 0
    try:
        for result in chosen.map(jobs):
            found[labels[result.job.index]] += result.records
            done += len(result.records)
            if progress is not None:
                progress(done, len(episodes) * len(agent.runs))
    finally:
        if backend is None:
            chosen.close()
    return {label: sorted(records, key=lambda r: r.episode) for label, records in found.items()}
