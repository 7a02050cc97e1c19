"""The settings of an off-policy learner. A preset is one instance of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pkubench.agents.rl.off_policy.constraints import NoConstraint, OffPolicyConstraint
from pkubench.agents.rl.off_policy.rules import OffPolicyRule
from pkubench.agents.rl.off_policy.rules.sac import SAC
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

_AT_LEAST_ONE = (
    "num_envs",
    "train_interval",
    "batch_size",
    "buffer_size",
    "n_step",
    "policy_delay",
    "window",
    "threads",
)
_POSITIVE = ("actor_lr", "critic_lr", "max_grad_norm", "updates_per_step", "temperature")
_NOT_NEGATIVE = ("warmup_steps",)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicyConfig:
    """Replay + rule + constraint + scheme. Defaults are HARL's for HASAC on the particle tasks."""

    rule: OffPolicyRule = field(default_factory=SAC)
    """Critic targets and actor objective: one critic (``ddpg``), twin critics with delayed updates
    and target smoothing (``td3``), or twin critics with entropy (``sac``)."""
    scheme: Literal["sequential", "simultaneous", "replayed"] = "sequential"
    """Other agents' actions in the critic's input while one is updated. ``sequential``: actions of
    their current policies, of earlier agents in a random order those just updated (HADDPG, HATD3,
    HASAC); ``simultaneous``: actions of their policies before the update; ``replayed``: the actions
    of the transition (MADDPG, MATD3)."""
    shared: bool = False
    """One actor for each group of agents with equal observation sizes and action spaces; agents
    unlike all others have their own."""
    constraint: OffPolicyConstraint = field(default_factory=NoConstraint)
    """How the episode cost is kept at a limit: by a multiplier learned by gradient ascent
    (``lagrangian``) or set by a PID controller (``pid``); ``none`` ignores costs."""

    num_envs: int = 20
    """Environments stepped together."""
    warmup_steps: int = 10_000
    """Environment steps of uniform random actions before the first update."""
    train_interval: int = 50
    """Steps of every environment between two bursts of updates."""
    updates_per_step: float = 1.0
    """Updates per step of all environments together."""
    batch_size: int = 1000
    """Transitions of one update."""
    buffer_size: int = 1_000_000
    """Rows of the replay over all environments, at least ``n_step + 2`` each; the final observation
    of an episode takes one too."""
    n_step: int = 20
    """Steps of reward in a target; fewer at the end of an episode."""
    gamma: float = 0.99
    """Discount per step."""
    tau: float = 0.005
    """Rate of the soft target updates."""

    actor_lr: float = 5e-4
    """Adam's learning rate of the actors."""
    critic_lr: float = 5e-4
    """Adam's learning rate of the critics."""
    max_grad_norm: float | None = None
    """Maximum gradient norm: of an agent, of a seed's reward critics together, of its cost critics.
    None: no clipping."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of actors and critics; ReLU after each."""
    last_activation: Literal["relu", "tanh"] = "relu"
    """After the actor's last hidden layer; HASAC's Box actor has tanh."""

    policy_delay: int = 1
    """Actors and target networks are updated every n-th update of the critics (TD3)."""
    bounds: Literal["rescale", "official"] = "rescale"
    """Box: [-1, 1] is stretched to [low, high]; ``official`` is HASAC's product with ``high``
    alone, with a log-density that omits the constant; the environment clips."""
    temperature: float = 1.0
    """Discrete: temperature of the straight-through Gumbel-softmax."""

    gradients: Literal["auto", "fast", "autograd"] = "auto"
    """How losses are differentiated: by autograd, or with hand-written gradients (``fast``), which
    exist for the losses of this project's rules and its multi-layer perceptrons. ``auto`` is
    ``fast`` where possible; the resolved value is saved."""
    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Number of recent episodes in the reported return and the multiplier's cost."""

    def __post_init__(self) -> None:
        """Check each setting's domain and their combinations."""
        check_domains(
            self,
            at_least_one=_AT_LEAST_ONE,
            shares=("gamma", "tau"),
            positive=_POSITIVE,
            not_negative=_NOT_NEGATIVE,
        )
        if not self.hidden or not all(type(units) is int and units > 0 for units in self.hidden):
            raise ConfigError(
                f"hidden must be a list of layer sizes such as [64, 64]: {self.hidden}"
            )
        if self.shared and self.scheme != "simultaneous":
            raise ConfigError("agents share an actor in the simultaneous scheme only")
        if self.updates_per_step * self.train_interval < 1.0:
            raise ConfigError("updates_per_step * train_interval must be at least 1 update")
        # n rows of rewards, the final observation of an episode, and the row being written
        if self.buffer_size < (self.n_step + 2) * self.num_envs:
            raise ConfigError(
                f"buffer_size must be at least n_step + 2 rows per environment, "
                f"{(self.n_step + 2) * self.num_envs} in all: got {self.buffer_size}"
            )

    @property
    def interval_steps(self) -> int:
        """Environment steps between two bursts of updates."""
        return self.num_envs * self.train_interval

    @property
    def updates(self) -> int:
        """Updates per burst."""
        return round(self.updates_per_step * self.train_interval)
