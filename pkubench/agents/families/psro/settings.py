"""Settings of the population learners, and the named algorithms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pkubench.agents.components import changed
from pkubench.agents.families.psro.diversities import Diversity
from pkubench.agents.families.psro.diversities.bd_rd import BDRD
from pkubench.agents.families.psro.diversities.dpp import DPP
from pkubench.agents.families.psro.diversities.hull import Hull
from pkubench.agents.families.psro.diversities.members import ByDistance, Members
from pkubench.agents.families.psro.diversities.none import NoDiversity
from pkubench.agents.families.psro.meta_solvers import SOLVERS
from pkubench.agents.families.psro.oracles import ResponseOracle
from pkubench.agents.families.psro.oracles.exact import Exact
from pkubench.agents.families.psro.oracles.learned import SoftmaxOracle
from pkubench.agents.settings import check_domains
from pkubench.errors import ConfigError, UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class PSROConfig:
    """Settings of every learner that grows populations by responses."""

    iterations: int = 300
    """Iterations of a run without a given number of steps; Leduc poker is then within 0.1 of
    NashConv 0, Kuhn poker ends after about six."""
    tolerance: float = 1e-9
    """A response that gains at most this (times the largest payoff) is not added."""
    pe_every: int = 1
    """Population exploitability is computed every this many iterations (and at the last). On
    trees, where its linear programs soon take several times as long as an iteration, 1 means every
    one up to the twentieth, then progressively fewer, and every tenth from the hundredth on."""
    meta_solver: str = "nash"
    """The distribution over opponents that a response maximises against; see ``meta_solvers``."""
    targets: Literal["pipeline", "rectified", "latest"] = "pipeline"
    """What learners respond to: the meta-strategy of all policies before them (``pipeline``), that
    of the policies that each good policy does not lose to (``rectified``), or the newest policy
    alone (``latest``, self-play)."""
    learners: int = 1
    """Policies trained in parallel. In a pipeline each responds to those below it, including
    unfinished ones."""
    plateau: float = 0.03
    """A policy is finished when an iteration raises its payoff by less than this share, payoffs
    counted from 1 below a draw, in units of the largest one. With ``step`` 1 immediately."""
    oracle: ResponseOracle = field(default_factory=Exact)
    """How a response is found: the exact maximum (``exact``); some steps of mirror ascent with
    exact gradients from the present policy, which stays stochastic (``mirror``); or learned by
    Q-learning from plays, and played greedily (``dqn``) or as a ``softmax``."""
    diversity: Diversity = field(default_factory=NoDiversity)
    """What a diverse response maximises next to payoff: distance in plays from all ``members`` or
    from their whole ``hull`` (PSD-PSRO), the expected cardinality of a determinantal point process
    (``dpp``), or behavioural or response diversity with equal probability (``bd-rd``)."""
    response_episodes: int = 20_000
    """Plays per response of an oracle that learns, a multiple of ``parallel_games``. For other
    oracles, the episodes that a response counts for in the curve: those of official DQN code."""
    payoff_episodes: int = 1_000
    """Episodes that one new entry of the payoff table counts for in the curve, likewise; none with
    an oracle that learns, because the table is computed and the curve counts actual plays."""

    def __post_init__(self) -> None:
        """Check the domains."""
        if self.meta_solver not in SOLVERS:
            raise UnknownName("meta-solver", self.meta_solver, SOLVERS)
        known = ("pipeline", "rectified", "latest")
        if self.targets not in known:
            listed = ", ".join(map(repr, known))
            raise ConfigError(f"targets must be one of {listed}, got {self.targets!r}")
        check_domains(
            self,
            at_least_one=("iterations", "pe_every", "learners"),
            not_negative=("response_episodes", "payoff_episodes", "plateau"),
        )
        if not 0.0 <= self.tolerance < 1.0:
            raise ConfigError(f"tolerance must lie in [0, 1), got {self.tolerance}; default 1e-9")
        if self.targets == "latest" and self.learners > 1:
            raise ConfigError(
                f"self-play trains one policy at a time, got learners={self.learners}"
            )
        self.oracle.check(self)

    @property
    def pure(self) -> bool:
        """Whether all policies are pure."""
        whole = self.oracle.step_size == self.diversity.step_size == 1.0
        return whole and self.oracle.is_pure


_CHANCE = 0.1977
"""P(z > 0.85) of a standard normal z."""


_EXACT = {
    "psro": PSROConfig(),
    "p-psro": PSROConfig(learners=2),
    "psro-rn": PSROConfig(targets="rectified", learners=2),
    "dpp-psro": PSROConfig(learners=2, diversity=DPP(diversity_chance=_CHANCE)),
    "bd-rd-psro": PSROConfig(learners=2, diversity=BDRD(diversity_chance=_CHANCE)),
    "bd-rd-psro-official": PSROConfig(
        learners=2, diversity=BDRD(diversity_chance=_CHANCE, payoff_inverse="official")
    ),
    "psd-psro": PSROConfig(learners=2, diversity=Members(diversity_chance=_CHANCE)),
    "psd-psro-hull": PSROConfig(learners=2, diversity=Hull(diversity_chance=_CHANCE)),
    "self-play": PSROConfig(targets="latest"),
}
_MATRIX_GAMES: dict[str, Any] = {
    "iterations": 200,
    "step": 0.5,
    "ties": "lowest",
    "meta_solver": "nash-simplex",
}
"""The steps of official code for matrix games."""


def _as_published(config: PSROConfig) -> PSROConfig:
    further = 0.6 if isinstance(config.diversity, ByDistance) else 0.5
    return changed(config, {**_MATRIX_GAMES, "diversity_step": further}, strict=False)


_LEDUC_CHIPS = 13.0
"""The largest payoff of Leduc poker; published code weighs distance and softmax in chips."""
_LEARNED = {
    "psro-deep": PSROConfig(oracle=SoftmaxOracle(), iterations=40, response_episodes=5_000),
    "psd-psro-deep": PSROConfig(
        oracle=SoftmaxOracle(),
        iterations=40,
        response_episodes=5_000,
        diversity=Members(diversity_chance=1.0, diversity_weight=0.002),
    ),
}
_LEDUC: dict[str, Any] = {
    "oracle": "dqn",
    "iterations": 162,
    "response_episodes": 20_000,
    "hidden": (256, 256, 256),
    "learning_rate": 5e-3,
    "updates": 1,
    "batch_size": 512,
    "replay_size": 10_000,
    "temperature": 1.0 / _LEDUC_CHIPS,
    "diversity_weight": 1.0 / _LEDUC_CHIPS,
    "masked_targets": False,
    "warm_start": "weights-and-replay",
}
"""The network, numbers and quirks of PSD-PSRO's code for Leduc poker."""


PSRO_PRESETS: dict[str, PSROConfig] = {
    **_EXACT,
    **{f"{name}-paper": _as_published(config) for name, config in _EXACT.items()},
    **_LEARNED,
    **{f"{name}-paper": changed(config, _LEDUC, strict=False) for name, config in _LEARNED.items()},
}
"""Algorithm -> settings. ``-paper`` are those of PSD-PSRO's code (for its matrix games; for Leduc
poker where responses are learned), except the meta-strategy, which is fictitious play there and
exact here."""
