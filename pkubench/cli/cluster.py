"""``pkubench train --backend ray``: each seed is trained by a task of a Ray cluster.

A seed runs the same command line as it would here, so its folder holds the same bytes; a seed whose
worker is lost resumes from its checkpoint on another one. The folders have to be on a file system
that all nodes share.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pkubench.agents.saved.runs import training_folders
from pkubench.cli.interrupt import Interrupted, this_command, typed_words
from pkubench.cli.output import Output
from pkubench.errors import ConfigError
from pkubench.evaluation.run.cluster import RETRIES, connect, remote
from pkubench.evaluation.run.workers import ONE_THREAD, WorkerError

_TAKEN = ("--seed", "--seeds", "--out", "--backend")
"""Options with a value that each seed gets anew."""
_FLAGS = ("--json", "--quiet", "--resume")
_PR_SET_PDEATHSIG = 1


def train_on_cluster(
    folders: Sequence[Path], seeds: Sequence[int], *, is_batch: bool, json: bool, quiet: bool
) -> None:
    """Train each seed on the cluster and wait for all of them.

    Raises:
        ConfigError: the seeds are to be trained in one process.
        MissingExtra: Ray is not installed.
        WorkerError: there is no cluster, or a seed ended with an error.
    """
    if is_batch:
        raise ConfigError("--backend ray trains each seed by itself: leave --batch-seeds out")
    words = seed_words(typed_words()[1:])
    with Output(json=json, quiet=quiet) as output:
        ray, is_ours = connect()
        train = remote(ray, run_seed, RETRIES)
        waiting = {
            train.remote([*words, "--seed", str(seed), "--out", str(folder.resolve())]): folder
            for seed, folder in zip(seeds, folders, strict=True)
        }
        failed: list[str] = []
        try:
            while waiting:
                (reference, *_), _ = ray.wait(list(waiting), num_returns=1)
                folder = waiting.pop(reference)
                try:
                    problem = ray.get(reference)
                except ray.exceptions.RayError as error:
                    problem = str(error).strip().splitlines()[0]
                failed += [f"{folder}: {problem}"] if problem else []
                output.note(f"{folder}: {problem or 'finished'} ({len(waiting)} left)")
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; to resume where it stopped: {this_command()}") from None
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
            if is_ours:
                ray.shutdown()
        if failed:
            raise WorkerError(f"{len(failed)} of {len(folders)} seeds failed: {failed[0]}")
        if json:
            output.document({"runs": [{"out": str(folder)} for folder in folders]})


def seed_words(words: Sequence[str]) -> list[str]:
    """Return a command's words without what each seed gets anew.

    >>> seed_words(["happo", "T", "--seeds", "0-4", "--out=x", "--steps", "10", "--quiet"])
    ['happo', 'T', '--steps', '10']
    """
    kept: list[str] = []
    skip = False
    for word in words:
        name, sign, _ = word.partition("=")
        if skip:
            skip = False
        elif name in _TAKEN:
            skip = not sign
        elif word not in _FLAGS:
            kept.append(word)
    return kept


def run_seed(words: list[str]) -> str:
    """Train one seed on a node of the cluster; return why it failed, "" if it did not.

    A folder in which a training has begun is resumed: it is the same command again, or this worker
    takes over from one that was lost.
    """
    out = Path(words[-1])
    more = ["--resume"] if list(training_folders(out)) else []
    done = subprocess.run(
        [sys.executable, "-m", "pkubench", "train", *words, *more, "--quiet"],
        env={**os.environ, **ONE_THREAD},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=_end_with_parent,
    )
    if done.returncode < 0:  # ended from outside: the error makes Ray start it again
        raise RuntimeError(f"the training was ended by {signal.Signals(-done.returncode).name}")
    return "" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent, which may be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
