"""From the histories of a game to its sequence form.

The sequence form (Romanovskii 1962; Koller, Megiddo, von Stengel 1994) of a two-player zero-sum
game with perfect recall is a sparse matrix ``A``: row = sequence of player 0, column = sequence of
player 1, entry = sum over the terminal histories with these sequences of (chance probability x
what player 0 wins). For realization plans ``x`` and ``y`` the expected payoff is ``x @ A @ y``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats, Forest, Ints
from pkubench.envs.games.histories import TERMINAL, Histories


@dataclass(frozen=True)
class SequenceForm:
    """The forests of both players and the payoff matrix between their sequences.

    Attributes:
        forests: One forest a player.
        orders: For each player, the histories' number of each of the forest's states.
        payoff: CSR ``(sequences of player 0, sequences of player 1)``.
        sequence: int64 ``(2, histories)``; each player's sequence at each history.
    """

    forests: tuple[Forest, Forest]
    orders: tuple[Ints, Ints]
    payoff: sparse.csr_array
    sequence: NDArray[np.int64]


def sequence_form(histories: Histories) -> SequenceForm:
    """Build the sequence form.

    Raises:
        GameError: A player without perfect recall, named with the information state.
    """
    built = [_forest(histories, player) for player in (0, 1)]
    sequence = np.stack([nodes for _, _, nodes in built])
    forests = built[0][0], built[1][0]
    payoff = payoff_matrix(histories, forests, sequence, histories.utility)
    return SequenceForm(forests, (built[0][1], built[1][1]), payoff, sequence)


def payoff_matrix(
    histories: Histories,
    forests: tuple[Forest, Forest],
    sequence: NDArray[np.int64],
    utility: Floats,
) -> sparse.csr_array:
    """Return the CSR payoff matrix between both players' sequences.

    Args:
        histories: The flattened game tree.
        forests: Player 0's and player 1's.
        sequence: int64 ``(2, histories)``; each player's sequence at each history.
        utility: float64 ``(histories,)``; what player 0 wins at the end of a play.
    """
    ends = np.flatnonzero(histories.player == TERMINAL)
    entries = chance_reach(histories)[ends] * utility[ends]
    sizes = forests[0].size, forests[1].size
    payoff = sparse.coo_array((entries, (sequence[0, ends], sequence[1, ends])), sizes).tocsr()
    payoff.sum_duplicates()
    payoff.eliminate_zeros()
    return payoff


def chance_reach(histories: Histories) -> NDArray[np.float64]:
    """Return the product of the chance probabilities on the way to each history."""
    reach = histories.chance.copy()
    for first, last in zip(histories.lengths[1:-1], histories.lengths[2:], strict=True):
        reach[first:last] *= reach[histories.parent[first:last]]
    return reach


def _forest(histories: Histories, player: int) -> tuple[Forest, Ints, Ints]:
    """Return a player's forest, the order of its states, and its sequence at every history."""
    states = histories.states[player]
    num_actions = np.array([len(legal) for legal in states.legal_actions], np.int64)
    # First number the sequences in the order of discovery, then sort by depth and parent.
    raw_start = 1 + np.cumsum(num_actions) - num_actions
    nodes = np.zeros(len(histories.player), np.int64)
    acts = histories.player == player
    for first, last in zip(histories.lengths[1:-1], histories.lengths[2:], strict=True):
        above = histories.parent[first:last]
        nodes[first:last] = nodes[above]
        moved = first + np.flatnonzero(acts[above])
        state = histories.state[histories.parent[moved]]
        nodes[moved] = raw_start[state] + histories.move[moved]
    own = np.flatnonzero(acts)
    which = histories.state[own]
    _, seen_first = np.unique(which, return_index=True)
    parents = nodes[own][seen_first]
    clash = np.flatnonzero(nodes[own] != parents[which])
    if len(clash):
        raise GameError(
            f"game {histories.name}: player {player} has no perfect recall; information state "
            f"{states.texts[which[clash[0]]]!r} is reached after different moves of its own"
        )

    state_of_raw = np.repeat(np.arange(len(num_actions)), num_actions)
    depths = np.zeros(len(num_actions), np.int64)
    # Breadth-first search meets a state after the state of its parent sequence.
    for state, parent in enumerate(parents):
        depths[state] = 0 if parent == 0 else depths[state_of_raw[parent - 1]] + 1
    new_of_raw = np.zeros(1 + int(num_actions.sum()), np.int64)
    order = np.zeros(0, np.int64)
    next_sequence = 1
    for depth in range(int(depths.max(initial=-1)) + 1):
        level = np.flatnonzero(depths == depth)
        level = level[np.argsort(new_of_raw[parents[level]], kind="stable")]
        for state in level.tolist():
            count = int(num_actions[state])
            start = int(raw_start[state])
            new_of_raw[start : start + count] = np.arange(next_sequence, next_sequence + count)
            next_sequence += count
        order = np.concatenate([order, level])
    forest = Forest.build(1, num_actions[order], new_of_raw[parents[order]], depths[order])
    return forest, order, new_of_raw[nodes]


def stack(
    forests: tuple[Forest, Forest], payoff: sparse.csr_array
) -> tuple[Forest, sparse.csr_array]:
    """Join both players into one forest, so that one sweep finds both best responses.

    Args:
        forests: Player 0's and player 1's.
        payoff: ``A``, the payoff matrix between their sequences.

    Returns:
        The forest with two roots, and the CSR matrix ``M`` of shape ``(size, size)`` such that
        ``M @ concatenate([x, y])`` lists, in the forest's numbering, ``A @ y`` and ``-A.T @ x``.
    """
    left, right = forests
    owner = np.repeat([0, 1], [len(left.starts), len(right.starts)])
    depths = np.concatenate([left.depths, right.depths])
    sizes = np.concatenate([np.diff(np.append(f.starts, f.size)) for f in (left, right)])
    order = np.lexsort((np.arange(len(depths)), owner, depths))
    ends = 2 + np.cumsum(sizes[order])
    start = np.empty(len(depths), np.int64)
    start[order] = ends - sizes[order]
    # position[k] is where sequence k of the concatenation [left, right] stands when stacked.
    position = np.empty(left.size + right.size, np.int64)
    position[[0, left.size]] = [0, 1]
    for forest, offset, first_state in ((left, 0, 0), (right, left.size, len(left.starts))):
        states = forest.state_of[1:]
        within = np.arange(1, forest.size) - forest.starts[states]
        position[offset + 1 : offset + forest.size] = start[first_state + states] + within
    parents = np.concatenate([position[left.parents], position[left.size + right.parents]])
    forest = Forest.build(2, sizes[order], parents[order], depths[order])
    both = sparse.block_array([[None, payoff], [-payoff.T, None]], format="csr")
    if both.shape != (forest.size, forest.size):  # a game whose payoffs are all zero
        both = sparse.csr_array((forest.size, forest.size))
    rows = np.argsort(position)
    return forest, sparse.csr_array(both[rows])


def append_checks(
    matrix: sparse.csr_array, *below: sparse.csr_array
) -> tuple[sparse.csr_array, int]:
    """Append the state rows of each player's constraint matrix, with 32-bit indices.

    Args:
        matrix: The stacked product of :func:`stack`.
        below: Constraint matrices of player 0 and player 1; their first row (the root) is left
            out.

    Returns:
        The matrix, and the number of appended rows.
    """
    checks = sparse.block_diag([part[1:] for part in below], format="csr")
    joined = sparse.csr_array(sparse.vstack([matrix, checks], format="csr"))
    joined.indices = joined.indices.astype(np.int32)
    joined.indptr = joined.indptr.astype(np.int32)
    return joined, checks.shape[0]
