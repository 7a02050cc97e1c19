"""Learners small enough to be killed at every iteration, registered for a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents import registry
from pkubench.agents.learner import Context, Counters, Export, Stage, State
from pkubench.agents.registry import AgentFamily, Preset
from pkubench.errors import WeightsError
from pkubench.tasks.task import Metric, Protocol, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyConfig:
    """Settings of the toys."""

    gamma: float = 0.95
    stride: int = 10
    """Environment steps of an iteration."""


CONFIG = ToyConfig()


class Counting:
    """Counts in strides; its one weight is the count, on top of what it starts from."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        self.config, self.seed, self.closed = context.settings, context.seed, 0
        self.counters = Counters()
        start = context.inputs.get("start")
        self.weight = np.zeros(3)
        if start is not None:
            from pkubench.agents.saved.files import load_saved

            self.weight = load_saved(start).tensors["weight"]
        self.draws = 0.0

    def iterate(self) -> Mapping[str, float]:
        done = self.counters
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + self.config.stride,
        )
        self.draws = self.draw()
        self.weight = self.weight + self.draws
        return {"return": self.counters.environment_steps / 2, "draw": self.draws, "x": np.nan}

    def draw(self) -> float:
        return float(np.random.random())  # noqa: NPY002 - what dropout is to torch

    def state(self) -> State:
        return {"weight": self.weight, "counters": dict(self.counters._asdict())}

    def load_state(self, state: State) -> None:
        if state["weight"].shape != (3,):
            raise WeightsError("another shape")
        self.weight = state["weight"].copy()
        self.counters = Counters(**state["counters"])

    def export(self) -> Export:
        return Export({"toy": True}, {"weight": self.weight.copy()}, {"notes.txt": b"counted"})

    def close(self) -> None:
        self.closed += 1


class Imitating(Counting):
    """Takes gradient steps on data; its weight is the data's mean reward, times their number."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.mean_reward = float(context.inputs["data"].rewards.mean())

    def iterate(self) -> Mapping[str, float]:
        done = self.counters
        self.counters = done._replace(
            iterations=done.iterations + 1, gradient_steps=done.gradient_steps + 5
        )
        self.weight = np.full(3, self.mean_reward * self.counters.gradient_steps)
        return {"loss": 1 / self.counters.gradient_steps}


class CountingBatch:
    """Several of them side by side."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self.members = [Counting(context) for context in contexts]

    def iterate(self) -> Sequence[Mapping[str, float]]:
        return [member.iterate() for member in self.members]


class Anytime(Counting):
    """Counts iterations, reports every second one, and is over at 7 whatever the budget."""

    is_anytime = True

    @property
    def ended(self) -> str:
        return "at seven" if self.counters.iterations >= 7 else ""

    def draw(self) -> float:
        return float(np.random.default_rng([self.seed, self.counters.iterations]).random())

    def iterate(self) -> Mapping[str, float]:
        figures = super().iterate()
        is_told = self.counters.iterations % 2 == 0 or self.ended
        return figures if is_told else {}

    def state(self) -> State:
        return {"weight": self.weight.copy(), "counters": dict(self.counters._asdict())}


class Recurrent:
    """A GRU with dropout that predicts the next of its own noisy inputs, hidden state and all.

    Initial weights, dropout and inputs are drawn from torch's global generator.
    """

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        import torch

        self.gru = torch.nn.GRU(2, 4)
        self.head = torch.nn.Linear(4, 2)
        self.adam = torch.optim.Adam([*self.gru.parameters(), *self.head.parameters()], 0.01)
        self.hidden = torch.zeros(1, 3, 4)
        self.counters = Counters()

    def iterate(self) -> Mapping[str, float]:
        import torch

        inputs = torch.randn(5, 3, 2)
        outputs, hidden = self.gru(inputs, self.hidden)
        guesses = self.head(torch.nn.functional.dropout(outputs, 0.5))
        loss = (guesses[:-1] - inputs[1:]).square().mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        self.hidden = hidden.detach()
        done = self.counters
        self.counters = done._replace(
            iterations=done.iterations + 1, environment_steps=done.environment_steps + 15
        )
        return {"loss": loss.item()}

    def _modules(self) -> dict[str, Any]:
        return {"gru": self.gru, "head": self.head}

    def state(self) -> State:
        import torch

        moments = self.adam.state_dict()["state"]
        return {
            "networks": {
                name: {k: v.numpy() for k, v in module.state_dict().items()}
                for name, module in self._modules().items()
            },
            "adam": {
                str(k): {n: torch.as_tensor(v).numpy() for n, v in of.items()}
                for k, of in moments.items()
            },
            "hidden": self.hidden.numpy(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        import torch

        def tensors(arrays: Mapping[str, Any]) -> dict[str, Any]:
            return {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}

        for name, module in self._modules().items():
            module.load_state_dict(tensors(state["networks"][name]))
        adam = self.adam.state_dict()
        adam["state"] = {int(k): tensors(of) for k, of in state["adam"].items()}
        self.adam.load_state_dict(adam)
        self.hidden = torch.from_numpy(np.array(state["hidden"]))
        self.counters = Counters(**state["counters"])

    def export(self) -> Export:
        networks: Any = self.state()["networks"]
        tensors = {f"{name}.{k}": v.copy() for name, of in networks.items() for k, v in of.items()}
        return Export({}, tensors)

    def close(self) -> None:
        pass


def plan_two(context: Context, results: Sequence[Any]) -> Sequence[Stage]:
    """Count, and count on from there; how far is known only when the first stage is done."""
    first = Stage(name="first", agent="toy", task=context.task, total=40)
    if not results:
        return [first]
    gamma = 0.5 if "weights_sha256" in results[0].config else 0.4
    second = Stage(
        name="second",
        agent="toy-from",
        task=context.task,
        total=context.total,
        settings={"gamma": gamma},
        inputs={"start": results[0].folder},
    )
    return [first, second]


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "toy": ("Counting", {"batch": "tests.training.toys:CountingBatch"}),
    "toy-from": (
        "Counting",
        {"inputs": (registry.Input(name="start", summary="weights", is_required=True),)},
    ),
    "toy-data": ("Imitating", {"inputs": (registry.DATA,), "unit": "gradient_steps"}),
    "toy-anytime": ("Anytime", {"unit": "iterations"}),
    "toy-recurrent": ("Recurrent", {}),
    "toy-plan": ("", {"plan": "tests.training.toys:plan_two"}),
}
"""Agent (and family) -> class of its learner, and what else its family declares."""


def declared(agent: str) -> tuple[AgentFamily, Preset]:
    """Return the declaration of a toy."""
    learner, more = FAMILIES[agent]
    family = AgentFamily(
        name=agent,
        summary="a toy",
        kind=agent,
        configure="tests.training.toys:configure",
        learner=f"tests.training.toys:{learner}" if learner else None,
        **more,
    )
    preset = Preset(
        name=agent,
        family=agent,
        summary="a toy",
        suites=("marl",),
    )
    return family, preset


def register_toys() -> None:
    """Register every toy, for a process that ends with its test."""
    for agent in FAMILIES:
        family, preset = declared(agent)
        registry.register_family(family, [preset])


def configure(name: str, task: Task | None) -> Any:
    """Return the config of a toy, the same on every task."""
    return CONFIG


@contextmanager
def registered() -> Iterator[None]:
    """Register every toy for a while."""
    registry.presets()
    with pytest.MonkeyPatch.context() as patch:
        for agent in FAMILIES:
            family, preset = declared(agent)
            patch.setitem(registry._FAMILIES, agent, family)
            patch.setitem(registry._PRESETS, agent, preset)
        registry._sorted_presets.cache_clear()
        yield
    registry._sorted_presets.cache_clear()


@pytest.fixture
def toys() -> Iterator[None]:
    """Register every toy for one test."""
    with registered():
        yield


def toy_task(budget: int | None = 100) -> Task:
    """Return a task that toys never play: validation is off."""
    return Task(
        id="pkubench/SimpleSpread-v0",
        suite="marl",
        title="toy",
        metrics=(Metric(name="return", higher_is_better=True, unit="", describe=""),),
        protocol=Protocol(
            episodes=1, horizon=25, budget={"environment_steps": budget}, quick_episodes=1
        ),
    )


def weights(folder: Path) -> bytes:
    """Return the bytes of a run's weights."""
    return (folder / "weights.safetensors").read_bytes()


class Killed(BaseException):
    """A kill between an update and what the session does after it."""


@contextmanager
def killed_after(learner: type[Any], iteration: int) -> Iterator[None]:
    """Expect the training inside to be killed when a learner has done an iteration."""
    iterate = learner.iterate

    def killed(self: Any) -> Any:
        figures = iterate(self)
        if self.counters.iterations == iteration:
            raise Killed
        return figures

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(learner, "iterate", killed)
        yield
