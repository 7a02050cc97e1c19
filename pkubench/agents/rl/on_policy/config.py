"""The settings of an on-policy learner. A preset is one instance of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pkubench.agents.components import check_needs
from pkubench.agents.nn.encoders.base import Encoder
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.nn.memory.base import Memory
from pkubench.agents.nn.memory.none import NoMemory
from pkubench.agents.rl.constraints.base import Constraint
from pkubench.agents.rl.constraints.none import NoConstraint
from pkubench.agents.rl.credit.base import Credit
from pkubench.agents.rl.credit.team_sum import TeamSum
from pkubench.agents.rl.update_rules.base import GradientRule, UpdateRule
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip
from pkubench.agents.rl.update_rules.trust_region import TrustRegion
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicyConfig:
    """Rollout + credit + GAE + update rule + constraint + scheme; defaults are HARL's (HAPPO).

    The components have the settings that only they read (``update.clip``,
    ``constraint.cost_limit``, ``encoder.hidden``); this class has the common ones.
    """

    scheme: Literal["sequential", "simultaneous"] = "simultaneous"
    """``sequential``: agents in a random order, each weighted by the ratios of those before."""
    shared: bool = False
    """One actor for all agents; needs equal spaces."""
    update: UpdateRule = field(default=PPOClip())
    """The policy update rule: passes of Adam on the clipped surrogate (``ppo-clip``), on the plain
    one (``a2c``) or towards the optimal nonparametric policy (``focops``); or one step inside a KL
    ball (``trust-region``)."""
    constraint: Constraint = field(default=NoConstraint())
    """How the episode cost is kept at its limit. ``none`` ignores costs. A multiplier in the
    advantage: ``lagrangian``, ``pid``, ``ipo``; ``crpo``: reward or cost, never both. Part of the
    update: ``cpo`` and ``pcpo`` modify a trust-region step; ``p3o`` and ``cup`` need passes of
    Adam. A wrapped environment: ``saute``, ``early-termination``."""
    credit: Credit = field(default=TeamSum())
    """Credit assignment: which rewards an agent's advantage is computed from."""
    encoder: Encoder = field(default=MLPEncoder())
    """From observations to features, for actors and critics: ``mlp`` (vectors), ``cnn`` (images),
    ``point-set``, ``sequence``. A critic of a vector state has an ``mlp``."""
    memory: Memory = field(default=NoMemory())
    """``gru``, ``gtrxl``: actors and critics with memory, trained on whole rollouts of each
    environment, or on chunks of them."""
    critic: Literal["state", "local", "local-shared"] = "state"
    """``state``: critics of the global state; ``local``: of each agent's own observation;
    ``local-shared``: one of own observations for all agents, which needs equal spaces."""
    gradients: Literal["auto", "fast", "autograd"] = "auto"
    """``autograd`` differentiates the written loss. ``fast`` has hand-written gradients, equal up
    to rounding, for networks, rules and constraints that have them, in minibatches of at most 1024
    on the CPU; ``auto`` takes them where they exist."""

    num_envs: int = 20
    """Environments stepped together."""
    rollout_steps: int = 200
    """Steps per environment between updates."""
    rollout: Literal["steps", "episodes"] = "steps"
    """``steps``: episodes continue across updates. ``episodes``: an update has whole episodes, of
    each environment as many as last for ``rollout_steps`` steps together, or longer."""
    reset_each_rollout: bool = False
    """Start new episodes at every rollout (OmniSafe does)."""
    gamma: float = 0.99
    """Discount per step, of rewards and costs."""
    lam: float = 0.95
    """GAE's lambda for rewards: 0 trusts the critic, 1 the returns."""
    cost_lam: float = 0.95
    """GAE's lambda for costs."""
    truncation: Literal["bootstrap", "official", "terminal"] = "bootstrap"
    """``official``: HARL's ``use_proper_time_limits``, which gives truncated steps advantage 0;
    ``terminal``: the time limit is a terminal state, after which nothing is earned."""

    critic_epochs: int = 5
    """Passes of each critic over the data."""
    minibatches: int = 1
    """Minibatches per pass; with memory, of whole environments or of chunks."""
    critic_warmup: int = 0
    """Updates at the start that train critics alone. An actor that begins as another agent would
    lose what it knows by the errors of a critic that does not know it yet."""
    critic_lr: float = 5e-4
    """Adam's learning rate of the critics."""
    critic_lr_decay: bool = False
    """Linear decay of that learning rate to 0 over the run."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    max_grad_norm: float = 10.0
    """Maximum gradient norm; longer gradients are scaled down to it."""

    actor_gain: float = 0.01
    """Gain of the actor's last layer; a small one starts near uniform actions."""
    std: Literal["sigmoid", "log"] = "sigmoid"
    """Deviation of Box actions: ``0.5 sigmoid(x)`` from 0.3655 (HARL), or ``exp(x)``."""
    log_std_init: float = 0.0
    """Initial x with ``std="log"``."""
    action_map: Literal["clip", "affine"] = "clip"
    """Box actions: clipped to the bounds, or [-1, 1] stretched to them and clipped."""

    value_norm: bool = True
    """Critics predict returns normalized by running moments."""
    value_clip: float | None = 0.2
    """Clips the value loss where a value changes by more than this; None: no clipping."""
    huber_delta: float | None = 10.0
    """Error beyond which the critic's loss is linear (Huber); None is squared error."""
    critic_l2: float = 0.0
    """Weight of the critic's summed squared parameters in its loss."""
    observation_norm: bool = False
    """Observations are normalized by running moments, saved with the policy."""
    signal_norm: bool = False
    """Rewards and costs are standardized by running moments inside the learner (OmniSafe's
    ``reward_normalize`` and ``cost_normalize``); reported and constrained values are not."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this inside the learner; reported returns are not."""
    advantage_epsilon: float = 1e-5
    """Added to the standard deviation of advantages in their normalization."""

    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Number of recent episodes in the reported return and the multiplier's cost."""

    def __post_init__(self) -> None:
        """Check each setting's domain and their combinations."""
        check_domains(
            self,
            at_least_one=(
                "num_envs",
                "rollout_steps",
                "critic_epochs",
                "minibatches",
                "window",
                "threads",
            ),
            shares=("gamma", "lam", "cost_lam"),
            positive=("critic_lr", "max_grad_norm", "reward_scale", "huber_delta", "value_clip"),
            not_negative=(
                *("adam_epsilon", "advantage_epsilon", "critic_l2", "actor_gain"),
                "critic_warmup",
            ),
        )
        check_needs(self)
        most, what = self.batch_steps, "num_envs * rollout_steps"
        if self.is_recurrent:
            length = self.memory.chunk_length or self.rollout_steps
            most, what = self.num_envs * -(-self.rollout_steps // length), "num_envs"
            if length < self.rollout_steps:
                what = "num_envs * rollout_steps / chunk"
        if self.minibatches > most:
            raise ConfigError(
                f"minibatches must be at most {what}, the {most} "
                f"{'sequences' if self.is_recurrent else 'samples'} of an update: "
                f"got {self.minibatches}"
            )
        if not isinstance(self.update, GradientRule | TrustRegion):
            raise ConfigError(
                f"update={self.update.name} does not say how its loss is minimized: derive it from "
                "GradientRule (passes of Adam) or from TrustRegion (one step)"
            )
        if self.critic == "local-shared" and self.is_recurrent:
            raise ConfigError("critic=local-shared has no memory: set memory=none or critic=local")
        if self.scheme == "sequential" and self.shared:
            raise ConfigError("a sequential update needs separate actors: set shared=false")
        if self.observation_norm and not self.encoder.is_flat:
            raise ConfigError(
                f"observation_norm is for vectors, which encoder={self.encoder.name} does not "
                "take: set observation_norm=false"
            )

    @property
    def is_recurrent(self) -> bool:
        """Whether policies have memory within an episode."""
        return self.memory.is_recurrent

    @property
    def batch_steps(self) -> int:
        """Environment steps per update; at least so many, with ``rollout="episodes"``."""
        return self.num_envs * self.rollout_steps

    def unused(self) -> Mapping[str, str]:
        """Return settings without effect, and what they require (see ``unused_settings``)."""
        found = {}
        if self.encoder.init != "orthogonal":
            found["actor_gain"] = "init=orthogonal"
        if self.rollout == "episodes":
            found["reset_each_rollout"] = "rollout=steps"
        if self.std != "log":
            found["log_std_init"] = "std=log"
        if self.constraint.start() is None:
            found["cost_lam"] = "a constraint with a critic of cost, such as lagrangian"
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig(OnPolicyConfig):
    """DAgger with a value loss: actors imitate a teacher, critics learn the student's returns."""

    teacher_share: float = 1.0
    """Share of the first rollout's episodes in which the teacher acts; the others are the
    student's own."""
    teacher_decay: float = 0.7
    """Factor of that share from a rollout to the next."""
    kept: int = 8
    """Rollouts whose steps are imitated."""
    updates: int = 300
    """Gradient steps of the actor after a rollout."""
    batch_size: int = 512
    """Steps of a gradient step."""

    def __post_init__(self) -> None:
        """Check the domains."""
        OnPolicyConfig.__post_init__(self)
        check_domains(
            self,
            at_least_one=("kept", "updates", "batch_size"),
            shares=("teacher_share", "teacher_decay"),
        )
        if self.rollout != "episodes" or self.rollout_steps != 1:
            raise ConfigError(
                "a student imitates one episode of each environment at a time: leave rollout and "
                "rollout_steps as they are"
            )
        if self.observation_norm or self.is_recurrent or self.action_map != "clip":
            raise ConfigError(
                "a student takes observations as they are, has no memory and acts as its teacher "
                "does: leave observation_norm, memory and action_map as they are"
            )

    def unused(self) -> Mapping[str, str]:
        """Return settings without effect: those of policy gradients, of which actors take none."""
        names = ("clip", "epochs", "entropy", "target_kl", "lr_decay")
        of_gradients = (*names, *(f"update.{name}" for name in names), "update", "scheme")
        of_gradients += ("critic_warmup",)
        wanted = "a learner that takes policy gradients, such as ppo"
        return {**OnPolicyConfig.unused(self), **dict.fromkeys(of_gradients, wanted)}
