"""Train a game learner: iterations, curve, checkpoints and the saved population."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.families.psro.cfr_plus import CFRPlus, CFRPlusConfig
from pkubench.agents.families.psro.fictitious_play import FictitiousPlay, XFPConfig
from pkubench.agents.families.psro.learner import Floats, GameLearner, Tensors
from pkubench.agents.families.psro.outer_loop import PopulationLearner
from pkubench.agents.families.psro.population import save_population
from pkubench.agents.families.psro.presets import Settings, preset
from pkubench.agents.saved.files import CONFIG, FORMAT, WEIGHTS, load_saved, write_tensors
from pkubench.agents.saved.runs import (
    Ended,
    begin_training,
    check_identity,
    is_closed,
    train_command,
    where_solved,
)
from pkubench.agents.training import Progress, TrainingLog, with_settings
from pkubench.envs.core.seeding import check_seed
from pkubench.envs.games.normal_form import MatrixGame
from pkubench.envs.games.trees import game_of_world, tree_of_world
from pkubench.envs.games.zero_sum import ZeroSumGame
from pkubench.errors import ConfigError, PkubenchError, StorageError, WeightsError
from pkubench.files import write_json

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

CHECKPOINT = "checkpoint"
SECONDS_BETWEEN_CHECKPOINTS = 20.0


def learner(config: Settings, world: str, seed: int) -> GameLearner:
    """Return the learner that settings stand for, before its first iteration.

    Population learners and fictitious play take matrix games as they are (a symmetric one with one
    population for both sides); regrets are kept on the game's tree.
    """
    if isinstance(config, CFRPlusConfig):
        return CFRPlus(tree_of_world(world), config, seed)
    if isinstance(config, XFPConfig):
        return FictitiousPlay(game_of_world(world), config, seed)
    return PopulationLearner(game_of_world(world), config, seed)


def train(
    agent: str,
    task: Task,
    *,
    steps: int | None,
    seed: int,
    settings: Mapping[str, str],
    out: Path,
    resume: bool = False,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train a preset on a game task; see ``pkubench.agents.training.Trainer``.

    A step is one iteration; without ``steps`` the preset's ``iterations`` are done. Progress
    carries ``nash_conv``, ``exploitability``, ``population_exploitability`` (where computed),
    ``policies``, ``episodes`` (what learning by episodes would have taken) and ``seconds`` (of
    learning; ``scoring_seconds`` are those of computing the figures). These learners run on the
    CPU whatever ``device`` says.

    Raises:
        ConfigError: A setting out of its domain, or ``out`` holds another run.
        StorageError: ``out`` cannot be written.
    """
    config = with_settings(preset(agent, task), settings)
    total = config.iterations if steps is None else steps
    if total < 1:
        raise ConfigError(f"steps must be at least 1 iteration, got {total}")
    check_seed(seed)
    game = game_of_world(task.id)
    run: dict[str, Any] = {
        "agent": agent,
        "task": task.id,
        "seed": seed,
        # As JSON has it, for it is compared with what a checkpoint's file holds: lists, no tuples.
        "settings": json.loads(json.dumps(dataclasses.asdict(config))),
        "fingerprint": game.fingerprint,
    }
    made = learner(config, task.id, seed)
    command = train_command(agent, task.id, total, [seed], settings)
    begin_training(out, run, command, resume=resume)
    if resume and is_closed(out):  # a population without its checkpoint must not be written over
        return iter(())
    saved = _checkpoint(out, run) if resume else None
    if saved is not None:
        try:
            made.restore(saved)
        except (KeyError, ValueError, IndexError, PkubenchError) as error:
            raise WeightsError(
                f"the checkpoint in {out / CHECKPOINT} is damaged ({error}); delete the run and "
                "train anew"
            ) from error
        # Fewer steps than are done undo none of them, and the command must make what is saved.
        total = max(total, made.iteration)
        command = train_command(agent, task.id, total, [seed], settings)
    return _iterate(made, game, total, run, out, saved, command)


def _iterate(
    learner: GameLearner,
    game: ZeroSumGame,
    total: int,
    run: dict[str, Any],
    out: Path,
    saved: Tensors | None,
    command: str,
) -> Iterator[Progress]:
    log = _open_log(out, None if saved is None else learner.iteration)
    clock = np.zeros(2) if saved is None else saved["seconds"].astype(np.float64)
    last_saved = time.perf_counter()
    whole = _snapshot(learner, clock)
    try:
        while learner.iteration < total and not learner.finished:
            started = time.perf_counter()
            learner.advance()
            last = learner.iteration >= total or learner.finished
            learnt = time.perf_counter()
            clock = clock + np.array([learnt - started, 0.0])
            whole = _snapshot(learner, clock)
            if not last and learner.iteration % learner.report_every:
                continue
            metrics = learner.measure(last)
            now = time.perf_counter()
            clock = clock + np.array([0.0, now - learnt])
            whole["seconds"] = clock
            metrics["seconds"], metrics["scoring_seconds"] = clock.tolist()
            ended = where_solved(run["settings"]) if learner.finished else ""
            progress = Progress(learner.iteration, total, metrics, ended)
            log.write(progress)
            if now - last_saved > SECONDS_BETWEEN_CHECKPOINTS:
                _save(learner, game, run, out, whole, command, total)
                last_saved = time.perf_counter()
            yield progress
    finally:
        # Ctrl-C may strike in the middle of an iteration; what is saved is the last whole one.
        learner.restore(whole)
        _save(learner, game, run, out, whole, command, total)
        log.close()


def _snapshot(learner: GameLearner, clock: Floats) -> Tensors:
    return {**learner.state(), "seconds": clock}


def _save(
    learner: GameLearner,
    game: ZeroSumGame,
    run: dict[str, Any],
    out: Path,
    whole: Tensors,
    command: str,
    total: int,
) -> None:
    # All that changes is in one file, which is replaced whole: a kill cannot tear it.
    write_tensors(out / CHECKPOINT / WEIGHTS, whole)
    about = {"format": FORMAT, "kind": "game-checkpoint", **run}
    write_json(out / CHECKPOINT / CONFIG, about, allow_nan=True)
    # A population is good at any time, so it is saved with what its training still lacks.
    ended = (
        Ended.SOLVED
        if learner.finished
        else Ended.COMPLETE
        if learner.iteration >= total
        else Ended.STOPPED
    )
    config = {
        **run,
        "iterations": learner.iteration,
        "total_steps": total,
        "ended": ended,
        "command": command,
    }
    rows, columns = (_plans_of(game, player, learner.plans()[player]) for player in (0, 1))
    save_population(out, game, (rows, columns), learner.meta_strategy(), config, pure=learner.pure)


def _plans_of(game: ZeroSumGame, player: int, plans: Floats) -> Floats:
    """Return plans as the game has them: regrets of a matrix game are kept on its tree."""
    return (
        plans[:, 1:]
        if isinstance(game, MatrixGame) and plans.shape[1] > game.shape[player]
        else plans
    )


def _checkpoint(out: Path, run: dict[str, Any]) -> Tensors | None:
    """Return the checkpoint in ``out``, or None if the run was killed before its first one."""
    folder = out / CHECKPOINT
    if not (folder / CONFIG).exists():
        return None
    saved = load_saved(folder)
    check_identity(out, saved.config, run)
    if "seconds" not in saved.tensors or "iteration" not in saved.tensors:
        raise WeightsError(
            f"the checkpoint in {folder} lacks its counters; delete the run and train anew"
        )
    return saved.tensors


def _open_log(out: Path, keep_until: int | None) -> TrainingLog:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return TrainingLog(out, keep_until)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
