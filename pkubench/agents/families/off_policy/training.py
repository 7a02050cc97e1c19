"""Training an off-policy preset: the loop, its checkpoints and the saved agent."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pkubench.agents.families.off_policy import checkpoint
from pkubench.agents.families.off_policy.loading import KIND
from pkubench.agents.families.off_policy.presets import preset
from pkubench.agents.nn.normalisers import ObservationNorm
from pkubench.agents.rl.memory import keep_freed_memory
from pkubench.agents.rl.off_policy.config import OffPolicyConfig
from pkubench.agents.rl.off_policy.learner import Batch, OffPolicyLearner
from pkubench.agents.rl.replay import Array, ReplayBuffer
from pkubench.agents.rl.rollout import (
    Behaviour,
    Collector,
    EpisodeWindow,
    Rollout,
    masks_of,
)
from pkubench.agents.saved.files import Tensors, load_saved, save_agent
from pkubench.agents.saved.runs import begin_training, check_identity, is_closed, train_command
from pkubench.agents.training import Progress, TrainingLog, configured
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
from pkubench.errors import ConfigError
from pkubench.tasks.task import Task


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
) -> Generator[Progress, None, None]:
    """Train a preset (see ``pkubench.agents.training.Trainer``)."""
    for progress in train_together(
        agent,
        task,
        steps=steps,
        seeds=[seed],
        settings=settings,
        outs=[out],
        resume=resume,
        device=device,
    ):
        yield progress[0]


def train_together(
    agent: str,
    task: Task,
    *,
    steps: int | None,
    seeds: Sequence[int],
    settings: Mapping[str, str],
    outs: Sequence[Path],
    resume: bool = False,
    device: str = "cpu",
) -> Generator[list[Progress], None, None]:
    """Train several seeds in one process, their networks side by side; one folder a seed.

    Each has its own lanes, replay, noise and initial weights, and becomes what it would have
    become alone. Otherwise as ``pkubench.agents.training.Trainer``.
    """
    config, total = configured(
        agent, task, preset(agent, task), settings, steps=steps, seeds=seeds, device=device
    )
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    runs = [
        _Run(agent, task, config, seed, tuple(seeds), total, out, dict(settings))
        for seed, out in zip(seeds, outs, strict=True)
    ]
    try:
        yield from _Runs(runs, config, total, device).go(resume)
    finally:
        for run in runs:
            run.env.close()


class _Run:
    """One training seed: its lanes, its replay and its folder."""

    replay: ReplayBuffer
    collector: Collector
    costs: ObservationNorm | None
    """Moments of the costs, where they are standardised."""

    def __init__(
        self,
        agent: str,
        task: Task,
        config: OffPolicyConfig,
        seed: int,
        seeds: tuple[int, ...],
        total: int,
        out: Path,
        settings: dict[str, str],
    ) -> None:
        self.agent, self.task, self.config, self.seed = agent, task, config, seed
        self.seeds = seeds
        """All seeds of the process: what a run becomes depends on them in the last bits."""
        self.total, self.out, self.settings = total, out, settings
        self.env: BatchEnv = make_batch(task.id, config.num_envs, **task.env_kwargs)

    def start(self, learner: OffPolicyLearner) -> None:
        """Make lanes and replay."""
        self.learner = learner
        self.collector = Collector(
            self.env, self.seed, self.config.window, _plain, cost_limit=self.task.cost_limit
        )
        self.replay = ReplayBuffer(learner.layout, self.env.num_envs, self.config.buffer_size)
        self.costs = ObservationNorm(1) if self.config.cost_norm else None

    @property
    def parts(self) -> dict[str, checkpoint.Freezable]:
        """What a checkpoint holds besides the networks."""
        parts: dict[str, checkpoint.Freezable] = {"lanes": self.collector, "replay": self.replay}
        return parts if self.costs is None else {**parts, "costs": self.costs}

    def remember(self, data: Rollout) -> None:
        """Put a rollout into the replay."""
        layout, agents = self.learner.layout, self.env.agents
        actions = [self._numbers(agent, data.actions[agent]) for agent in agents]
        costs = data.costs if self.costs is None else self.costs.in_steps(data.costs)
        sums = np.stack([data.team_rewards, costs], -1)
        seen = [data.observations[a] for a in agents]
        after = [data.next_observations[a] for a in agents]
        if layout.is_state_stored:
            seen.append(data.states)
            after.append(data.next_states)
        rows = np.concatenate([*seen, *actions, sums], axis=-1)
        next_rows = np.concatenate([*after, *map(np.zeros_like, actions), 0.0 * sums], axis=-1)
        self.replay.add(rows, next_rows, data.terminated, data.truncated)

    def collect(self, act: Behaviour) -> None:
        """Take a training interval's steps and remember them."""
        self.remember(self.collector.collect(self.config.train_interval, act, restart=False))

    def _numbers(self, agent: str, actions: Array) -> Array:
        """Return actions (T, N, d) as the critic sees them."""
        space = self.env.action_spaces[agent]
        size = self.learner.layout.actions[agent]
        if actions.ndim == 3:
            return actions.astype(np.float32, copy=False)
        start = int(getattr(space, "start", 0))
        one_hot: Array = np.eye(size.stop - size.start, dtype=np.float32)[actions - start]
        return one_hot

    def identity(self) -> dict[str, Any]:
        """Return what a run is, apart from how far it came."""
        return {
            "agent": self.agent,
            "task": self.task.id,
            "seed": self.seed,
            "total_steps": self.total,
            "settings": dataclasses.asdict(self.config),
        }

    def save(self, row: int, steps: int, seconds: float) -> None:
        """Write ``config.json`` and ``weights.safetensors``: the actors, ready to act."""
        learner = self.learner
        tensors: Tensors = {}
        members: dict[str, Any] = {}
        for agent in self.env.agents:
            g, m = learner.place[agent]
            group = learner.groups[g]
            name = "shared" if group.shared and len(group.agents) > 1 else agent
            name = f"{name}{g}" if name == "shared" and len(learner.groups) > 1 else name
            network = group.network_of(m, row)
            last = len(group.net.layers) - 1
            for k, (weight, bias) in enumerate(group.net.layers):
                part = "head" if k == last else f"linears.{k}"
                tensors[f"{name}.{part}.weight"] = weight[network].t().cpu().numpy()
                tensors[f"{name}.{part}.bias"] = bias[network, 0].cpu().numpy()
            inputs, *hidden, outputs = group.net.sizes
            kind = "gaussian" if self.config.rule == "sac" else "deterministic"
            members[agent] = {
                "network": name,
                "spec": {
                    "inputs": inputs,
                    "hidden": hidden,
                    "outputs": outputs,
                    "activation": "relu",
                    "last_activation": "tanh" if group.net.is_last_tanh else "relu",
                    "layer_norm": False,
                },
                "head": "categorical" if group.head.is_discrete else kind,
                "bounds": self.config.bounds,
            }
        save_agent(
            self.out,
            {
                "kind": KIND,
                **self.identity(),
                "steps": steps,
                "seconds": round(seconds, 1),
                "command": self.command(),
                **self.collector.window.costs_of_training(),
                "members": members,
            },
            tensors,
        )

    def command(self) -> str:
        """Return the command that trains this run."""
        return train_command(self.agent, self.task.id, self.total, self.seeds, self.settings)


class _Runs:
    """Training seeds side by side."""

    def __init__(self, runs: list[_Run], config: OffPolicyConfig, total: int, device: str) -> None:
        self.runs, self.config, self.total = runs, config, total
        env = runs[0].env
        if masks_of(env.reset(np.arange(env.num_envs))[1], env.agents):
            raise ConfigError("off-policy agents learn worlds where every action is always legal")
        self.learner = OffPolicyLearner(env, config, [run.seed for run in runs], device)
        for run in runs:
            run.start(self.learner)
        shape = (2, len(runs), config.batch_size, self.learner.layout.width)
        self.room = np.empty(shape, dtype=np.float32)
        self.steps, self.seconds = 0, 0.0

    def go(self, resume: bool) -> Generator[list[Progress], None, None]:
        """Train to the end, from the start or from the checkpoints."""
        for run in self.runs:
            begin_training(run.out, run.identity(), run.command(), resume=resume)
        if resume:
            if self._is_over():
                return
            self._resume()
        logs = [TrainingLog(run.out, self.steps if resume else None) for run in self.runs]
        saved_at = self.steps
        # An interrupt may strike in the middle of an update, where networks and lanes belong to no
        # step of the run; a checkpoint is taken between updates only.
        is_between_updates = True
        is_over = False
        try:
            while self.steps < self.total:
                is_between_updates = False
                progress = self._iterate()
                is_between_updates = True
                for log, line in zip(logs, progress, strict=True):
                    log.write(line)
                if self.steps - saved_at >= self.config.checkpoint_steps:
                    self._checkpoint()
                    saved_at = self.steps
                yield progress
            for row, run in enumerate(self.runs):
                run.save(row, self.steps, self.seconds)
                # hundreds of megabytes of replay, and nothing is left to go on with
                (run.out / checkpoint.FILE).unlink(missing_ok=True)
            is_over = True
        finally:
            if self.steps > saved_at and is_between_updates and not is_over:
                self._checkpoint()
            for log in logs:
                log.close()

    def _iterate(self) -> list[Progress]:
        started = time.perf_counter()
        config = self.config
        is_warm = self.steps >= config.warmup_steps
        for row, run in enumerate(self.runs):
            act = partial(self._act, row, is_warm)
            run.collect(act)
        self.steps += config.interval_steps
        found = self._update() if self.steps > config.warmup_steps else {}
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        reports = []
        for row, run in enumerate(self.runs):
            metrics = {
                **run.collector.window.curve(),
                **{name: float(values[row]) for name, values in found.items()},
                "steps_per_second": config.interval_steps / elapsed,
                "seconds": self.seconds,
            }
            finite = {k: round(v, 6) for k, v in metrics.items() if v == v}
            reports.append(Progress(self.steps, self.total, finite))
        return reports

    def _act(
        self,
        row: int,
        is_warm: bool,
        observations: Mapping[str, Array],
        masks: Mapping[str, Array],
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Act for one training seed (see ``collector.Behaviour``)."""
        if is_warm:
            actions = self.learner.act(row, observations)
        else:
            actions = self.learner.act_randomly(row, self.config.num_envs)
        return actions, actions, {}

    def _update(self) -> dict[str, torch.Tensor]:
        """Do a burst of updates; return the diagnostics of the last."""
        config, learner = self.config, self.learner
        is_omnisafe = config.variant == "omnisafe"
        if not is_omnisafe:
            self._hear(EpisodeWindow.news)
        drawn = [
            run.replay.draw(
                config.updates, config.batch_size, config.n_step, config.gamma, generator
            )
            for run, generator in zip(self.runs, learner.generators, strict=True)
        ]
        sums = [
            torch.from_numpy(np.stack([getattr(d, name) for d in drawn], 1)).to(learner.device)
            for name in ("rewards", "costs", "discounts")
        ]
        found: dict[str, torch.Tensor] = {}
        for k in range(config.updates):
            for row, run in enumerate(self.runs):
                run.replay.gather(drawn[row].rows[k], self.room[0, row])
                run.replay.gather(drawn[row].next_rows[k], self.room[1, row])
            rows, next_rows = torch.from_numpy(self.room).to(learner.device)
            batch = Batch(rows, next_rows, *(values[k] for values in sums))
            # TD3's last update may be one without actors; SAC's has them always
            found = learner.update(batch, is_reported=k + 1 == config.updates)
            if is_omnisafe:
                self._hear(EpisodeWindow.means)
        return found

    def _hear(self, told: Callable[[EpisodeWindow], tuple[float, float]]) -> None:
        """Tell the constraints what recent episodes cost and how long they were."""
        if not self.learner.constraints or self.steps <= self.config.lambda_warmup_steps:
            return
        for run, constraint in zip(self.runs, self.learner.constraints, strict=True):
            constraint.update(*told(run.collector.window))

    def _checkpoint(self) -> None:
        for row, run in enumerate(self.runs):
            facts = {**run.identity(), "steps": self.steps, "seconds": self.seconds}
            checkpoint.save_checkpoint(run.out, self.learner, row, run.parts, facts)

    def _is_over(self) -> bool:
        """Return whether every run was completed, as its saved agent without checkpoint says."""
        for run in self.runs:
            if not is_closed(run.out):
                return False
            check_identity(run.out, load_saved(run.out).config, run.identity())
        return True

    def _resume(self) -> None:
        reached = set()
        for row, run in enumerate(self.runs):
            if not (run.out / checkpoint.FILE).exists():  # killed before its first one
                reached.add(self.total if is_closed(run.out) else 0)
                continue
            tensors, facts = checkpoint.read_checkpoint(run.out)
            check_identity(run.out, facts, run.identity())
            checkpoint.restore(tensors, facts, self.learner, row, run.parts)
            reached.add(int(facts["steps"]))
            self.steps, self.seconds = int(facts["steps"]), float(facts["seconds"])
        if len(reached) > 1:
            raise ConfigError(
                f"the runs stopped at different steps ({sorted(reached)}): resume them one by one"
            )


def _plain(
    observations: Mapping[str, Array], state: Array, fresh: bool
) -> tuple[dict[str, Array], Array]:
    """Return network inputs as they are, flat float32."""
    flat = {
        a: o.reshape(len(o), -1).astype(np.float32, copy=False) for a, o in observations.items()
    }
    return flat, state.astype(np.float32, copy=False)
