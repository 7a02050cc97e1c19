"""Information states of a perfect-recall player as a forest swept one level at a time.

A sequence is what one player has done so far: the empty one, or an action at an information state.
With perfect recall every information state has one parent sequence, so the sequences of a player
form a tree, and best responses, expected values and realization plans are sweeps over its levels
(von Stengel 1996). Sequences are numbered so that a level, and within it the actions of one
information state, are consecutive: each sweep is a few NumPy calls a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE = 1e-12
"""Two actions whose values differ by less (times the scale of the payoffs) are tied."""


class Level(NamedTuple):
    """One level: information states whose player has made the same number of moves before.

    Attributes:
        first: First sequence of the level.
        last: One past its last sequence.
        starts: For each information state, its first sequence, counted from ``first``.
        sizes: For each information state, its number of actions.
        above: First sequence of the level above (where the parents are).
        parents: For each information state, its parent sequence, counted from ``above``.
    """

    first: int
    last: int
    starts: Ints
    sizes: Ints
    above: int
    parents: Ints


@dataclass(frozen=True)
class Forest:
    """Sequences of one player (one root), or of both stacked level by level (two roots).

    Attributes:
        roots: Number of empty sequences; they are sequences ``0 .. roots - 1``.
        size: Number of sequences, the empty ones included.
        starts: int64 ``(states,)``; first sequence of each information state, increasing.
        parents: int64 ``(states,)``; parent sequence of each information state.
        depths: int64 ``(states,)``; moves the player has made before, non-decreasing.
        state_of: int64 ``(size,)``; information state of each sequence, -1 for the empty ones.
    """

    roots: int
    size: int
    starts: Ints
    parents: Ints
    depths: Ints
    state_of: Ints
    levels: tuple[Level, ...]

    @staticmethod
    def build(roots: int, num_actions: Ints, parents: Ints, depths: Ints) -> Forest:
        """Number the sequences of information states that are already sorted by depth.

        Args:
            roots: Number of empty sequences.
            num_actions: Number of actions of each information state.
            parents: Parent sequence of each, in the numbering that this call creates.
            depths: Depth of each, non-decreasing.
        """
        ends = roots + np.cumsum(num_actions)
        starts = ends - num_actions
        size = int(ends[-1]) if len(ends) else roots
        state_of = np.concatenate(
            [np.full(roots, -1, np.int64), np.repeat(np.arange(len(starts)), num_actions)]
        )
        levels = []
        above, first = 0, roots
        for depth in range(int(depths[-1]) + 1 if len(depths) else 0):
            here = slice(*np.searchsorted(depths, [depth, depth + 1]))
            last = int(ends[here][-1])
            levels.append(
                Level(
                    first,
                    last,
                    starts[here] - first,
                    num_actions[here],
                    above,
                    parents[here] - above,
                )
            )
            above, first = first, last
        return Forest(roots, size, starts, parents, depths, state_of, tuple(levels))

    def best(self, gains: Floats) -> Floats:
        """Add to every sequence the best that can follow it, from the leaves to the roots.

        Args:
            gains: float64 ``(size,)``, what the opponent's play makes each sequence worth by
                itself; changed in place. Afterwards the roots hold the best-response value.

        Returns:
            ``gains``.
        """
        for first, last, starts, _, above, parents in reversed(self.levels):
            values = np.maximum.reduceat(gains[first:last], starts)
            gains[above:first] += np.bincount(parents, values, first - above)
        return gains

    def best_sequences(
        self, gains: Floats, rng: np.random.Generator | None = None, *, unit: float = 0.0
    ) -> Ints:
        """Return each information state's best sequence after :meth:`best`.

        Values within a relative ``TIE`` count as tied, so that the choice does not hang on the
        last bit of a sum.

        Args:
            gains: What :meth:`best` left.
            rng: Chooses uniformly among tied actions; without it the lowest index wins.
            unit: The size of the payoffs that were added up: gains that cancel are less.
        """
        if not len(self.starts):
            return self.starts
        tail = gains[self.roots :]
        starts = self.starts - self.roots
        state = self.state_of[self.roots :]
        slack = TIE * max(unit, float(np.abs(tail).max()))
        tied = tail >= (np.maximum.reduceat(tail, starts) - slack)[state]
        if rng is not None:
            lots = np.where(tied, rng.random(len(tail)), -1.0)
            tied = lots == np.maximum.reduceat(lots, starts)[state]
        index = np.where(tied, np.arange(self.roots, self.size), self.size)
        return np.minimum.reduceat(index, starts)

    def average(self, gains: Floats, behaviour: Floats) -> Floats:
        """Add to every sequence what follows it under ``behaviour``; in place, like :meth:`best`.

        Args:
            gains: float64 ``(size,)``; changed in place and returned.
            behaviour: float64 ``(size,)``, the probability of each action at its state.
        """
        for first, last, starts, _, above, parents in reversed(self.levels):
            values = np.add.reduceat(gains[first:last] * behaviour[first:last], starts)
            gains[above:first] += np.bincount(parents, values, first - above)
        return gains

    def plan(self, behaviour: Floats) -> Floats:
        """Multiply action probabilities down the forest.

        Args:
            behaviour: float64 ``(..., size)``; entries of the roots are ignored.

        Returns:
            The realization plan, float64 ``(..., size)``; 1 at the roots.
        """
        plan = behaviour.copy()
        plan[..., : self.roots] = 1.0
        for first, last, _, sizes, above, parents in self.levels:
            plan[..., first:last] *= plan[..., above:first][..., np.repeat(parents, sizes)]
        return plan

    def behaviour(self, plan: Floats) -> Floats:
        """Divide a realization plan by its parents: action probabilities at each state.

        States that the plan never reaches get the uniform distribution. Roots get 1.
        """
        behaviour = np.ones_like(plan)
        if not len(self.starts):
            return behaviour
        state = self.state_of[self.roots :]
        tail = np.clip(plan[..., self.roots :], 0.0, None)
        mass = np.add.reduceat(tail, self.starts - self.roots, axis=-1)[..., state]
        sizes = np.diff(np.append(self.starts, self.size))[state]
        # Dividing by the children's own sum rather than by the parent makes each row sum to one
        # even if the plan carries the rounding of a linear program.
        behaviour[..., self.roots :] = np.where(
            mass > 0.0, tail / np.where(mass > 0.0, mass, 1.0), 1.0 / sizes
        )
        return behaviour

    def imbalance(self, plan: Floats) -> Floats:
        """Return, for roots and then states, how far a plan is from satisfying its constraints.

        Args:
            plan: float64 ``(..., size)``.

        Returns:
            float64 ``(..., roots + states)``: root minus 1, and the sum of a state's sequences
            minus its parent.
        """
        roots = plan[..., : self.roots] - 1.0
        if not len(self.starts):
            return roots
        sums = np.add.reduceat(plan[..., self.roots :], self.starts - self.roots, axis=-1)
        return np.concatenate([roots, sums - plan[..., self.parents]], axis=-1)
