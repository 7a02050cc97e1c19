"""The settings of an on-policy learner. A preset is one instance of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pkubench.agents.rl.constraints import flat
from pkubench.agents.rl.constraints.flat import MultiplierSettings
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

_AT_LEAST_ONE = (
    "num_envs",
    "rollout_steps",
    "epochs",
    "critic_epochs",
    "minibatches",
    "window",
    "threads",
    "cg_iterations",
    "fisher_every",
    "pid_delay",
)
_POSITIVE = (
    "kl_limit",
    "actor_lr",
    "critic_lr",
    "max_grad_norm",
    "reward_scale",
    "target_kl",
    "huber_delta",
    "focops_eta",
    "focops_lam",
    "saute_gamma",
    "recovery",
)
_NOT_NEGATIVE = (
    "entropy",
    "adam_epsilon",
    "advantage_epsilon",
    "cg_damping",
    "critic_l2",
    "actor_gain",
    "kappa",
    "barrier",
    "penalty_max",
    "tolerance",
    "search_steps",
    "checkpoint_steps",
)


Constraint = Literal[
    "none",
    "lagrangian",
    "pid",
    "interior-point",
    "rectified",
    "exact-penalty",
    "corrected",
    "linearised",
    "projected",
    "saute",
    "early-termination",
]
IN_THE_STEP = ("linearised", "projected")
"""Constraints that bend a trust-region step."""
_IN_THE_LOSS = ("exact-penalty", "corrected")
_BY_EXCESS = (*IN_THE_STEP, "exact-penalty")
"""Those that set the cost's excess beside advantages of cost, in one unit."""
WITHOUT_COST_CRITIC = ("none", "saute", "early-termination")
"""Constraints under which costs need no critic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicyConfig(MultiplierSettings):
    """Rollout + GAE + update rule + constraint + scheme. Defaults are HARL's (HAPPO yaml)."""

    scheme: Literal["sequential", "simultaneous"] = "simultaneous"
    """``sequential``: agents in a random order, each weighted by the ratios of those before."""
    shared: bool = False
    """One actor for all agents; needs equal spaces."""
    update: Literal["ppo-clip", "a2c", "focops", "trust-region"] = "ppo-clip"
    """How an actor moves: passes of Adam on the clipped surrogate (PPO), on the plain one (A2C), or
    towards the best policy of any form (FOCOPS); or one step inside a KL ball (TRPO), without
    entropy bonus, minibatches or learning rate."""
    critic: Literal["state", "local"] = "state"
    """``state``: one critic of the global state; ``local``: each agent's own observation."""
    constraint: Constraint = "none"
    """How the episode cost is held at ``cost_limit``. ``none`` ignores costs. A multiplier in the
    advantage: ``lagrangian``, ``pid`` (a controller sets it), ``interior-point`` (IPO);
    ``rectified``: reward or cost, never both (CRPO). A part of the update: ``linearised`` (CPO) and
    ``projected`` (PCPO) bend a trust-region step; ``exact-penalty`` (P3O) and ``corrected`` (CUP's
    second phase) go with passes of Adam. A changed world: ``saute`` (the budget left is observed,
    and nothing is earned without), ``early-termination``."""
    variant: Literal["published", "omnisafe"] = "published"
    """``omnisafe`` restores what its code does otherwise: no scale between cost sums and step means
    (CPO, PCPO, P3O), no clipping of costs (P3O), the sign of r (CPO), g for H^-1 g (PCPO), KL
    averaged over the numbers of an action (trust region)."""

    num_envs: int = 20
    """Lanes stepped together."""
    rollout_steps: int = 200
    """Steps a lane takes between updates."""
    reset_each_rollout: bool = False
    """Start new episodes at every rollout (OmniSafe does)."""
    gamma: float = 0.99
    """Discount a step, of rewards and costs."""
    lam: float = 0.95
    """GAE's lambda for rewards: 0 trusts the critic, 1 the returns."""
    cost_lam: float = 0.95
    """GAE's lambda for costs."""
    truncation: Literal["bootstrap", "official"] = "bootstrap"
    """``official``: HARL's ``use_proper_time_limits``, which gives truncated steps advantage 0."""

    epochs: int = 5
    """Passes of the actor over the data."""
    critic_epochs: int = 5
    """Passes of each critic over the data."""
    minibatches: int = 1
    """Parts the data is cut into in a pass."""
    clip: float = 0.2
    """Half-width of the interval round 1 in which the ratio is trusted."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    target_kl: float | None = None
    """Stop the passes once the mean KL(old||new) over the batch passes this."""

    kl_limit: float = 0.01
    """Trust region: radius of the ball in mean KL(old||new)."""
    cg_iterations: int = 10
    """Trust region: most steps of conjugate gradients."""
    cg_damping: float = 0.1
    """Trust region: added to the diagonal of the Fisher matrix."""
    fisher_every: int = 1
    """Trust region: every how many-th sample the Fisher matrix averages over; 1 is all."""
    search_steps: int = 10
    """Trust region: lengths the line search tries; 0 takes the whole step (natural gradient)."""
    search_decay: float = 0.8
    """Trust region: each length is this share of the one before."""
    accept_ratio: float = 0.5
    """Trust region: least share of the linearly expected improvement that must be found."""
    discrete_kl: Literal["true", "official"] = "true"
    """Trust region, Discrete actions: ``official`` is HARL's sum without the old probabilities."""

    actor_lr: float = 5e-4
    """Adam's learning rate of the actors."""
    critic_lr: float = 5e-4
    """Adam's learning rate of the critics."""
    lr_decay: bool = False
    """Linear decay of the actor's learning rate to 0 over the run."""
    critic_lr_decay: bool = False
    """The same for the critics."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    max_grad_norm: float = 10.0
    """Gradients longer than this are scaled down to it."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers, of actors and critics."""
    activation: Literal["relu", "tanh"] = "relu"
    """After each hidden layer."""
    layer_norm: bool = True
    """LayerNorm on the input and after each activation (HARL)."""
    init: Literal["orthogonal", "kaiming"] = "orthogonal"
    """Initial weights: HARL's or torch's own."""
    actor_gain: float = 0.01
    """Gain of the actor's last layer; small starts near uniform actions."""
    std: Literal["sigmoid", "log"] = "sigmoid"
    """Deviation of Box actions: ``0.5 sigmoid(x)`` from 0.3655 (HARL), or ``exp(x)``."""
    log_std_init: float = 0.0
    """Where x starts with ``std="log"``."""
    action_map: Literal["clip", "affine"] = "clip"
    """Box actions: clipped to the bounds, or [-1, 1] stretched to them and clipped."""

    value_norm: bool = True
    """Critics learn returns normalised by running moments."""
    value_clip: bool = True
    """The critic's loss distrusts moves of more than ``clip`` from the old value."""
    huber_delta: float | None = 10.0
    """Where the critic's loss turns linear; None is squared error."""
    critic_l2: float = 0.0
    """Weight of the critic's summed squared parameters in its loss."""
    observation_norm: bool = False
    """Observations are normalised by running moments, saved with the policy."""
    signal_norm: bool = False
    """Rewards and costs are standardised by running moments inside the learner (OmniSafe's
    ``reward_normalize`` and ``cost_normalize``); what is reported and held is not."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this inside the learner; reported returns are not."""
    advantage_epsilon: float = 1e-5
    """Added to the deviation advantages are divided by."""

    recovery: float = 1.0
    """CPO, PCPO: an excess above 0 counts so many times, so that a policy over its limit lowers its
    cost by all means before it earns more. The papers have 1."""
    kappa: float = 20.0
    """P3O: weight of the penalty."""
    barrier: float = 0.01
    """IPO: weight of the logarithmic barrier."""
    penalty_max: float = 1.0
    """IPO: the multiplier's upper bound, taken past the limit."""
    tolerance: float = 2.0
    """CRPO: excess up to which the reward is climbed."""
    focops_eta: float = 0.02
    """FOCOPS: KL up to which a state pulls."""
    focops_lam: float = 1.5
    """FOCOPS: temperature of the best policy."""
    saute_gamma: float = 0.999
    """Saute: discount of the budget."""
    unsafe_reward: float = -1.0
    """Saute: reward of a step without budget."""
    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Recent episodes behind the reported return and the multiplier's cost."""
    checkpoint_steps: int = 200_000
    """Environment steps between checkpoints."""

    def __post_init__(self) -> None:
        """Check each setting's domain and those that do not go together."""
        check_domains(
            self,
            at_least_one=_AT_LEAST_ONE,
            shares=("gamma", "lam", "cost_lam", "accept_ratio", "pid_smoothing", "saute_gamma"),
            positive=_POSITIVE,
            not_negative=(*_NOT_NEGATIVE, *flat.NOT_NEGATIVE),
        )
        if not all(type(units) is int and units > 0 for units in self.hidden):
            raise ConfigError(
                f"hidden must be a list of layer sizes such as [64, 64]: {self.hidden}"
            )
        if not 0.0 < self.clip < 1.0:
            raise ConfigError(f"clip must lie in (0, 1), got {self.clip}; the papers use 0.2")
        if not 0.0 < self.search_decay < 1.0:
            raise ConfigError(f"search_decay must lie in (0, 1), got {self.search_decay}")
        if self.update == "trust-region" and self.entropy != 0.0:
            raise ConfigError("a trust-region step has no entropy bonus: set entropy=0")
        is_step = self.update == "trust-region"
        if self.constraint in IN_THE_STEP and not is_step:
            raise ConfigError(f"{self.constraint!r} bends a step: set update=trust-region")
        if self.constraint in IN_THE_STEP and self.search_steps == 0:
            raise ConfigError(f"{self.constraint!r} needs a line search: set search_steps=15")
        if self.constraint in _IN_THE_LOSS and is_step:
            raise ConfigError(f"{self.constraint!r} goes with passes of Adam: set update=ppo-clip")
        is_published = self.variant == "published"
        if self.constraint in _BY_EXCESS and self.signal_norm and is_published:
            raise ConfigError(
                f"{self.constraint!r} sets an excess of cost beside advantages of cost, and "
                "signal_norm gives these another unit: set signal_norm=false"
            )
        if self.constraint == "corrected" and self.gamma == 1.0:
            raise ConfigError("CUP weighs costs by (1 - gamma lam)/(1 - gamma): set gamma below 1")
        if self.minibatches > self.num_envs * self.rollout_steps:
            raise ConfigError(
                f"minibatches must be at most num_envs * rollout_steps, the {self.batch_steps} "
                f"samples of an update: got {self.minibatches}"
            )
        if self.scheme == "sequential" and self.shared:
            raise ConfigError("a sequential update needs separate actors: set shared=false")

    @property
    def batch_steps(self) -> int:
        """Environment steps behind one update."""
        return self.num_envs * self.rollout_steps
