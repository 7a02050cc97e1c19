"""Settings of PPO on many grid worlds, with or without a memory that corrects the critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pkubench.agents.components import check_needs
from pkubench.agents.families.retrieval.retrievers import (
    AttentionRetriever,
    Retriever,
    SlotRetriever,
)
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalConfig:
    """Settings; defaults are those of the released code where it has them."""

    task_layer: Literal["hypernetwork", "one-hot", "heads"] = "hypernetwork"
    """How the policy and the critic differ by task. ``hypernetwork``: a layer before them,
    generated from the mission and the task's number; ``one-hot``: the number is an input;
    ``heads``: each task has an actor and a critic."""
    retrieval: Retriever = field(default=AttentionRetriever())
    """What the critic is corrected by: ``attention``, ``kernel``, ``none``, or ``oracle``, which is
    a control that knows the answers."""
    memory: Memory = field(default=NoMemory())
    """Memory within an episode: ``gru`` or ``gtrxl`` after the encoder, trained on whole rollouts
    of each environment."""
    normalise: bool = True
    """Objects, colors and states of cells are divided by their largest numbers."""
    truncation: Literal["bootstrap", "terminal"] = "bootstrap"
    """``terminal``: nothing is earned after the time limit."""
    num_envs: int = 16
    """Environments stepped together; tasks take turns among them."""
    rollout_steps: int = 128
    """Steps per environment between updates."""
    epochs: int = 4
    """Passes over the data of an update."""
    batch_size: int = 256
    """Steps of a minibatch; with ``memory`` it has whole environments, at least one."""
    lr: float = 1e-3
    """Adam's learning rate."""
    adam_epsilon: float = 1e-8
    """Adam's epsilon."""
    max_grad_norm: float = 0.5
    """Maximum gradient norm; longer gradients are scaled down to it."""
    clip: float = 0.2
    """Half-width of the interval of the ratio, and of changes of values."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    gamma: float = 0.99
    """Discount per step."""
    lam: float = 0.95
    """GAE's lambda."""
    threads: int = 1
    """Threads of torch."""
    window: int = 100
    """Number of recent episodes in the reported return."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=(
                *("num_envs", "rollout_steps", "epochs", "batch_size", "threads", "window"),
            ),
            shares=("gamma", "lam"),
            positive=("lr", "max_grad_norm", "clip"),
            not_negative=("adam_epsilon", "entropy", "value_weight"),
        )
        check_needs(self)
        if self.batch_size > self.num_envs * self.rollout_steps:
            raise ConfigError(
                f"batch_size must be at most {self.num_envs * self.rollout_steps}, the steps of an "
                f"update: got {self.batch_size}"
            )

    @property
    def defects(self) -> tuple[str, ...]:
        """What this keeps of the released code that is a defect or a doubtful choice."""
        found: Mapping[str, bool] = {
            "raw cell numbers": not self.normalise,
            "truncation as termination": self.truncation == "terminal",
            "no memory within an episode": isinstance(self.memory, NoMemory),
        }
        read = self.retrieval
        if isinstance(read, SlotRetriever):
            found = {
                **found,
                "centring over tasks": read.centring == "rollout",
                "no quota": not read.quota,
                "initial memory of one task": read.initial == "one-task",
            }
        if isinstance(read, AttentionRetriever):
            found = {
                **found,
                "unscaled attention": read.scale == "none",
                "gradient of the confidence": read.gradient == "all",
            }
        return tuple(name for name, kept in found.items() if kept)
