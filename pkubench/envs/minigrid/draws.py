"""NumPy's ``default_rng`` for many seeds at once, bit for bit.

Levels are drawn by ``Generator(PCG64(SeedSequence(seed)))``, one generator a level, and making one
takes ten microseconds. Here the same words are computed as arrays, one row a seed: the entropy pool
of ``SeedSequence``, the 128-bit congruential generator behind PCG64 (O'Neill, "PCG: A Family of
Simple Fast Space-Efficient Statistically Good Algorithms for Random Number Generation", 2014), and
the rejection loops of ``integers`` (Lemire, "Fast Random Integer Generation in an Interval", 2019)
and ``shuffle``. NumPy does not promise that streams of ``Generator`` stay as they are, so
:func:`agrees_with_numpy` compares both, and who uses this falls back on NumPy's own where they
differ.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core.seeding import IntArray

Words = npt.NDArray[np.uint64]

_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R = 0xCA01F9DD, 0x4973F715
_POOL = 4
_LCG: Final = (2549297995355413924 << 64) + 4865540595714422341
_M32, _M64, _M128 = 2**32 - 1, 2**64 - 1, 2**128 - 1
_U = np.uint64
_LOW: Final = _U(_M32)
_S16, _S32, _S58, _S63, _S64 = (_U(s) for s in (16, 32, 58, 63, 64))
_ONE: Final = _U(1)


def _hashmix(value: Words, constant: int, multiplier: int) -> tuple[Words, int]:
    """Return ``SeedSequence``'s hash of 32-bit words, and its next constant."""
    following = constant * multiplier & _M32
    value = (value ^ _U(constant)) * _U(following) & _LOW
    return value ^ (value >> _S16), following


def _pool(seeds: IntArray) -> list[Words]:
    """Return the mixed entropy pool of each seed: four arrays of 32-bit words."""
    entropy = seeds.astype(np.uint64)
    words = [entropy & _LOW, entropy >> _S32, np.zeros_like(entropy), np.zeros_like(entropy)]
    constant = _INIT_A
    pool = []
    for word in words:  # missing words count as zeros
        mixed, constant = _hashmix(word, constant, _MULT_A)
        pool.append(mixed)
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                hashed, constant = _hashmix(pool[source], constant, _MULT_A)
                mixed = (pool[target] * _U(_MIX_L) - hashed * _U(_MIX_R)) & _LOW
                pool[target] = mixed ^ (mixed >> _S16)
    return pool


def _seed_words(seeds: IntArray) -> list[Words]:
    """Return ``SeedSequence(seed).generate_state(4, uint64)`` of each seed: four arrays."""
    pool, constant, halves = _pool(seeds), _INIT_B, []
    for place in range(2 * _POOL):
        half, constant = _hashmix(pool[place % _POOL], constant, _MULT_B)
        halves.append(half)
    return [halves[2 * k] | (halves[2 * k + 1] << _S32) for k in range(_POOL)]


def _times(high: Words, low: Words, factor_high: Words, factor_low: Words) -> tuple[Words, Words]:
    """Return the product of 128-bit numbers modulo 2**128, as high and low words."""
    a0, a1 = low & _LOW, low >> _S32
    b0, b1 = factor_low & _LOW, factor_low >> _S32
    first = a0 * b0
    middle = a1 * b0 + (first >> _S32)
    cross = a0 * b1 + (middle & _LOW)
    carried = a1 * b1 + (middle >> _S32) + (cross >> _S32)
    return carried + high * factor_low + low * factor_high, low * factor_low


def _plus(high: Words, low: Words, more_high: Words, more_low: Words) -> tuple[Words, Words]:
    total = low + more_low
    return high + more_high + (total < low).astype(np.uint64), total


@functools.cache
def _jumps(count: int) -> tuple[Words, Words, Words, Words]:
    """Return A**k and 1 + A + ... + A**(k-1) for k = 1 ... count: what k steps multiply by."""
    power, total, powers, totals = 1, 0, [], []
    for _ in range(count):
        total = (total + power) & _M128
        power = power * _LCG & _M128
        powers.append(power)
        totals.append(total)
    columns = [
        np.array([word >> shift & _M64 for word in values], dtype=np.uint64)
        for values in (powers, totals)
        for shift in (64, 0)
    ]
    return columns[0], columns[1], columns[2], columns[3]


class Draws:
    """One generator a seed; row ``i`` draws what ``default_rng(seeds[i])`` does."""

    def __init__(self, seeds: IntArray, words: int = 24) -> None:
        """Start the generators.

        Args:
            seeds: (n,) int64, non-negative.
            words: how many 32-bit words of each generator are computed at a time.
        """
        self.count = len(seeds)
        self._outputs = (words + 1) // 2  # 64 bits each
        state_high, state_low, inc_high, inc_low = _seed_words(seeds)
        self._increment = (inc_high << _ONE) | (inc_low >> _S63), (inc_low << _ONE) | _ONE
        # srandom: the state of 0 is stepped, the seed is added, and the state is stepped again,
        # which the first output does.
        self._state = _plus(*self._increment, state_high, state_low)
        high, low = _times(*self._state, *_jumps(1)[:2])
        self._state = _plus(high, low, *self._increment)
        self._tape: Words = np.zeros((self.count, 0), dtype=np.uint64)
        self._flat: Words = self._tape.reshape(-1)
        self._cursor: IntArray = np.zeros(self.count, dtype=np.int64)
        self._all: IntArray = np.arange(self.count, dtype=np.int64)
        self._extend()

    def _extend(self) -> None:
        """Compute the next outputs of every row."""
        power_high, power_low, sum_high, sum_low = _jumps(self._outputs)
        state = [word[:, None] for word in self._state]
        increment = [word[:, None] for word in self._increment]
        high, low = _plus(
            *_times(state[0], state[1], power_high, power_low),
            *_times(increment[0], increment[1], sum_high, sum_low),
        )
        self._state = high[:, -1].copy(), low[:, -1].copy()
        rotation = high >> _S58
        mixed = high ^ low
        output = (mixed >> rotation) | (mixed << ((_S64 - rotation) & _U(63)))
        words = np.stack([output & _LOW, output >> _S32], axis=-1).reshape(self.count, -1)
        self._tape = np.concatenate([self._tape, words], axis=1)
        self._flat = self._tape.reshape(-1)

    def _next(self, rows: IntArray) -> Words:
        """Return the next 32-bit word of each of the ``rows``."""
        places = self._cursor[rows]
        while len(places) and places.max() >= self._tape.shape[1]:
            self._extend()
        self._cursor[rows] = places + 1
        words: Words = self._flat[rows * self._tape.shape[1] + places]
        return words

    def integers(self, low: Any, high: Any, rows: IntArray | None = None) -> IntArray:
        """Return ``integers(low, high)`` of the ``rows`` (of all if None), (len(rows),) int64.

        ``low`` and ``high`` are numbers or arrays (len(rows),), less than 2**32 apart. As in NumPy,
        a range of one number draws nothing.
        """
        rows = self._all if rows is None else rows
        size = np.asarray(high - low)
        if size.ndim == 0 and size == 1:
            return np.full(len(rows), low, dtype=np.int64)
        if size.ndim and (size == 1).any():
            drawn = np.zeros(len(rows), dtype=np.int64)
            several = np.flatnonzero(size > 1)
            drawn[several] = self.integers(0, size[several], rows[several])
            drawn += low
            return drawn
        span = size.astype(np.uint64)
        product = self._next(rows) * span
        again = np.flatnonzero((product & _LOW) < span)  # about one in a thousand million
        if len(again):
            spans = np.broadcast_to(span, product.shape)[again]
            threshold = (_U(_M32) - (spans - _ONE)) % spans
            again = again[(product[again] & _LOW) < threshold]
            while len(again):
                spans = np.broadcast_to(span, product.shape)[again]
                product[again] = self._next(rows[again]) * spans
                threshold = (_U(_M32) - (spans - _ONE)) % spans
                again = again[(product[again] & _LOW) < threshold]
        found: IntArray = low + (product >> _S32).astype(np.int64)
        return found

    def shuffle(self, items: IntArray) -> None:
        """Shuffle each row of ``items`` (n, m) in place, as ``shuffle`` does lists of length m."""
        for last in range(items.shape[1] - 1, 0, -1):
            mask = _U(2 ** last.bit_length() - 1)
            chosen = np.zeros(self.count, dtype=np.int64)
            rows = self._all
            while len(rows):
                word = self._next(rows) & mask
                fits = word <= _U(last)
                chosen[rows[fits]] = word[fits].astype(np.int64)
                rows = rows[~fits]
            swapped = items[self._all, chosen].copy()
            items[self._all, chosen] = items[:, last]
            items[:, last] = swapped


@functools.cache
def agrees_with_numpy() -> bool:
    """Return whether the installed NumPy draws what is computed here, on a sample of streams."""
    seeds = np.array([0, 1, 12345, 2**31, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1], dtype=np.int64)
    draws = Draws(seeds)
    items = np.tile(np.arange(9), (len(seeds), 1))
    columns = [draws.integers(-2, 2**31 - 3 + k) for k in range(20)]  # a quarter is rejected
    draws.shuffle(items)
    columns += [draws.integers(0, size) for size in (1, 2, 3, 7, 25, 3 * 2**30)]
    for row, seed in enumerate(seeds.tolist()):
        generator = np.random.default_rng(seed)
        wanted = [int(generator.integers(-2, 2**31 - 3 + k)) for k in range(20)]
        shuffled = list(range(9))
        generator.shuffle(shuffled)
        wanted += [int(generator.choice(range(size))) for size in (1, 2, 3, 7, 25)]
        wanted.append(int(generator.integers(0, 3 * 2**30)))
        if wanted != [int(column[row]) for column in columns] or shuffled != items[row].tolist():
            return False
    return True
