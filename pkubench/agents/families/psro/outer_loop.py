"""The outer loop of policy space response oracles: grow populations by responses to mixtures.

One loop makes double oracle (McMahan et al. 2003; PSRO, Lanctot et al. 2017), rectified and
pipeline PSRO (Balduzzi et al. 2019; McAleer et al. 2020), self-play, and with a diversity bonus
DPP-, BD&RD- and PSD-PSRO: they differ in what a policy in training responds to (``targets``), how
many train in parallel, and what their responses maximise (``spaces``). An iteration updates each
policy in training once and then, if the lowest has stopped improving, finishes it and starts a new
one.

Every metric is exact: the reported meta-strategy is an equilibrium of the restricted game, found by
one solver whatever the meta-solver of the training, exploitability comes from best responses in the
full game, and population exploitability from a linear program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pkubench.agents.families.psro.learner import Floats, Tensors
from pkubench.agents.families.psro.meta_solvers import solve, solve_symmetric
from pkubench.agents.families.psro.settings import PSROConfig
from pkubench.agents.families.psro.spaces import PolicySpace, Situation
from pkubench.envs.games.alpha_rank import MetaStrategy
from pkubench.envs.games.zero_sum import ZeroSumGame

_MIN_MASS = 0.01
"""PSRO_rN responds for policies with more weight in the meta-strategy, or for the heaviest."""
_TIE = 1e-12
_FIRST = 0.1
"""The baseline of a new policy's first payoff in training, as in official code."""


class Target(NamedTuple):
    """What a policy in training responds to.

    Attributes:
        own: The meta-strategy of its own side's first policies.
        weights: The distribution over the other side's first policies.
    """

    own: Floats
    weights: Floats


@dataclass
class _Side:
    """One population.

    Attributes:
        rows: All policies, one per row, those in training last; changed in place.
        performance: Of each policy, its last payoff in training counted from 1 below a draw.
        unseen: 1 if the last policy has had no response yet and is not part of the population.
        jobs: PSRO_rN only: remaining targets; the first is that of the policy in training.
        busy: PSRO_rN only: a policy is in training.
    """

    rows: Floats
    performance: list[float]
    unseen: int = 0
    jobs: list[Target] = field(default_factory=list)
    busy: bool = False

    @property
    def seen(self) -> Floats:
        return self.rows[: len(self.rows) - self.unseen]

    def start(self, row: Floats) -> None:
        self.rows = np.vstack([self.rows, row])
        self.performance.append(_FIRST)
        self.unseen = 1


class PopulationLearner:
    """Growing populations, one per side, or one for both sides of a symmetric game.

    Attributes:
        iteration: Iterations done.
        responses: Policies trained for an iteration so far, over both sides.
        entries: Entries of the payoff table computed so far.
    """

    report_every = 1

    def __init__(self, game: ZeroSumGame | PolicySpace, config: PSROConfig, seed: int) -> None:
        """Draw a first policy per side and those in training.

        Args:
            game: The game, or a space of policies of another kind.
            config: The settings.
            seed: Equal seeds give equal populations.
        """
        self.space = config.oracle.space(game, config) if isinstance(game, ZeroSumGame) else game
        self.config, self.seed, self.iteration = config, seed, 0
        self.pure = self.space.pure
        self.responses = 0
        rng = np.random.default_rng(seed)
        first = {side: self.space.fresh(side, rng)[None] for side in self.space.sides}
        self._sides = {side: _Side(rows, [_FIRST]) for side, rows in first.items()}
        for _ in range(0 if config.targets == "rectified" else config.learners):
            for number, side in self._sides.items():
                side.start(self.space.fresh(number, rng))
        self._table = self.space.payoffs(*self._seen())
        self.entries = self._table.size
        self._score()

    def _score(self) -> None:
        """Solve the restricted game and compute the gain of best responses to its solution."""
        self._meta = self._solve(self._scorer, *self._table.shape)
        self._gains = self.space.gains(self._seen(), self.meta_strategy())

    @property
    def _scorer(self) -> str:
        """The training's own solver if it is exact, else the game's default.

        With several equilibria, solvers may find different ones: training against one and scoring
        another may never end.
        """
        name = self.config.meta_solver
        return name if name.startswith("nash") else self.space.scorer

    def _solve(
        self, solver: str, rows: int, columns: int, rng: np.random.Generator | None = None
    ) -> MetaStrategy:
        """Return the meta-strategy among the first policies of each side."""
        table = self._table[:rows, :columns]
        if np.ptp(table) <= _TIE * self.space.scale:  # a solver would solve for rounding errors
            table = np.zeros_like(table)
        if len(self._sides) == 1:
            mass = solve_symmetric(solver, table, rng)
            return MetaStrategy(mass, mass)
        return solve(solver, table, rng)

    # Populations

    def plans(self) -> tuple[Floats, Floats]:
        """Return both populations, one plan per row; the same twice in a symmetric game."""
        rows, columns = self._seen()
        return self.space.plans(0, rows).copy(), self.space.plans(1, columns).copy()

    def _seen(self) -> tuple[Floats, Floats]:
        views = [side.seen for side in self._sides.values()]
        return views[0], views[-1]

    def meta_strategy(self) -> tuple[Floats, Floats]:
        """Return both sides' equilibrium mixtures of the restricted game."""
        return self._meta.x, self._meta.y

    @property
    def finished(self) -> bool:
        """Whether neither side's best response gains anything: an equilibrium is reached."""
        return bool(self._gains.max() <= self.config.tolerance * self.space.scale)

    def measure(self, last: bool) -> dict[str, float]:
        """Return the metrics of the present populations (payoff units of the game).

        ``episodes`` are the plays that responses were learned from; where none are played, the
        equivalent number: ``response_episodes`` for each policy trained for an iteration,
        ``payoff_episodes`` for each entry of the payoff table.
        """
        nash_conv = max(float(self._gains.sum()), 0.0)
        x, y = self.meta_strategy()
        config = self.config
        metrics = {
            "nash_conv": nash_conv,
            "exploitability": 0.5 * nash_conv,
            "restricted_value": float(x @ self._table @ y),
            "policies": float(sum(len(side.seen) for side in self._sides.values())),
            "episodes": float(
                self.responses * config.response_episodes + self.entries * config.payoff_episodes
                if self.space.episodes is None
                else self.space.episodes
            ),
        }
        every = config.pe_every
        if every == 1 and self.space.is_pe_expensive:
            every = max(self.iteration // 10, 1)
        if last or self.finished or self.iteration % every == 0:
            metrics["population_exploitability"] = self.space.population_exploitability(
                self._seen()
            )
        return metrics

    # An iteration

    def advance(self) -> None:
        """Update every policy in training once; finish those that have stopped improving."""
        # Each iteration has its own random stream: a resumed run draws the same numbers.
        rng = np.random.default_rng([self.seed, self.iteration])
        for turn in range(self.config.learners):
            if self.config.targets == "rectified":
                self._rectified_turn(rng)
            else:
                self._pipeline_turn(turn, rng)
        self.iteration += 1
        self._score()

    def _pipeline_turn(self, above: int, rng: np.random.Generator) -> None:
        """Update the policies with ``above`` others in training above them, the last ones first."""
        places = {number: len(side.rows) - 1 - above for number, side in self._sides.items()}
        sizes = places[0], places[max(places)]
        is_scored = sizes == self._table.shape and self.config.meta_solver == self._scorer
        meta = self._meta if is_scored else self._solve(self.config.meta_solver, *sizes, rng)
        if self.config.targets == "latest":
            meta = MetaStrategy(*(np.eye(size)[-1] for size in sizes))
        targets = {
            number: Target(meta.x, meta.y) if number == 0 else Target(meta.y, meta.x)
            for number in self._sides
        }
        is_lowest = above == self.config.learners - 1
        is_done = self._update(places, targets, rng, may_decline=is_lowest)
        if not is_lowest:
            return
        for number, side in self._sides.items():
            if is_done[number]:
                side.start(self.space.fresh(number, rng))

    def _rectified_turn(self, rng: np.random.Generator) -> None:
        """Update one policy per side; find new targets when all the old ones are done."""
        for number, side in self._sides.items():
            side.jobs = side.jobs or self._good_targets(number, rng)
            if not side.busy:
                side.start(self.space.fresh(number, rng))
                side.busy = True
        places = {number: len(side.rows) - 1 for number, side in self._sides.items()}
        targets = {number: side.jobs[0] for number, side in self._sides.items()}
        is_done = self._update(places, targets, rng, may_decline=True)
        for number, side in self._sides.items():
            if is_done[number] or side.unseen:
                del side.jobs[0]
                side.busy = False
            if side.unseen:  # the response was not new
                side.rows = side.rows[:-1]
                del side.performance[-1]
                side.unseen = 0

    def _good_targets(self, number: int, rng: np.random.Generator | None = None) -> list[Target]:
        """Return, for each policy with weight, the opponents it does not lose to, as weights.

        In an asymmetric game, losing is winning less than the restricted game's value. A policy
        that loses to all (it has weight only if the meta-strategy is not an equilibrium) responds
        to the whole meta-strategy.
        """
        rows, columns = self._table.shape
        meta = self._solve(self.config.meta_solver, rows, columns, rng)
        own, other = meta if number == 0 else meta[::-1]
        table = self._table if number == 0 else -self._table.T
        value = float(own @ table @ other) - _TIE * self.space.scale
        heavy = np.flatnonzero(own > _MIN_MASS)
        answered = heavy if len(heavy) else [int(own.argmax())]
        beaten = [(table[k] >= value) * other for k in answered]
        masses = [mass if mass.sum() > 0.0 else other for mass in beaten]
        return [Target(own, mass / mass.sum()) for mass in masses]

    def _update(
        self,
        places: dict[int, int],
        targets: dict[int, Target],
        rng: np.random.Generator,
        *,
        may_decline: bool,
    ) -> dict[int, bool]:
        """Update one policy per side, both from the present populations; return which are finished.

        Args:
            places: For each side, which policy.
            targets: For each side, its target.
            rng: Source of randomness.
            may_decline: Skip pure responses that gain nothing or equal an earlier policy.
        """
        config, is_done = self.config, dict.fromkeys(places, False)
        moved = {}
        for number, place in places.items():
            side, target = self._sides[number], targets[number]
            others = self._sides[max(self._sides) - number].rows
            table = self._table if number == 0 else -self._table.T
            situation = Situation(
                side=number,
                row=side.rows[place],
                own=side.rows[: len(target.own)],
                own_weights=target.own,
                opponents=others[: len(target.weights)],
                weights=target.weights,
                payoffs=table[: len(target.own), : len(target.weights)],
                iteration=self.iteration,
            )
            response = self.space.respond(situation, rng)
            self.responses += 1
            if (may_decline and self.pure) and (
                response.gain <= config.tolerance * self.space.scale
                or (side.rows[:place] == response.row).all(axis=1).any()
            ):
                continue
            moved[number] = response.row
            performance = 1.0 + response.payoff / self.space.scale
            wanted = (1.0 + config.plateau) * side.performance[place]
            is_done[number] = config.oracle.step_size == 1.0 or performance < wanted
            side.performance[place] = performance
        for number, row in moved.items():
            side = self._sides[number]
            side.rows[places[number]] = row
            if places[number] == len(side.rows) - 1:
                side.unseen = 0
        self._refresh({number: places[number] for number in moved})
        return is_done

    def _refresh(self, places: dict[int, int]) -> None:
        """Compute the entries of the payoff table that the policies at ``places`` change."""
        rows, columns = self._seen()
        table = np.zeros((len(rows), len(columns)))
        old = self._table
        table[: old.shape[0], : old.shape[1]] = old
        if 0 in places:
            place = places[0]
            table[place] = self.space.payoffs(rows[place : place + 1], columns)[0]
            self.entries += len(columns)
            if len(self._sides) == 1:
                table[:, place] = -table[place]
                table[place, place] = 0.0
        if 1 in places:
            place = places[1]
            table[:, place] = self.space.payoffs(rows, columns[place : place + 1])[:, 0]
            # Where both sides were updated, one entry is shared.
            self.entries += len(rows) - (0 in places)
        self._table = table

    # Resuming

    def state(self) -> Tensors:
        """Return what :meth:`restore` needs to resume to the same populations."""
        tensors: Tensors = {
            "iteration": np.array([self.iteration], np.int64),
            "counters": np.array([self.responses, self.entries], np.int64),
            "table": self._table.copy(),
            **{f"space_{name}": value for name, value in self.space.state().items()},
        }
        for number, side in self._sides.items():
            # Pure plans hold zeros and ones.
            tensors[f"plans_{number}"] = side.rows.astype(np.int8 if self.pure else np.float64)
            tensors[f"performance_{number}"] = np.array(side.performance)
            tensors[f"flags_{number}"] = np.array([side.unseen, side.busy], np.int64)
            if side.jobs:
                tensors[f"job_own_{number}"] = np.stack([job.own for job in side.jobs])
                tensors[f"job_weights_{number}"] = np.stack([job.weights for job in side.jobs])
        return tensors

    def restore(self, state: Tensors) -> None:
        """Restore a saved state."""
        self.iteration = int(state["iteration"][0])
        self.responses, self.entries = (int(count) for count in state["counters"])
        self._table = state["table"].astype(np.float64)
        self.space.restore(
            {k.removeprefix("space_"): v for k, v in state.items() if k.startswith("space_")}
        )
        for number in self._sides:
            unseen, busy = (int(flag) for flag in state[f"flags_{number}"])
            jobs: list[Target] = []
            if f"job_own_{number}" in state:
                owns, weights = state[f"job_own_{number}"], state[f"job_weights_{number}"]
                jobs = [Target(*pair) for pair in zip(owns, weights, strict=True)]
            self._sides[number] = _Side(
                rows=state[f"plans_{number}"].astype(np.float64),
                performance=state[f"performance_{number}"].tolist(),
                unseen=unseen,
                jobs=jobs,
                busy=bool(busy),
            )
        self._score()
