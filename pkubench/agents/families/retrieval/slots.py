"""The memory of a training: slots of states with their values, and how they are overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pkubench.agents.contract import BoolArray, IntArray
from pkubench.agents.families.retrieval.bank import Bank
from pkubench.agents.families.retrieval.episodes import Experience
from pkubench.agents.families.retrieval.networks import WIDTH, GridEncoder, Groups
from pkubench.agents.families.retrieval.reading import Optima
from pkubench.agents.families.retrieval.retrievers import SlotRetriever
from pkubench.errors import ConfigError

Array = npt.NDArray[Any]
OWNERLESS = -1
"""The episode of a slot that no episode of this training wrote."""


class Contents(NamedTuple):
    """The slots that are filled, as tensors (S, ...)."""

    patches: Tensor
    """(S, 4, 9, 12) of views, see ``GridEncoder``."""
    values: Tensor
    """As they are read, float32 (S,)."""
    tasks: Tensor
    episodes: Tensor
    keys: Tensor
    """(S, 64), random."""
    groups: Groups
    optima: Optima
    """Of states of a bank that knows them, zeros of others."""


class Slots:
    """A fixed number of slots, all of them empty at first."""

    def __init__(self, settings: SlotRetriever, tasks: int, generator: torch.Generator) -> None:
        """Make them.

        Args:
            settings: how many, and how they are written.
            tasks: K.
            generator: source of what is drawn.

        Raises:
            ConfigError: fewer slots than tasks.
        """
        if settings.quota and settings.slots < tasks:
            raise ConfigError(f"a quota needs at least {tasks} slots, one a task")
        self.settings, self.tasks_count, self.generator = settings, tasks, generator
        self.share = settings.slots // tasks if settings.quota else settings.slots
        """Slots of a task, or all of them."""
        owners = tasks if settings.quota else 1
        size = self.share * owners
        self.pointers: IntArray = np.zeros(owners, dtype=np.int64)
        """Where the next write goes, among each owner's slots."""
        self.images: Array = np.zeros((size, 7, 7, 3), np.uint8)
        self.values: Array = np.zeros(size, np.float32)
        self.tasks: IntArray = np.zeros(size, dtype=np.int64)
        self.episodes: IntArray = np.full(size, OWNERLESS, dtype=np.int64)
        self.keys: Array = np.zeros((size, WIDTH), np.float32)
        self.optimal_values: Array = np.zeros(size, np.float32)
        self.optimal_actions: Array = np.zeros(size, np.uint8)
        self.filled: BoolArray = np.zeros(size, dtype=np.bool_)
        self.shown: Array = self.values.copy()
        """Values as they are read: the true ones, or permuted."""

    def write(self, experience: Experience) -> None:
        """Write a draw of what ended, with replacement, over the oldest slots.

        As many states as there are slots, or fewer where fewer are given; with a quota, of each
        task as many as it has slots.
        """
        values = experience.returns
        if self.settings.centring == "rollout" and len(values):
            values = values - values.mean() + experience.values.mean()
        for owner in range(len(self.pointers)):
            of_owner = np.flatnonzero(experience.tasks == owner) if self.settings.quota else None
            count = len(values) if of_owner is None else len(of_owner)
            if not count:
                continue
            drawn = self._draw(count, min(self.share, count), replacement=True)
            rows = drawn if of_owner is None else of_owner[drawn]
            self._put(owner, experience, values, rows)
        self._show()

    def fill(self, bank: Bank) -> None:
        """Start again from a draw of a bank, without replacement; with a quota, of each task."""
        self.filled[:] = False
        self.pointers[:] = 0
        none = np.full(len(bank.values), OWNERLESS)
        given = Experience(bank.states, bank.tasks, bank.values, bank.values, none)
        for owner in range(len(self.pointers)):
            rows = (
                np.flatnonzero(bank.tasks == owner)
                if self.settings.quota
                else np.arange(len(bank.values))
            )
            chosen = rows[self._draw(len(rows), min(self.share, len(rows)), replacement=False)]
            at = self._put(owner, given, given.returns, chosen)
            if len(bank.optimal_values):
                self.optimal_values[at] = bank.optimal_values[chosen]
                self.optimal_actions[at] = bank.optimal_actions[chosen]
        self._show()

    def _draw(self, count: int, size: int, *, replacement: bool) -> IntArray:
        if replacement:
            return torch.randint(count, (size,), generator=self.generator).numpy()
        return torch.randperm(count, generator=self.generator)[:size].numpy()

    def _put(self, owner: int, given: Experience, values: Array, rows: IntArray) -> IntArray:
        """Write ``rows`` at an owner's pointer, and move it on; return their slots."""
        places = (self.pointers[owner] + np.arange(len(rows))) % self.share
        at: IntArray = owner * self.share + places
        self.pointers[owner] = (self.pointers[owner] + len(rows)) % self.share
        self.images[at], self.values[at] = given.images[rows], values[rows]
        self.tasks[at], self.episodes[at] = given.tasks[rows], given.episodes[rows]
        self.keys[at] = torch.randn(len(rows), WIDTH, generator=self.generator).numpy()
        self.filled[at] = True
        return at

    def _show(self) -> None:
        self.shown = self.values.copy()
        if self.settings.shuffled:
            at = np.flatnonzero(self.filled)
            order = torch.randperm(len(at), generator=self.generator).numpy()
            self.shown[at] = self.values[at[order]]

    def contents(self, encoder: GridEncoder, device: str = "cpu") -> Contents | None:
        """Return what is filled, cut for an encoder; None where nothing is."""
        at = np.flatnonzero(self.filled)
        if not len(at):
            return None
        images, values, tasks, episodes, keys, *optima = (
            torch.from_numpy(of[at]).to(device)
            for of in (
                *(self.images, self.shown, self.tasks, self.episodes, self.keys),
                *(self.optimal_values, self.optimal_actions),
            )
        )
        groups = Groups.of(self.tasks[at], self.tasks_count, device)
        return Contents(
            encoder.patches(images), values, tasks, episodes, keys, groups, Optima(*optima)
        )

    def state(self) -> dict[str, Array]:
        """Return everything as arrays."""
        return {name: getattr(self, name).copy() for name in _ARRAYS}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Restore what ``state`` returned."""
        for name in _ARRAYS:
            getattr(self, name)[...] = state[name]


_ARRAYS = (
    *("pointers", "images", "values", "tasks", "episodes", "keys", "filled", "shown"),
    *("optimal_values", "optimal_actions"),
)
