"""Good and bad agents for the counting environment."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import Any

import numpy as np

from pkubench.agents.contract import MaskedObservation


class Honest:
    """Repeats the number it sees."""

    def begin(self, seeds: Any) -> Any:
        return np.zeros(len(seeds), np.int64)

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        if isinstance(observation, MaskedObservation):
            observation = observation.observation
        return observation[:, 1].astype(np.int64), state + 1


class Speechless(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Faulty(Honest):
    """Honest for three steps; then ``fault`` happens."""

    def __init__(self, fault: str, index: int = 3) -> None:
        self.fault, self.index = fault, index

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        actions, state = super().act(observation, state, active)
        if state[0] <= 3:
            return actions, state
        return getattr(self, self.fault)(actions, state)

    def raising(self, actions: Any, state: Any) -> Any:
        raise ValueError(f"object at {hex(id(self))}\nsecond line")

    def speechless(self, actions: Any, state: Any) -> Any:
        raise Speechless

    def exiting(self, actions: Any, state: Any) -> Any:
        sys.exit("enough")

    def dying(self, actions: Any, state: Any) -> Any:
        os._exit(7)

    def killed(self, actions: Any, state: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def hanging(self, actions: Any, state: Any) -> Any:
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    def deaf(self, actions: Any, state: Any) -> Any:
        """Cannot be interrupted by any signal that a process may ignore."""
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
        time.sleep(600)

    def nan(self, actions: Any, state: Any) -> Any:
        floats = actions.astype(np.float32)[:, None]
        floats[self.index] = np.nan
        return floats, state

    def vast(self, actions: Any, state: Any) -> Any:
        floats = actions.astype(np.float32)[:, None]
        floats[self.index] = -3e38
        return floats, state

    def outside(self, actions: Any, state: Any) -> Any:
        actions[self.index] = -1
        return actions, state

    def masked(self, actions: Any, state: Any) -> Any:
        actions[:] = 1
        actions[self.index] = 0
        return actions, state

    def shape(self, actions: Any, state: Any) -> Any:
        return actions[:-1], state

    def dtype(self, actions: Any, state: Any) -> Any:
        return actions.astype(np.float64), state

    def words(self, actions: Any, state: Any) -> Any:
        return ["one"] * len(actions), state

    def ragged(self, actions: Any, state: Any) -> Any:
        return [[1], [1, 2]], state

    def alone(self, actions: Any, state: Any) -> Any:
        return actions


class HonestBox(Honest):
    """Honest, for continuous actions."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        return observation[:, 1:].astype(np.float32), state


class FaultyBox(Faulty):
    """Faulty, for continuous actions."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        actions, state = super().act(observation, state, active)
        return actions.reshape(len(active), -1).astype(np.float32), state


class Sloppy:
    """Keeps what it should not: a counter of its own, and numbers from global generators."""

    def __init__(self) -> None:
        self.calls = 0

    def begin(self, seeds: Any) -> None:
        return None

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        self.calls += 1
        draw = random.randrange(3) + int(np.random.randint(3))  # noqa: NPY002
        return (observation[:, 1].astype(np.int64) + self.calls // 7 + draw) % 3, None


class Scribbler(Honest):
    """Writes over everything it is given, and looks for more behind it."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        assert observation.base is None, "the observation leads to another array"
        actions, state = super().act(observation, state, active)
        observation[:] = 99.0
        active[:] = False
        self.actions = actions
        return actions, state


class Printer(Honest):
    """Talks on standard output."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        print("noise", flush=True)
        os.write(1, b"more noise\n")
        return super().act(observation, state, active)


class Slow(Honest):
    """Honest but slow, so that an evaluation can be killed in the middle."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        time.sleep(0.01)
        return super().act(observation, state, active)


def honest() -> Honest:
    return Honest()


def slow(task: str) -> Slow:
    assert task.startswith("pkubench/")
    return Slow()


def sloppy() -> Sloppy:
    return Sloppy()


def broken() -> Honest:
    raise RuntimeError("no weights today")


def endless() -> Honest:
    time.sleep(600)
    return Honest()


def two(first: str, second: str) -> Honest:
    return Honest()


NOT_AN_AGENT = 3


class Single:
    """A network of random weights that acts in single precision, as pkubench's own do not."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        shapes = ((2, 64), (64, 64), (64, 64), (64, 1))
        self.layers = [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    def begin(self, seeds: Any) -> None:
        return None

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        x = np.asarray(observation, np.float32) + np.float32(1.0)
        for layer in self.layers:
            x = np.sin(3.0 * (x @ layer[: x.shape[1]]))  # which makes much of a last bit
        return np.abs(x), state


def single() -> Single:
    return Single()
