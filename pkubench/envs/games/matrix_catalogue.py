"""Matrix games by name, and from a file: ``matrix:blotto(10,3)``, ``payoff:league.npy``.

Random games are drawn from their own ``seed``: with one release of NumPy, equal parameters give
equal payoffs.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pkubench.envs.games.errors import GameError
from pkubench.envs.games.forest import Floats
from pkubench.envs.games.normal_form import MatrixGame, SymmetricMatrixGame
from pkubench.envs.games.payoff_matrices import checked_payoff, is_antisymmetric
from pkubench.errors import ConfigError, UnknownName

MAX_ACTIONS = 5000
"""Larger games are refused: the payoff matrix alone takes hundreds of megabytes."""

_BLOTTO_PAYOFFS = ("sign", "margin")


def rock_paper_scissors(
    rock: float = 1.0, paper: float = 1.0, scissors: float = 1.0
) -> SymmetricMatrixGame:
    """Return rock-paper-scissors; a win with ``rock`` pays ``rock``, and so on.

    The equilibrium plays (rock, paper, scissors) in the ratio ``scissors : rock : paper``.
    """
    if min(rock, paper, scissors) <= 0:
        raise ConfigError(f"wins must pay more than 0, got {(rock, paper, scissors)}")
    return SymmetricMatrixGame(
        [[0, -paper, rock], [paper, 0, -scissors], [-rock, scissors, 0]], "rock_paper_scissors"
    )


def cyclic(n: int = 5) -> SymmetricMatrixGame:
    """Return the tournament of ``n`` (odd) actions in which each beats the next ``(n - 1) / 2``.

    Rock-paper-scissors (3) and rock-paper-scissors-lizard-Spock (5) are two of them. Uniform play
    is the only equilibrium, and all of the game is cyclic: every rating is zero.
    """
    if n % 2 == 0 or not 3 <= n <= MAX_ACTIONS:
        raise ConfigError(f"n must be odd and lie in 3 .. {MAX_ACTIONS}, got {n}")
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    payoff = np.where(ahead == 0, 0.0, np.where(ahead <= n // 2, 1.0, -1.0))
    return SymmetricMatrixGame(payoff, "cyclic")


def matching_pennies() -> MatrixGame:
    """Return matching pennies: row wins 1 if both show the same side. Not symmetric; value 0."""
    return MatrixGame([[1, -1], [-1, 1]], "matching_pennies")


def blotto(coins: int = 10, fields: int = 3, payoff: str = "sign") -> SymmetricMatrixGame:
    """Return Colonel Blotto: distribute ``coins`` over ``fields``; more on a field wins it.

    Actions are all compositions in lexicographic order, ``C(coins + fields - 1, fields - 1)`` of
    them. The lead is the number of fields won minus those lost. With ``payoff=sign`` who leads wins
    1, as in OpenSpiel; with ``payoff=margin`` the lead divided by the largest there is, as in the
    tables of Czarnecki et al. (2020) on which PSD-PSRO's code trains. On up to three fields both
    are the same game, because the lead cannot exceed 1 there.
    """
    if coins < 1 or fields < 1:
        raise ConfigError(f"coins and fields must be at least 1, got {coins} and {fields}")
    if payoff not in _BLOTTO_PAYOFFS:
        raise UnknownName("payoff of blotto", payoff, _BLOTTO_PAYOFFS)
    placed = compositions(coins, fields)
    lead = np.zeros((len(placed), len(placed)), np.int64)
    for field in placed.T:
        lead += np.sign(field[:, None] - field[None, :])
    if payoff == "sign":
        lead = np.sign(lead)
    return SymmetricMatrixGame(lead / max(lead.max(), 1), "blotto")


def compositions(coins: int, fields: int) -> NDArray[np.int64]:
    """Return all ways to put ``coins`` on ``fields``, int64 ``(ways, fields)``, lexicographic."""
    places = coins + fields - 1
    if max(coins, fields) > MAX_ACTIONS or math.comb(places, fields - 1) > MAX_ACTIONS:
        raise ConfigError(
            f"blotto with {coins} coins on {fields} fields has more than {MAX_ACTIONS:,} actions; "
            "choose a smaller one"
        )
    # Stars and bars: where the fields - 1 bars stand among the places.
    bars = np.array(list(combinations(range(places), fields - 1)), np.int64)
    walls = np.full((len(bars), 1), -1), np.full((len(bars), 1), places)
    return np.diff(np.hstack([walls[0], bars, walls[1]])) - 1


def game_of_skill(n: int = 888, seed: int = 0) -> SymmetricMatrixGame:
    """Return a random game of skill (Czarnecki et al. 2020): cycles plus a rating.

    ``(W - W.T) / 2 + S[:, None] - S[None, :]`` with independent standard normal ``W`` and ``S``.
    """
    rng = _generator((n,), seed)
    noise, skill = rng.standard_normal((n, n)), rng.standard_normal(n)
    payoff = (noise - noise.T) / 2.0 + skill[:, None] - skill[None, :]
    return SymmetricMatrixGame(payoff, "game_of_skill")


def disc(n: int = 100, seed: int = 0) -> SymmetricMatrixGame:
    """Return the disc game (Balduzzi et al. 2019) on ``n`` points drawn evenly from the unit disc.

    Who stands ahead, counter-clockwise, wins the area that both points span with the centre:
    ``x0 y1 - x1 y0``. Of rank 2; the whole continuum of points is purely cyclic.
    """
    rng = _generator((n,), seed)
    radius, angle = np.sqrt(rng.random(n)), 2.0 * np.pi * rng.random(n)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return SymmetricMatrixGame(np.outer(x, y) - np.outer(y, x), "disc")


def transitive(n: int = 100, seed: int = 0) -> SymmetricMatrixGame:
    """Return a game of ratings alone: ``S[i] - S[j]``, ``S`` standard normal. No cycles."""
    skill = _generator((n,), seed).standard_normal(n)
    return SymmetricMatrixGame(skill[:, None] - skill[None, :], "transitive")


def elo(n: int = 100, noise: float = 0.0, seed: int = 0) -> SymmetricMatrixGame:
    """Return expected scores by Elo's formula, with noise that no rating explains.

    Ratings are uniform on 0 .. 2000, and ``i`` wins ``2 / (1 + 10 ** ((R[j] - R[i]) / 400)) - 1``
    against ``j`` on average. To each pair a normal draw of deviation ``noise`` is added and the
    sum is kept within -1 .. 1. The PSD-PSRO code lists such games with noise 0.1, 0.5 and 1 but
    not how they were drawn, so the recipe is ours. Without noise the game is transitive: the best
    rating is the equilibrium.
    """
    if noise < 0:
        raise ConfigError(f"noise must be at least 0, got {noise}")
    rng = _generator((n,), seed)
    rating = rng.uniform(0.0, 2000.0, n)
    score = 2.0 / (1.0 + 10.0 ** ((rating[None, :] - rating[:, None]) / 400.0)) - 1.0
    above = np.triu(np.clip(score + noise * rng.standard_normal((n, n)), -1.0, 1.0), 1)
    return SymmetricMatrixGame(above - above.T, "elo")


def gaussian(rows: int = 10, columns: int = 10, seed: int = 0) -> MatrixGame:
    """Return a game of independent standard normal payoffs; rows and columns differ."""
    rng = _generator((rows, columns), seed)
    return MatrixGame(rng.standard_normal((rows, columns)), "gaussian")


def _generator(actions: tuple[int, ...], seed: int) -> np.random.Generator:
    """Return the generator of a random game after checking its size."""
    if not all(1 <= n <= MAX_ACTIONS for n in actions):
        raise ConfigError(f"a game needs 1 .. {MAX_ACTIONS:,} actions a player, got {actions}")
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    return np.random.default_rng(seed)


NAMED: dict[str, Callable[..., MatrixGame]] = {
    maker.__name__: maker
    for maker in (
        rock_paper_scissors,
        cyclic,
        matching_pennies,
        blotto,
        game_of_skill,
        disc,
        transitive,
        elo,
        gaussian,
    )
}
"""Name -> what makes the game from its parameters."""


def make_matrix_game(spelling: str) -> MatrixGame:
    """Make a matrix game from its spelling.

    Args:
        spelling: ``matrix:NAME`` or ``matrix:NAME(parameters)`` with numbers (and words, such as
            ``payoff=margin``) in order or by name, or ``payoff:FILE.npy``.

    Returns:
        The game; its ``name`` is a spelling that makes it again, all parameters written out.

    Raises:
        UnknownName: No such game.
        ConfigError: Parameters that the game does not have or that are out of range.
        GameError: A file that holds no payoff matrix.
    """
    prefix, colon, rest = spelling.partition(":")
    if colon and prefix == "payoff":
        return load_payoff(rest)
    name, bound = _bound(spelling)
    return NAMED[name](*bound.args, **bound.kwargs).renamed(_full_name(name, bound))


def full_name(spelling: str) -> str:
    """Return ``matrix:NAME(parameters)`` with all parameters written out; no game is made.

    Raises:
        UnknownName, ConfigError: As :func:`make_matrix_game`.
    """
    return _full_name(*_bound(spelling))


def _full_name(name: str, bound: inspect.BoundArguments) -> str:
    parameters = ",".join(f"{key}={value}" for key, value in bound.arguments.items())
    return f"matrix:{name}({parameters})"


def _bound(spelling: str) -> tuple[str, inspect.BoundArguments]:
    """Return a named game and its parameters, those left out as well."""
    prefix, colon, rest = spelling.partition(":")
    if not colon or prefix != "matrix":
        raise ConfigError(
            f"a matrix game is spelled matrix:NAME(parameters) or payoff:FILE.npy: {spelling!r}"
        )
    name, args, kwargs = _parsed(rest)
    if name not in NAMED:
        raise UnknownName("matrix game", name, NAMED)
    signature = inspect.signature(NAMED[name])
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        takes = ", ".join(str(p).split(":")[0] for p in signature.parameters.values())
        raise ConfigError(f"{name} takes ({takes}), not {rest!r}: {error}") from error
    bound.apply_defaults()
    for key, value in bound.arguments.items():
        default = signature.parameters[key].default
        if isinstance(default, int) and not isinstance(value, int):
            raise ConfigError(f"{name}: {key} must be a whole number, got {value!r}")
        if isinstance(default, str) != isinstance(value, str):
            wanted = "a word" if isinstance(default, str) else "a number"
            raise ConfigError(f"{name}: {key} must be {wanted}, got {value!r}")
    return name, bound


def _parsed(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Split ``name(1, key=2)``; parameters are numbers or words."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, [], {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            args = [_value(arg) for arg in node.args]
            kwargs = {k.arg: _value(k.value) for k in node.keywords if k.arg is not None}
            if len(kwargs) == len(node.keywords):
                return node.func.id, args, kwargs
    except (SyntaxError, ValueError):
        pass
    raise ConfigError(
        f"{text!r} is not a NAME or NAME(1, key=2) with numbers or words as parameters"
    )


def _value(node: ast.expr) -> int | float | str:
    if isinstance(node, ast.Name):
        return node.id
    value = ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return value


def load_payoff(file: Path | str, *, symmetric: bool | None = None) -> MatrixGame:
    """Read a payoff matrix that ``numpy.save`` wrote; entry (i, j) is what row i wins against j.

    Nothing in the file is executed: pickled objects are refused.

    Args:
        file: A ``.npy`` file.
        symmetric: True claims that the game is symmetric (antisymmetric to a millionth of the
            largest payoff), False that it shall be treated as any matrix; None looks.

    Returns:
        A ``SymmetricMatrixGame`` if it is (or is claimed to be) one. Payoffs are not rescaled:
        see :meth:`MatrixGame.normalised`.

    Raises:
        GameError: No such file, no plain array, larger than ``MAX_ACTIONS`` a player, not
            two-dimensional, not finite, or not symmetric as claimed.
    """
    path = Path(file)
    name = f"payoff:{file}"
    try:
        with path.open("rb") as stream:
            _check_header(stream, path, name)
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except OSError as error:
        raise GameError(f"cannot read the payoff file {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError) as error:
        raise GameError(
            f"{path} is not an array that numpy.save wrote without pickle ({error}); write it by "
            "numpy.save(file, matrix.astype(float))"
        ) from error
    payoff: Floats = checked_payoff(array, name)
    if symmetric is None:
        symmetric = is_antisymmetric(payoff)
    return SymmetricMatrixGame(payoff, name) if symmetric else MatrixGame(payoff, name)


def _check_header(stream: BinaryIO, path: Path, name: str) -> None:
    """Check what a file says its array is, before anything is allocated for it."""
    version = np.lib.format.read_magic(stream)
    first = version == (1, 0)
    shape, _, dtype = (
        np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    )(stream)
    stream.seek(0)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    if dtype.kind not in "biuf":
        raise GameError(f"{name}: payoffs must be real numbers, got dtype {dtype}")
    if (len(shape) == 2 and max(shape) > MAX_ACTIONS) or math.prod(shape) > MAX_ACTIONS**2:
        raise GameError(
            f"{path} has payoffs of shape {shape}; a game has at most {MAX_ACTIONS:,} actions a "
            "player, so leave some out"
        )
