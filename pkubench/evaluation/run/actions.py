"""Checks what an agent returned for each environment: a bad action fails one episode, not all."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from pkubench.agents.contract import Array, BoolArray
from pkubench.errors import ActionError
from pkubench.evaluation.run.failures import describe_error

_INT64 = np.dtype(np.int64)
_MAX_LISTED = 4096
"""Actions of the largest discrete space whose legal ones are kept as a set."""


class ActionFault(ActionError):
    """An action that fails the episodes of all active environments of the batch."""


class ActionCheck:
    """Turns one agent's answers into arrays that its environment accepts."""

    def __init__(self, agent: str, space: spaces.Space[Any], num_envs: int) -> None:
        """Prepare the check of ``num_envs`` actions of ``agent`` in ``space``."""
        self.agent, self.space = agent, space
        self._is_box = isinstance(space, spaces.Box)
        self._is_text = isinstance(space, spaces.Text)
        self._shape = (num_envs, *(space.shape or ()))
        self._dtype = space.dtype
        self._legal: frozenset[int] | None = None
        self._low: npt.NDArray[np.int64] | int = 0
        self._count: npt.NDArray[np.uint64] | np.uint64 = np.uint64(0)
        if isinstance(space, spaces.Discrete):
            self._low, self._count = int(space.start), np.uint64(space.n)
            if space.n <= _MAX_LISTED:
                self._legal = frozenset(range(int(space.start), int(space.start + space.n)))
        elif isinstance(space, spaces.MultiDiscrete):
            self._low = space.start.astype(np.int64)
            self._count = space.nvec.astype(np.uint64)
        elif isinstance(space, spaces.MultiBinary):
            self._count = np.uint64(2)
        elif not self._is_box and not self._is_text:
            raise ActionError(f"actions of {agent!r} lie in {space}, which cannot be scored")

    def to_array(self, answer: Any) -> Any:
        """Turn an answer into arrays or texts that run no code of the agent any more.

        Call it under the agent's clock: ``__array__``, ``__len__`` and the like are the agent's.

        Returns:
            What ``__call__`` takes: an array, or a list with an entry for each environment.

        Raises:
            ActionFault: it is not an array, or not a list of the right length.
        """
        if type(answer) is np.ndarray and not self._is_text:
            return answer
        if self._is_text:
            return self._text_list(answer)
        try:
            return np.array(answer)
        except Exception as error:
            raise ActionFault(
                f"wrong-shape: {self.agent} gave no array ({describe_error(error)})"
            ) from error

    def __call__(
        self, answer: Any, active: BoolArray, mask: Array | None
    ) -> tuple[Array, dict[int, str]]:
        """Return a fresh array of valid actions, and the faults by environment index.

        Where there is a fault, or an environment is not active, the action is some valid one.

        Args:
            answer: What ``to_array`` made of the agent's answer.
            active: Which environments count.
            mask: (num_envs, actions), 1 where legal; None if all are.

        Raises:
            ActionFault: the whole answer has the wrong shape or dtype.
        """
        if self._is_text:
            return self._texts(answer, active)
        if (
            mask is None
            and self._legal is not None
            and type(answer) is np.ndarray
            and answer.dtype is _INT64
            and answer.shape == self._shape
            and self._legal.issuperset(answer.tolist())
        ):  # the usual answer in discrete environments; for 16 numbers Python beats NumPy
            return answer.copy(), {}
        array = np.array(answer)  # a copy: the agent may keep writing to its own
        if array.shape != self._shape:
            raise ActionFault(
                f"wrong-shape: {self.agent} gave {array.shape}, wanted {self._shape} ({self.space})"
            )
        if self._is_box:
            return self._box(array, active)
        return self._discrete(array, active, mask)

    def _box(self, array: Array, active: BoolArray) -> tuple[Array, dict[int, str]]:
        if array.dtype.kind not in "fiu":
            raise ActionFault(
                f"wrong-dtype: {self.agent} gave {array.dtype}, wanted {self.space.dtype}"
            )
        if array.dtype != self._dtype:
            with np.errstate(over="ignore"):  # what overflows is infinite, and reported below
                array = array.astype(self.space.dtype)
        # One sum of squares sees NaN and infinity in any element; the rest finds out which.
        if math.isfinite(np.vdot(array, array)):
            return array, {}
        rows = array.reshape(len(array), -1)
        finite = np.isfinite(rows).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            bad = ~np.isfinite(np.square(rows).sum(axis=1))
        array[bad] = 0
        faults = _faults(bad & ~finite & active, f"not-finite: {self.agent} gave NaN or infinity")
        # Environments penalise squared actions: such a number would make the reward infinite.
        too_large = f"out-of-range: {self.agent} gave numbers too large to be squared"
        return array, faults | _faults(bad & finite & active, too_large)

    def _discrete(
        self, array: Array, active: BoolArray, mask: Array | None
    ) -> tuple[Array, dict[int, str]]:
        if array.dtype.kind not in "iu":
            raise ActionFault(f"wrong-dtype: {self.agent} gave {array.dtype}, wanted an integer")
        if array.dtype != _INT64:
            array = array.astype(np.int64)
        # Below the start wraps to a huge unsigned number: one comparison sees both ends.
        outside = (array - self._low).view(np.uint64) >= self._count
        faults: dict[int, str] = {}
        if outside.any():
            bad = outside.reshape(len(array), -1).any(axis=1)
            for env in np.flatnonzero(bad & active).tolist():
                faults[env] = (
                    f"out-of-range: {self.agent} chose {array[env].tolist()} of {self.space}"
                )
            array[bad] = self._low
        if mask is not None and array.ndim == 1:
            rows = np.arange(len(array))
            illegal = (mask[rows, array - self._low] == 0) & active
            for env in np.flatnonzero(illegal).tolist():
                faults.setdefault(
                    env, f"illegal-action: {self.agent} chose {int(array[env])}, which is masked"
                )
            # Inactive environments too need an action that is valid.
            legal = mask.argmax(axis=1) + self._low
            array = np.where((mask[rows, array - self._low] == 0), legal, array)
        return array, faults

    def _text_list(self, answer: Any) -> list[Any]:
        """Return each environment's text, or what it is instead."""
        wanted = self._shape[0]
        if isinstance(answer, str) or not hasattr(answer, "__len__"):
            raise ActionFault(f"wrong-dtype: {self.agent} gave {type(answer).__name__}, not a list")
        given = len(answer)
        if given == wanted:
            entries = list(itertools.islice(iter(answer), wanted))
            given = len(entries)
        if given != wanted:
            raise ActionFault(f"wrong-shape: {self.agent} gave {given} texts, wanted {wanted}")
        return [
            str.__str__(entry) if isinstance(entry, str) else _NoText(type(entry).__name__)
            for entry in entries
        ]

    def _texts(
        self, answer: list[str | _NoText], active: BoolArray
    ) -> tuple[Array, dict[int, str]]:
        texts = np.empty(len(answer), dtype=object)
        faults = {}
        for env, text in enumerate(answer):
            texts[env] = text if isinstance(text, str) else ""
            if active[env] and not isinstance(text, str):
                faults[env] = f"wrong-dtype: {self.agent} gave {text.kind}, not a text"
        return texts, faults


class _NoText(NamedTuple):
    """Replaces an answer that is not a text."""

    kind: str


def _faults(bad: BoolArray, reason: str) -> dict[int, str]:
    return dict.fromkeys(np.flatnonzero(bad).tolist(), reason)
