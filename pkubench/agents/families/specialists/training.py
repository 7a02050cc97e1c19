"""One training of all specialists: PPO on each group of tasks in turn, from the same generalist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pkubench.agents.components import as_plain
from pkubench.agents.families.specialists.loading import LABELS
from pkubench.agents.families.specialists.presets import SpecialistsConfig
from pkubench.agents.families.specialists.tasks import CODES, UP, KnownTasks, read_tasks
from pkubench.agents.learner import Array, Context, Counters, Export, State
from pkubench.agents.rl.on_policy.start import INPUT
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.agents.rl.partitions import category_partition, random_partition
from pkubench.agents.saved.files import load_saved
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.errors import WeightsError

TASKS = "tasks"
"""Setting of the environment: the pairs of object and pose that seeds draw from."""


class SpecialistsTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``.

    A budget of T steps gives each of K specialists T / K, whatever the size of its group.
    """

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Divide the tasks, and begin with the first specialist.

        Raises:
            ConfigError: the settings do not fit the task, or the inputs each other.
            WeightsError: an input is damaged.
        """
        self.context = context
        self.config: SpecialistsConfig = context.settings
        self.tasks: KnownTasks = read_tasks(context.inputs["geometry"])
        self.labels = self._partition()
        self.count = int(self.labels.max()) + 1
        self.kept: list[dict[str, Array]] = []
        """Tensors of the specialists that are trained, in order."""
        self.before = Counters()
        """What those took."""
        self.current = self._begin()

    def _partition(self) -> Any:
        config, tasks = self.config, self.tasks
        if config.partition == "geometry":
            return tasks.labels
        if config.partition == "category":
            return category_partition(tasks.families, int(tasks.labels.max()) + 1)
        seed = self.context.seed if config.partition_seed is None else config.partition_seed
        return random_partition(tasks.labels, seed)

    def _begin(self) -> OnPolicyTraining:
        """Return the training of the next specialist."""
        group = self.tasks.group(self.labels, len(self.kept))
        context = self.context
        own = {**context.env_kwargs, TASKS: group}
        share = max(1, context.total // self.count)
        return OnPolicyTraining(replace(context, env_kwargs=own, total=share))

    @property
    def counters(self) -> Counters:
        """Progress of all specialists together."""
        both = zip(self.before, self.current.counters, strict=True)
        return Counters(*(first + second for first, second in both))

    def iterate(self) -> dict[str, float]:
        """Update the present specialist once; where its share is spent, begin with the next."""
        number = len(self.kept)
        figures = self.current.iterate()
        done = self.counters
        is_due = done.environment_steps * self.count >= self.context.total * (number + 1)
        if is_due and number < self.count - 1:
            self.kept.append(self._tensors())
            self.before = done
            self.current.close()
            self.current = self._begin()
        return {**figures, "specialist": float(number)}

    def _tensors(self) -> dict[str, Array]:
        return dict(self.current.export().tensors)

    def state(self) -> State:
        """Return the finished specialists, and the state of the present one."""
        return {
            "kept": list(self.kept),
            "before": dict(self.before._asdict()),
            "current": self.current.state(),
        }

    def load_state(self, state: State) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of other specialists.
        """
        try:
            self.kept = [{name: of.copy() for name, of in one.items()} for one in state["kept"]]
            self.before = Counters(**state["before"])
        except (KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error
        if len(self.kept) >= self.count:
            raise WeightsError(f"the state has more than {self.count} specialists")
        self.current.close()
        self.current = self._begin()
        self.current.load_state(state["current"])

    def export(self) -> Export:
        """Return all specialists; those that are not trained yet are the generalist."""
        now = self.current.export()
        members = [*self.kept, dict(now.tensors)]
        if len(members) < self.count:
            start = load_saved(self.context.inputs[INPUT]).tensors
            first = {name: start[name] for name in now.tensors}
            members += [first] * (self.count - len(members))
        tensors: dict[str, Array] = {
            f"{k}.{name}": of for k, member in enumerate(members) for name, of in member.items()
        }
        tensors[LABELS] = np.asarray(self.labels, np.int64)
        tensors[CODES], tensors[UP] = (
            of.astype(np.float32) for of in (self.tasks.codes, self.tasks.up)
        )
        about = {
            "settings": as_plain(self.config),
            "specialists": self.count,
            "member": now.config["members"][SOLE_AGENT],
            "sizes": np.bincount(self.labels, minlength=self.count).tolist(),
        }
        return Export(about, tensors)

    def close(self) -> None:
        """Release the environments."""
        self.current.close()
