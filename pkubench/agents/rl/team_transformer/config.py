"""Settings of the Multi-Agent Transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamTransformerConfig:
    """Settings of MAT's training; defaults are those of its script for the particle tasks."""

    execution: Literal["centralised", "decentralised"] = "centralised"
    """``centralised``: agents act one after another, each given all observations and the actions
    before it (MAT). ``decentralised``: each acts on its own observation (MAT-Dec), and the
    transformer is the critic alone."""
    memory: Literal["none", "retention"] = "none"
    """``retention``: over agents and the steps of an episode (Sable); of a centralised team."""
    shared: bool = False
    """One decentralised actor for all agents."""
    width: int = 64
    """E, of each agent's features."""
    layers: int = 1
    """Blocks of the encoder, and of the decoder."""
    heads: int = 1
    """Attention heads; must divide ``width``."""
    num_envs: int = 128
    """Environments stepped together."""
    rollout_steps: int = 25
    """Steps per environment between updates."""
    epochs: int = 10
    """Passes over the data of an update."""
    minibatches: int = 1
    """Minibatches per pass, of steps; with a memory, of whole environments."""
    lr: float = 7e-4
    """Adam's learning rate."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    max_grad_norm: float = 0.5
    """Maximum gradient norm; longer gradients are scaled down to it."""
    clip: float = 0.05
    """Half-width of the interval of the ratio, and of changes of values."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value_weight: float = 1.0
    """Weight of the value loss."""
    huber_delta: float = 10.0
    """Error beyond which the value loss is linear."""
    gamma: float = 0.99
    """Discount per step."""
    lam: float = 0.95
    """GAE's lambda."""
    truncation: Literal["bootstrap", "official"] = "official"
    """``official``: a truncated step has advantage 0, as in the official code."""
    threads: int = 1
    """Threads of torch."""
    window: int = 100
    """Number of recent episodes in the reported return."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(
            self,
            at_least_one=(
                *("width", "layers", "heads", "num_envs", "rollout_steps"),
                *("epochs", "minibatches", "threads", "window"),
            ),
            shares=("gamma", "lam"),
            positive=("lr", "max_grad_norm", "clip", "huber_delta"),
            not_negative=("adam_epsilon", "entropy", "value_weight"),
        )
        if self.width % self.heads:
            raise ConfigError(f"heads must divide width={self.width}, got {self.heads}")
        if self.memory != "none" and self.execution != "centralised":
            raise ConfigError(f"memory={self.memory} needs execution=centralised")
        units = self.num_envs * (1 if self.memory != "none" else self.rollout_steps)
        if self.minibatches > units:
            raise ConfigError(f"minibatches must be at most {units}, the units of an update")
