"""The settings of an off-policy learner. A preset is one instance of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pkubench.agents.rl.constraints import flat
from pkubench.agents.rl.constraints.flat import MultiplierSettings
from pkubench.agents.rl.constraints.multiplier import MultiplierConstraint
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError

_AT_LEAST_ONE = (
    "num_envs",
    "train_interval",
    "batch_size",
    "buffer_size",
    "n_step",
    "policy_delay",
    "pid_delay",
    "window",
    "threads",
)
_POSITIVE = (
    "actor_lr",
    "critic_lr",
    "max_grad_norm",
    "alpha",
    "alpha_lr",
    "updates_per_step",
    "temperature",
)
_NOT_NEGATIVE = (
    "warmup_steps",
    "exploration",
    "target_noise",
    "noise_clip",
    "lambda_warmup_steps",
    "checkpoint_steps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicyConfig(MultiplierSettings):
    """Replay + rule + constraint + scheme. Defaults are HARL's for HASAC on the particle worlds."""

    rule: Literal["ddpg", "td3", "sac"] = "sac"
    """One critic (DDPG), delayed and smoothed twins (TD3), or twins with entropy (SAC)."""
    scheme: Literal["sequential", "simultaneous", "replayed"] = "sequential"
    """What the critic is told of the other agents while one learns. ``sequential``: their actions
    now, of those before it in a random order under the policy just updated (HADDPG, HATD3, HASAC);
    ``simultaneous``: their actions under the policies before the update; ``replayed``: the actions
    of the transition (MADDPG, MATD3)."""
    shared: bool = False
    """One actor for agents with equal numbers of observations and actions of the same kind; the
    others get one of their own, or one for each such group."""
    constraint: Literal["none", "lagrangian", "pid"] = "none"
    """How the episode cost is held at ``cost_limit``: by a multiplier lambda, with which actors
    climb ``(Q - lambda Q_cost) / (1 + lambda)``. It is learned by gradient ascent (``lagrangian``)
    or set by a controller (``pid``); ``none`` ignores costs."""
    variant: Literal["published", "omnisafe"] = "published"
    """``published``: the multiplier moves before a burst of updates, if an episode ended since the
    burst before; DDPG's target and the critic of cost see the rule's own target actions.
    ``omnisafe``: it moves after every update, from episodes that may be the same as before (hence
    rates of 1e-5), and those two see the mode of the actor itself, not of its slow copy."""

    num_envs: int = 20
    """Lanes stepped together."""
    warmup_steps: int = 10_000
    """Environment steps of uniform random actions before the first update."""
    train_interval: int = 50
    """Steps of every lane between two bursts of updates."""
    updates_per_step: float = 1.0
    """Updates for each step of all lanes; an environment step gets this over ``num_envs``."""
    batch_size: int = 1000
    """Transitions of one update."""
    buffer_size: int = 1_000_000
    """Rows of replay over all lanes, at least ``n_step + 2`` each; the final observation of an
    episode takes one too."""
    n_step: int = 20
    """Steps of reward in a target; fewer at the end of an episode."""
    gamma: float = 0.99
    """Discount a step."""
    tau: float = 0.005
    """Share by which a target network follows its network at an update."""

    actor_lr: float = 5e-4
    """Adam's learning rate of the actors."""
    critic_lr: float = 5e-4
    """Adam's learning rate of the critics."""
    max_grad_norm: float | None = None
    """Gradients longer than this are scaled down to it: an agent's, those of a seed's critics of
    reward together, its critic of cost's. None leaves them as they are."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of actors and critics; ReLU after each."""
    last_activation: Literal["relu", "tanh"] = "relu"
    """After the actor's last hidden layer; HASAC's Box actor has tanh."""

    policy_delay: int = 1
    """Actors and target networks move at every n-th update of the critics (TD3)."""
    exploration: float = 0.1
    """DDPG, TD3, Box: deviation of the noise on actions, in halves of the action's range."""
    target_noise: float = 0.2
    """TD3, Box: deviation of the noise on target actions, in the same unit."""
    noise_clip: float = 0.5
    """TD3, Box: that noise is cut here."""

    alpha: float = 1.0
    """SAC: temperature, or where it starts."""
    alpha_auto: bool = True
    """SAC: one temperature an agent, and one for the critic, follow their target entropies."""
    alpha_lr: float = 3e-4
    """SAC: Adam's learning rate of the log-temperatures."""
    target_entropy: Literal["corrected", "official"] = "corrected"
    """SAC, Discrete: 0.98 log n; ``official`` is HARL's 0, which lowers alpha at every step. Box
    is -1 a number in either case, for actions in [-1, 1] before they are stretched."""
    bounds: Literal["rescale", "official"] = "rescale"
    """Box: [-1, 1] is stretched to [low, high]; ``official`` is HASAC's product with ``high``
    alone, whose log-density leaves the constant out; the world clips."""
    temperature: float = 1.0
    """Discrete: of the straight-through Gumbel-softmax."""

    cost_twins: bool = False
    """Two critics of cost, of which the larger counts, as of those of reward the smaller does.
    OmniSafe has one, which actors that descend it learn to find too low."""
    cost_norm: bool = False
    """Costs are standardised by running moments on their way into the replay (OmniSafe's
    ``cost_normalize``: their mean is taken off too); what is reported and held is not."""
    lambda_warmup_steps: int = 0
    """Environment steps before the multiplier moves at all."""

    threads: int = 1
    """Threads of torch; results are bit-reproducible at equal threads."""
    window: int = 100
    """Recent episodes behind the reported return and the multiplier's cost."""
    checkpoint_steps: int = 200_000
    """Environment steps between checkpoints, which hold the replay too."""

    def __post_init__(self) -> None:
        """Check each setting's domain and those that do not go together."""
        check_domains(
            self,
            at_least_one=_AT_LEAST_ONE,
            shares=("gamma", "tau", "pid_smoothing"),
            positive=_POSITIVE,
            not_negative=(*_NOT_NEGATIVE, *flat.NOT_NEGATIVE),
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
                f"buffer_size must be at least n_step + 2 rows a lane, "
                f"{(self.n_step + 2) * self.num_envs} in all: got {self.buffer_size}"
            )

    @property
    def interval_steps(self) -> int:
        """Environment steps between two bursts of updates."""
        return self.num_envs * self.train_interval

    @property
    def updates(self) -> int:
        """Updates of one burst."""
        return round(self.updates_per_step * self.train_interval)

    @property
    def critics(self) -> int:
        """Critics of reward side by side: 1 for DDPG, otherwise twins."""
        return 1 if self.rule == "ddpg" else 2

    @property
    def cost_critics(self) -> int:
        """Critics of cost side by side: none where no constraint is held."""
        return 0 if self.constraint == "none" else 1 + self.cost_twins


def constraint_of(config: OffPolicyConfig) -> MultiplierConstraint:
    """Return a fresh multiplier as the settings have it."""
    return config.pid() if config.constraint == "pid" else config.lagrange()
