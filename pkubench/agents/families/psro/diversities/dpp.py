"""DPP-PSRO (Perez-Nieves et al. 2021): expected cardinality of a determinantal point process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.psro.diversities import Bonus, ByChance, payoffs_against
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.normal_form import SymmetricMatrixGame
from pkubench.envs.games.zero_sum import ZeroSumGame

if TYPE_CHECKING:
    from pkubench.agents.families.psro.spaces import Situation


@register("dpp")
@dataclass(frozen=True, kw_only=True)
class DPP(ByChance):
    """Responses maximise the population's expected cardinality."""

    def bonus(
        self, game: ZeroSumGame, situation: Situation, opponent: Floats, rng: np.random.Generator
    ) -> tuple[Bonus, float]:
        """Return the expected cardinality; payoff has no weight."""
        against, old = payoffs_against(game, situation)
        return Cardinality(against, old, isinstance(game, SymmetricMatrixGame)), 0.0


class Cardinality(Bonus):
    """``tr(I - (M M' + I)^-1)`` of the payoffs ``M`` with the candidate's as last row.

    The expected size of a determinantal point process with kernel ``M M'`` (DPP-PSRO). In a
    symmetric game the candidate is an opponent too: ``M`` gets a last column.
    """

    is_of_payoffs = True

    def __init__(self, worth: Floats, old: Floats, symmetric: bool) -> None:
        """Measure payoffs ``worth @ plan`` together with those of old policies.

        Args:
            worth: float64 ``(opponents, sequences)``, see ``ZeroSumGame.gains``.
            old: float64 ``(old policies, opponents)``, their payoffs.
            symmetric: ``old`` is antisymmetric and opponents are the old policies.
        """
        self._worth, self._old, self._symmetric = worth, old, symmetric
        size = len(old)
        kernel = np.eye(size) + (old if symmetric else old @ old.T)
        self._inverse = np.linalg.inv(kernel)

    def values(self, plans: Floats) -> Floats:
        """Return the expected size with each plan, by the inverse of a block matrix."""
        payoffs = plans @ self._worth.T
        size = len(self._old) + 1
        if self._symmetric:
            # M M' + I = (I + M)(I + M)', so the trace is a sum of squares. With N = (I + M)^-1 of
            # the old policies and c the last column:
            return size - self._squares(-payoffs.T)
        # Otherwise by the Schur complement of the candidate's row b, with d = M b.
        cross = self._old @ payoffs.T
        near = self._inverse @ cross
        rest = 1.0 + (payoffs.T**2).sum(axis=0) - (cross * near).sum(axis=0)
        return np.asarray(size - np.trace(self._inverse) - (1.0 + (near**2).sum(axis=0)) / rest)

    def _squares(self, last: Floats) -> Floats:
        left, right = self._inverse @ last, self._inverse.T @ last
        corner = 1.0 + (last * left).sum(axis=0)
        norms = (left**2).sum(axis=0), (right**2).sum(axis=0)
        cross = (left * (self._inverse @ right)).sum(axis=0)
        old = float((self._inverse**2).sum()) - 2.0 * cross / corner
        return np.asarray(
            old + norms[0] * norms[1] / corner**2 + (norms[0] + norms[1] + 1.0) / corner**2
        )

    def slopes(self, plan: Floats) -> Floats:
        """Return the gradient, ``2 (M M' + I)^-2 M`` at the plan's payoffs in ``M``."""
        payoffs = self._worth @ plan
        size = len(self._old)
        table = np.zeros((size + 1, len(payoffs) + self._symmetric))
        table[:size, : len(payoffs)] = self._old
        table[size, : len(payoffs)] = payoffs
        if self._symmetric:
            table[:size, -1] = -payoffs
        inverse = np.linalg.inv(np.eye(size + 1) + table @ table.T)
        gradient = 2.0 * inverse @ inverse @ table
        slope = gradient[size, : len(payoffs)]
        if self._symmetric:
            slope = slope - gradient[:size, -1]
        return np.asarray(slope @ self._worth)
