"""The AlphaStar league's payoff table, which is not ours to ship: how to get, check and play it.

The table is part of the supplementary material of Czarnecki et al. (2020), "Real World Games Look
Like Spinning Tops", NeurIPS (the paper with ca172e964907a97d5ebd876bfdd4adbd in its address at
https://papers.nips.cc/paper/2020): file ``spinning_top_payoffs.pkl``, a pickled dictionary of
tables, whose entry ``AlphaStar`` has 888 rows. Convert it once, and play the result in every verb::

    python -m pkubench.envs.games.alphastar spinning_top_payoffs.pkl alphastar.npy
    pkubench train psd-psro-paper alphastar:alphastar.npy --steps 200

A pickle can run any code when it is read. The one here is read by a reader that knows arrays, lists
and dictionaries only, and refuses everything else.

We found no published hash of the file and could not fetch it ourselves, so no SHA-256 is pinned.
What is checked, at conversion and whenever the game is made, is the shape, that the table is
antisymmetric, and one known value: a nearly uniform mixture is exploitable by 0.80 of the largest
payoff, which the stored results of PSD-PSRO's code have at iteration 0 for every method (NashConv
1.599). The converter prints the SHA-256 of what it writes, so that people can compare theirs.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.matrix_catalogue import load_payoff
from pkubench.envs.games.normal_form import SymmetricMatrixGame
from pkubench.envs.games.payoff_matrices import asymmetry, checked_payoff, is_antisymmetric

PREFIX = "alphastar:"
ENTRY = "AlphaStar"
SIZE = 888
UNIFORM_NASH_CONV = (1.50, 1.70)
"""NashConv of uniform play in units of the largest payoff; the published runs start at 1.599 from
mixtures of two or three random policies, which differ from uniform play by some hundredths."""
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}
"""What pickled arrays and dictionaries are made of."""


class _ArrayReader(pickle.Unpickler):
    """Reads arrays in plain containers; anything else in the pickle is refused before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise GameError(
                f"the pickle wants to run {module}.{name}, which a table of payoffs does not need; "
                "it is not the file of the supplementary material, so do not open it otherwise"
            )
        return super().find_class(module, name)


def check_alphastar(payoff: ArrayLike, name: str) -> Floats:
    """Return a payoff table as float64 after checking that it can be the AlphaStar league's.

    Args:
        payoff: ``(888, 888)``, what row i wins against column j, in any unit.
        name: What messages call it.

    Raises:
        GameError: It has another shape, is not antisymmetric, or uniform play is not as exploitable
            as it is in the league.
    """
    table = checked_payoff(payoff, name)
    if table.shape != (SIZE, SIZE):
        raise GameError(
            f"{name} has payoffs of shape {table.shape}, and the AlphaStar league's is "
            f"({SIZE}, {SIZE}); a payoff file of your own is spelled payoff:FILE.npy"
        )
    if not is_antisymmetric(table):
        raise GameError(f"{name} is not the AlphaStar league's table: {asymmetry(table)}")
    nash_conv = 2.0 * float(table.mean(axis=1).max() / np.abs(table).max())
    low, high = UNIFORM_NASH_CONV
    if not low <= nash_conv <= high:
        raise GameError(
            f"{name} is not the AlphaStar league's table: uniform play has NashConv "
            f"{nash_conv:.3f} of the largest payoff, and the league's is near 1.6; a payoff file "
            "of your own is spelled payoff:FILE.npy"
        )
    return table


def load_alphastar(file: Path | str) -> SymmetricMatrixGame:
    """Return the league as a game, from the file that :func:`convert` wrote.

    Args:
        file: A ``.npy`` file.

    Raises:
        GameError: There is no such file, or it is not the league's table (see
            :func:`check_alphastar`).
    """
    if not Path(file).exists():
        raise GameError(
            f"there is no file {file}; the AlphaStar league's table is not redistributable, so "
            "get it as docs/concepts/games.md describes and convert it: python -m "
            f"{__name__} spinning_top_payoffs.pkl {file}"
        )
    game = load_payoff(file)
    return SymmetricMatrixGame(check_alphastar(game.payoff, str(file)), f"{PREFIX}{file}")


def convert(source: Path | str, target: Path | str) -> str:
    """Write the league's table from the supplementary material as a ``.npy`` file.

    Args:
        source: ``spinning_top_payoffs.pkl``.
        target: File to write.

    Returns:
        SHA-256 of the file written.

    Raises:
        GameError: The source cannot be read, holds anything but arrays, has no entry
            ``AlphaStar``, or its table is not the league's.
    """
    try:
        with Path(source).open("rb") as stream:
            tables = _read(stream, str(source))
    except OSError as error:
        raise GameError(f"cannot read {source}: {error.strerror or error}") from error
    if not isinstance(tables, dict) or ENTRY not in tables:
        listed = ", ".join(map(str, tables)) if isinstance(tables, dict) else type(tables).__name__
        raise GameError(f"{source} has no entry {ENTRY!r}; it has: {listed[:200]}")
    table = check_alphastar(tables[ENTRY], f"{source}[{ENTRY!r}]")
    # Through an open file: numpy.save would append .npy to another name.
    with Path(target).open("wb") as out:
        np.save(out, table)
    return hashlib.sha256(Path(target).read_bytes()).hexdigest()


def _read(stream: BinaryIO, name: str) -> Any:
    try:
        # latin1 is what numpy needs for arrays that Python 2 pickled.
        return _ArrayReader(stream, encoding="latin1").load()
    except GameError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise GameError(f"{name} is not a pickle of payoff tables: {error}") from error


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", help="spinning_top_payoffs.pkl of the supplementary material")
    parser.add_argument("target", help="the .npy file to write")
    args = parser.parse_args()
    try:
        digest = convert(args.source, args.target)
    except (GameError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {args.target}, SHA-256 {digest}; play it as {PREFIX}{args.target}")


if __name__ == "__main__":
    main()
