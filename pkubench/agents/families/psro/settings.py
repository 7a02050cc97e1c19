"""Settings of the population learners and the named algorithms that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pkubench.agents.families.psro.deep_settings import DEEP, DeepOracleConfig
from pkubench.agents.families.psro.meta_solvers import SOLVERS
from pkubench.errors import ConfigError, UnknownName

Diversity = Literal["none", "members", "hull", "dpp", "bd-rd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PSROConfig(DeepOracleConfig):
    """Settings of every learner that grows populations by responses."""

    iterations: int = 300
    """Iterations unless the run is given a number of steps; Leduc poker is then within 0.1 of
    NashConv 0, Kuhn poker stops by itself after about six."""
    tolerance: float = 1e-9
    """A response that gains at most this (times the largest payoff) is not added."""
    ties: Literal["lowest", "random"] = "random"
    """Which of equally good actions a response takes. Where the opponent never leads, all are
    equal: a fixed choice there makes weak policies, a random one keeps populations diverse."""
    pe_every: int = 1
    """Population exploitability is computed at every so many iterations (and at the last). On
    trees, where its linear programs soon take several times as long as an iteration, 1 means every
    one up to the twentieth, then ever fewer, and every tenth from the hundredth on."""
    meta_solver: str = "nash"
    """Whose distribution over opponents a response answers; see ``meta_solvers``."""
    targets: Literal["pipeline", "rectified", "latest"] = "pipeline"
    """What learners answer: the meta-strategy of all policies before them (``pipeline``), that of
    the ones which each good policy does not lose to (``rectified``), or the newest policy alone
    (``latest``, self-play)."""
    learners: int = 1
    """Policies in training at once. In a pipeline each answers those below it, the unfinished
    ones included."""
    step: float = 1.0
    """How far a policy moves to its response at an iteration, as a mixture; 1 is all the way."""
    plateau: float = 0.03
    """A policy is finished when an iteration raises its payoff by less than this share, payoffs
    counted from 1 below a draw, in units of the largest one. With ``step`` 1 at once."""
    oracle: Literal["exact", "mirror", "dqn", "softmax"] = "exact"
    """How a response is found: the exact maximum; ``mirror_steps`` of mirror ascent with exact
    gradients from where the policy stands, which leaves it soft; or learnt by Q-learning from
    ``response_episodes`` plays, and played greedily (``dqn``) or as a ``softmax``."""
    mirror_steps: int = 100
    """Steps of mirror ascent a response."""
    mirror_rate: float = 1.0
    """Size of such a step, in units of 1 over the largest payoff."""
    diversity: Diversity = "none"
    """What a diverse response seeks beside payoff: distance in plays from all ``members`` or from
    their whole ``hull`` (PSD-PSRO), a large determinantal process (``dpp``), or by equal chance
    another behaviour or other payoffs (``bd-rd``)."""
    diversity_chance: float = 0.0
    """Probability that a response is a diverse one. Official code draws a standard normal number
    and asks whether it is above 0.85: 0.1977."""
    diversity_weight: float = 0.01
    """Weight of the distance in plays, in units of the largest payoff a nat. Of oracles that learn
    it is added to each play's reward, and to the loss."""
    diversity_step: float = 1.0
    """``step`` of diverse responses."""
    payoff_inverse: Literal["ranked", "official"] = "ranked"
    """How BD&RD-PSRO's distance of payoffs inverts the payoff table: without the singular values
    that rounding leaves, or with them in single precision, as the released mixture model."""
    smoothing: float = 0.001
    """Added to every action's probability before distances in plays are taken."""
    response_episodes: int = 20_000
    """Plays that an oracle which learns has for a response, a whole number of ``parallel_games``.
    Of the others, what one response counts for in the curve: that of official code with DQN."""
    payoff_episodes: int = 1_000
    """Episodes that one new entry of the payoff table counts for in the curve, likewise; with an
    oracle that learns none, for the table is computed and the curve counts plays played."""

    def __post_init__(self) -> None:
        """Check the domains."""
        DeepOracleConfig.__post_init__(self)
        if self.meta_solver not in SOLVERS:
            raise UnknownName("meta-solver", self.meta_solver, SOLVERS)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                listed = ", ".join(map(repr, known))
                raise ConfigError(f"{name} must be one of {listed}, got {getattr(self, name)!r}")
        for name in ("iterations", "pe_every", "learners", "mirror_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("response_episodes", "payoff_episodes", "plateau", "diversity_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("step", "diversity_step"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}; default 1e-9")
        if not 0.0 <= self.diversity_chance <= 1.0:
            raise ConfigError(f"diversity_chance must lie in [0, 1], got {self.diversity_chance}")
        if not 0.0 < self.smoothing < float("inf"):
            raise ConfigError(f"smoothing must be positive, got {self.smoothing}; official 0.001")
        if not self.mirror_rate > 0.0:
            raise ConfigError(f"mirror_rate must be positive, got {self.mirror_rate}")
        if self.targets == "latest" and self.learners > 1:
            raise ConfigError(
                f"self-play trains one policy at a time, got learners={self.learners}"
            )

        if self.oracle in DEEP:
            self._check_deep()

    def _check_deep(self) -> None:
        """Check what oracles that learn can do."""
        if self.learners > 1:
            raise ConfigError(
                f"oracle={self.oracle} trains one policy a side at a time, got learners="
                f"{self.learners}; set learners=1"
            )
        if self.diversity not in ("none", "members"):
            raise ConfigError(
                f"oracle={self.oracle} takes diversity 'none' or 'members', got "
                f"{self.diversity!r}; the other bonuses need oracle=exact"
            )
        if (self.step, self.diversity_step) != (1.0, 1.0):
            raise ConfigError(f"oracle={self.oracle} takes whole steps; set step=1")
        if self.response_episodes < self.parallel_games:
            raise ConfigError(
                f"response_episodes must be at least parallel_games, got {self.response_episodes} "
                f"and {self.parallel_games}"
            )

    @property
    def pure(self) -> bool:
        """Whether all policies are pure."""
        return self.step == 1.0 and self.diversity_step == 1.0 and self.oracle == "exact"


_CHOICES = {
    "ties": ("lowest", "random"),
    "targets": ("pipeline", "rectified", "latest"),
    "oracle": ("exact", "mirror", *DEEP),
    "diversity": ("none", "members", "hull", "dpp", "bd-rd"),
    "payoff_inverse": ("ranked", "official"),
}
_CHANCE = 0.1977
"""P(z > 0.85) of a standard normal z."""


_EXACT = {
    "psro": PSROConfig(),
    "p-psro": PSROConfig(learners=2),
    "psro-rn": PSROConfig(targets="rectified", learners=2),
    "dpp-psro": PSROConfig(learners=2, diversity="dpp", diversity_chance=_CHANCE),
    "bd-rd-psro": PSROConfig(learners=2, diversity="bd-rd", diversity_chance=_CHANCE),
    "bd-rd-psro-official": PSROConfig(
        learners=2, diversity="bd-rd", diversity_chance=_CHANCE, payoff_inverse="official"
    ),
    "psd-psro": PSROConfig(learners=2, diversity="members", diversity_chance=_CHANCE),
    "psd-psro-hull": PSROConfig(learners=2, diversity="hull", diversity_chance=_CHANCE),
    "self-play": PSROConfig(targets="latest"),
}


def _as_published(config: PSROConfig) -> PSROConfig:
    """Return the method with the steps of official code for matrix games."""
    further = 0.6 if config.diversity in ("members", "hull") else 0.5
    return replace(
        config,
        iterations=200,
        step=0.5,
        diversity_step=further,
        ties="lowest",
        meta_solver="nash-simplex",
    )


_LEDUC_CHIPS = 13.0
"""The largest payoff of Leduc poker; published code weighs distance and softmax in chips."""
_DEEP = {
    "psro-deep": PSROConfig(oracle="softmax", iterations=40, response_episodes=5_000),
    "psd-psro-deep": PSROConfig(
        oracle="softmax",
        iterations=40,
        response_episodes=5_000,
        diversity="members",
        diversity_chance=1.0,
        diversity_weight=0.002,
    ),
}


def _deep_as_published(config: PSROConfig) -> PSROConfig:
    """Return the method with the network, numbers and quirks of PSD-PSRO's code for Leduc."""
    return replace(
        config,
        oracle="dqn",
        iterations=162,
        response_episodes=20_000,
        hidden=(256, 256, 256),
        learning_rate=5e-3,
        updates=1,
        batch_size=512,
        replay_size=10_000,
        temperature=1.0 / _LEDUC_CHIPS,
        diversity_weight=1.0 / _LEDUC_CHIPS,
        masked_targets=False,
        warm_start="weights-and-replay",
    )


PSRO_PRESETS: dict[str, PSROConfig] = {
    **_EXACT,
    **{f"{name}-paper": _as_published(config) for name, config in _EXACT.items()},
    **_DEEP,
    **{f"{name}-paper": _deep_as_published(config) for name, config in _DEEP.items()},
}
"""Algorithm -> settings. ``-paper`` are those of PSD-PSRO's code (of its matrix games; of Leduc
poker where responses are learnt), but for the meta-strategy, which there is fictitious play and
here exact."""
