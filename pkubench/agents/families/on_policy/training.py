"""Training an on-policy preset: the loop, its checkpoints and the saved agent."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch

from pkubench.agents.components import as_plain
from pkubench.agents.families.on_policy import checkpoint
from pkubench.agents.families.on_policy.loading import KIND
from pkubench.agents.families.on_policy.presets import preset
from pkubench.agents.rl.budget import Saute
from pkubench.agents.rl.memory import keep_freed_memory
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.on_policy.learner import OnPolicyLearner
from pkubench.agents.rl.rollout import Collector
from pkubench.agents.saved.files import Tensors, save_agent
from pkubench.agents.saved.runs import begin_training, check_identity, is_closed, train_command
from pkubench.agents.training import Progress, TrainingLog, configured
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.registry import make_batch
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
    config, total = configured(
        agent, task, preset(agent, task), settings, steps=steps, seeds=[seed], device=device
    )
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    env = config.constraint.wrap(make_batch(task.id, config.num_envs, **task.env_kwargs))
    try:
        run = _Run(agent, task, config, seed, total, out, device, dict(settings), env)
        yield from run.go(resume)
    finally:
        env.close()


class _Run:
    """One training run in one folder."""

    def __init__(
        self,
        agent: str,
        task: Task,
        config: OnPolicyConfig,
        seed: int,
        total: int,
        out: Path,
        device: str,
        settings: dict[str, str],
        env: BatchEnv,
    ) -> None:
        self.agent, self.task, self.config, self.seed = agent, task, config, seed
        self.total, self.out, self.device, self.settings = total, out, device, settings
        self.env = env
        self.learner = OnPolicyLearner(env, config, seed, device)
        self.collector = Collector(
            env,
            seed,
            config.window,
            self.learner.prepare,
            cost_limit=task.cost_limit,
            units=self.learner.units,
        )
        self.steps, self.seconds = 0, 0.0

    def go(self, resume: bool) -> Generator[Progress, None, None]:
        """Train to the end, from the start or from the checkpoint."""
        begin_training(self.out, self._identity(), self._command(), resume=resume)
        if resume and is_closed(self.out):
            return
        if resume:
            self._resume()
        log = TrainingLog(self.out, self.steps if resume else None)
        saved_at = self.steps
        # An interrupt may strike in the middle of an update, where networks and lanes belong to no
        # step of the run; a checkpoint is taken between updates only.
        is_between_updates = True
        try:
            while self.steps < self.total:
                is_between_updates = False
                progress = self._iterate()
                is_between_updates = True
                log.write(progress)
                if self.steps - saved_at >= self.config.checkpoint_steps:
                    self._checkpoint()
                    saved_at = self.steps
                yield progress
            self.save()
        finally:
            if self.steps > saved_at and is_between_updates:
                self._checkpoint()
            log.close()

    def _iterate(self) -> Progress:
        started = time.perf_counter()
        config, collector, learner = self.config, self.collector, self.learner
        data = collector.collect(
            config.rollout_steps, learner.behave, restart=config.reset_each_rollout
        )
        cost, length = collector.window.news()
        diagnostics = learner.update(data, cost, self.steps / self.total, length)
        self.steps += config.batch_steps
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        metrics = {
            **collector.window.curve(),
            **diagnostics,
            "steps_per_second": config.batch_steps / elapsed,
            "seconds": self.seconds,
        }
        finite = {k: round(v, 6) for k, v in metrics.items() if v == v}
        return Progress(self.steps, self.total, finite)

    def _identity(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "task": self.task.id,
            "seed": self.seed,
            "total_steps": self.total,
            "settings": as_plain(self.learner.config),
        }

    def _checkpoint(self) -> None:
        facts = {**self._identity(), "steps": self.steps, "seconds": self.seconds}
        checkpoint.save_checkpoint(self.out, self.learner, self.collector, facts)

    def _resume(self) -> None:
        if not (self.out / checkpoint.FILE).exists():  # killed before its first one
            return
        facts = checkpoint.read_facts(self.out)
        check_identity(self.out, facts, self._identity())
        checkpoint.load_checkpoint(self.out, self.learner, self.collector)
        self.steps, self.seconds = int(facts["steps"]), float(facts["seconds"])

    def save(self) -> None:
        """Write ``config.json`` and ``weights.safetensors``: the actors, ready to act."""
        learner = self.learner
        tensors: Tensors = {}
        members: dict[str, Any] = {}
        for name, actor in learner.actors.items():
            for key, tensor in actor.state_dict().items():
                key = key.removeprefix("net.")
                tensors[f"{name}.{key}"] = tensor.cpu().numpy()
        for agent, name in learner.actor_names.items():
            norm = learner.norms.get(agent)
            if norm is not None:
                tensors[f"{agent}.observation_mean"] = norm.mean.astype("float32")
                tensors[f"{agent}.observation_std"] = norm.std.astype("float32")
            members[agent] = {
                "network": name,
                "spec": learner.actors[name].net.spec.as_config(),
                "std": learner.actors[name].std_kind,
                "action_map": self.config.action_map,
                "observation_norm": norm is not None,
            }
            if isinstance(self.env, Saute):
                members[agent]["budget"] = self.env.budget._asdict()
        save_agent(
            self.out,
            {
                "kind": KIND,
                **self._identity(),
                "steps": self.steps,
                "seconds": round(self.seconds, 1),
                "command": self._command(),
                **self.collector.window.costs_of_training(),
                "members": members,
            },
            tensors,
        )

    def _command(self) -> str:
        return train_command(self.agent, self.task.id, self.total, [self.seed], self.settings)
