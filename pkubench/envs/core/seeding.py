"""Random numbers of environments: one stream an episode, derived by hashing.

Evaluation and training seeds lie in disjoint ranges, so no learner can have met an evaluation
episode: training seeds are below ``EVALUATION_SEED_START``, evaluation seeds at or above it.
Everything here is integer arithmetic, and float64 arithmetic that IEEE 754 fixes to the last bit,
on arrays; it gives the same bits on any platform and for any batch.

The mixing function is SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).
"""

from __future__ import annotations

import functools
import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.core import exact_math
from pkubench.errors import ConfigError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

EVALUATION_SEED_START: Final = 2**31
"""First seed reserved for evaluation; seeds stay below 2**32, which legacy generators take."""

MAX_SEED: Final = 2**63 - 1
"""Largest seed of a run or of an evaluation: what int64 holds, and every generator takes."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_RANGE_MASK: Final = np.uint64(2**31 - 1)
_S30, _S27, _S31, _S11, _S16 = (np.uint64(s) for s in (30, 27, 31, 11, 16))

_ODD: Final = (0x2C1B3C6D, 0x297A2D39)
_SPREAD: Final = tuple(np.uint64(odd) for odd in _ODD)
_GATHER: Final = tuple(np.uint64(pow(odd, -1, 2**31)) for odd in reversed(_ODD))
"""Odd multipliers of 31-bit words, and those that undo them."""
_STRIDE: Final = np.uint64(0x4F1BBCDD)
"""Odd, so that counting by it meets every 31-bit word before it meets one again."""


def check_seed(seed: int) -> None:
    """Refuse a seed that a generator would not take.

    Raises:
        ConfigError: it is negative or larger than ``MAX_SEED``.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must lie in 0..2**63 - 1, got {seed}")


def mix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return SplitMix64's finaliser of each 64-bit word, a bijection with full avalanche."""
    values = (values ^ (values >> _S30)) * _MIX_1
    values = (values ^ (values >> _S27)) * _MIX_2
    return values ^ (values >> _S31)


def _hash(*words: int | IntArray) -> npt.NDArray[np.uint64]:
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        state = mix64(state + _GOLDEN + np.atleast_1d(np.asarray(word)).astype(np.uint64))
    return state


def evaluation_seeds(seed: int, episodes: int, first: int = 0) -> IntArray:
    """Return the seeds of episodes ``first .. first + episodes - 1`` of an evaluation.

    They depend on ``seed`` and the episode's number alone, so a longer evaluation begins with the
    episodes of a shorter one. Shape (episodes,), int64, in [2**31, 2**32).
    """
    index = np.arange(first, first + episodes, dtype=np.int64)
    words = _hash(0x6576616C, seed, index) & _RANGE_MASK
    return words.astype(np.int64) + EVALUATION_SEED_START


PROTOCOL_EPISODES: Final = 2**16
"""No task's protocol has more episodes; their seeds are left out of ``validation_seeds``."""


def validation_seeds(seed: int, episodes: int, first: int = 0) -> IntArray:
    """Return the seeds of episodes ``first ...`` that a training of ``seed`` is validated on.

    They lie in the range of evaluation seeds, so no training episode has one, and none of them is
    a seed of a protocol: of the first ``PROTOCOL_EPISODES`` episodes of an evaluation with seed 0.
    Shape (episodes,), int64, in [2**31, 2**32).
    """
    index = np.arange(first, first + episodes, dtype=np.int64)
    seeds = np.zeros(episodes, dtype=np.int64)
    missing, attempt = np.ones(episodes, dtype=np.bool_), 0
    taken = _protocol_seeds()
    while missing.any():
        words = _hash(0x76616C69, seed, index[missing], attempt) & _RANGE_MASK
        seeds[missing] = words.astype(np.int64) + EVALUATION_SEED_START
        place = np.minimum(np.searchsorted(taken, seeds), len(taken) - 1)
        missing, attempt = taken[place] == seeds, attempt + 1
    return seeds


@functools.cache
def _protocol_seeds() -> IntArray:
    return np.sort(evaluation_seeds(0, PROTOCOL_EPISODES))


def next_seeds(seeds: IntArray) -> IntArray:
    """Return the seed of the episode that follows each given one in its environment, in [0, 2**31).

    The seeds below 2**31 form one single cycle: an environment plays all of them before it plays
    one again, and two environments never come to play the same seeds together. A hash applied to
    its own results does not do: it soon runs into a short cycle (64 environments play the same
    episodes as each other after about 1,000). Larger seeds enter the cycle at a hashed place.
    """
    return following_seeds(seeds, 1)[..., 0]


def following_seeds(seeds: IntArray, count: int) -> IntArray:
    """Return the seeds of the next ``count`` episodes after each given one, (..., count)."""
    seeds = np.asarray(seeds, dtype=np.int64)
    outside = (seeds < 0) | (seeds >= EVALUATION_SEED_START)
    place = seeds.astype(np.uint64)
    if outside.any():
        place = np.where(outside, _hash(0x6E657874, seeds) & _RANGE_MASK, place)
    steps = np.arange(1, count + 1, dtype=np.uint64) * _STRIDE
    counted = _mix31(_mix31(place, _GATHER)[..., None] + steps & _RANGE_MASK, _SPREAD)
    return counted.astype(np.int64)


def _mix31(
    words: npt.NDArray[np.uint64], multipliers: tuple[np.uint64, ...]
) -> npt.NDArray[np.uint64]:
    """Mix 31-bit words by a bijection; ``_GATHER`` undoes what ``_SPREAD`` does."""
    for multiplier in multipliers:
        words = (words ^ (words >> _S16)) * multiplier & _RANGE_MASK
    return words ^ (words >> _S16)


def agent_seeds(seeds: IntArray, name: str = "agent") -> IntArray:
    """Return the seeds an agent gets for its own sampling, unrelated to the environment's numbers.

    A cryptographic hash (BLAKE2b) keeps the episode's seed from being read off by accident or by a
    network. It is no secret to code that sets out to find it: evaluation seeds are public and
    can be hashed one by one. Shape as ``seeds``, int64, in [0, 2**63).
    """
    named = hashlib.blake2b(f"{name}:".encode(), digest_size=8, person=b"pkubench")
    words = []
    for seed in np.asarray(seeds).tolist():
        one = named.copy()  # a third of the time of a new one
        one.update(b"%d" % seed)
        words.append(int.from_bytes(one.digest(), "little") >> 1)
    return np.array(words, dtype=np.int64)


class TrainingSeeds:
    """The endless seeds of a training run: each environment's ``k``-th episode has its own."""

    def __init__(self, seed: int, num_envs: int) -> None:
        """Start at episode 0 in each of ``num_envs`` environments of the run ``seed``."""
        self.seed = seed
        self.episode: IntArray = np.zeros(num_envs, dtype=np.int64)

    def next(self, ids: IntArray) -> IntArray:
        """Return the next episodes' seeds in the environments ``ids``, (len(ids),), < 2**31."""
        words = _hash(0x747261696E, self.seed, ids, self.episode[ids]) & _RANGE_MASK
        self.episode[ids] += 1
        return words.astype(np.int64)


class RandomStreams:
    """One counter-based random stream an environment, drawn from as arrays.

    Environment ``i``'s numbers depend on its seed and on how many it has drawn, never on the other
    environments: the property that makes an episode the same at index 0 of 1 and at index 37 of 64.
    Creating a ``numpy.random.Generator`` an episode would cost about 10 microseconds;
    this costs 10 ns a number.
    """

    def __init__(self, num_envs: int) -> None:
        """Make ``num_envs`` streams, all at seed 0 until ``seed`` is called."""
        self.key: npt.NDArray[np.uint64] = np.zeros(num_envs, dtype=np.uint64)
        self.count: npt.NDArray[np.uint64] = np.zeros(num_envs, dtype=np.uint64)

    @classmethod
    def started(cls, seeds: IntArray) -> RandomStreams:
        """Return one stream a seed, environment ``i`` started from ``seeds[i]``."""
        streams = cls(len(seeds))
        streams.seed(np.arange(len(seeds)), seeds)
        return streams

    def seed(self, ids: IntArray, seeds: IntArray) -> None:
        """Restart the streams of environments ``ids`` from ``seeds``."""
        self.key[ids] = _hash(0x6C616E65, seeds)
        self.count[ids] = 0

    def words(self, ids: IntArray, size: int) -> npt.NDArray[np.uint64]:
        """Return the next ``size`` 64-bit words of each environment, shape (len(ids), size)."""
        offsets: npt.NDArray[np.uint64] = np.arange(1, size + 1, dtype=np.uint64)
        steps = self.count[ids, None] + offsets
        self.count[ids] += np.uint64(size)
        return mix64(self.key[ids, None] + steps * _GOLDEN)

    def uniform(self, ids: IntArray, size: int, low: float = 0.0, high: float = 1.0) -> FloatArray:
        """Return uniform numbers in [low, high), shape (len(ids), size), with 53 random bits."""
        unit = (self.words(ids, size) >> _S11).astype(np.float64) * 2.0**-53
        return low + (high - low) * unit

    def uniform_at(
        self, ids: IntArray, places: IntArray, low: float = 0.0, high: float = 1.0
    ) -> FloatArray:
        """Return the number that comes after ``places`` others in each stream, uniform (len(ids),).

        No stream moves on, so environments that need few of the numbers of a step draw only these;
        ids may be repeated. ``skip`` then goes past all of them.
        """
        steps = self.count[ids] + places.astype(np.uint64) + np.uint64(1)
        words = mix64(self.key[ids] + steps * _GOLDEN)
        return low + (high - low) * ((words >> _S11).astype(np.float64) * 2.0**-53)

    def skip(self, ids: IntArray, size: int) -> None:
        """Leave out the next ``size`` numbers of the streams of ``ids``, without repetition."""
        self.count[ids] += np.uint64(size)

    def integers(self, ids: IntArray, size: int, high: int) -> IntArray:
        """Return integers in [0, high), shape (len(ids), size); bias below 2**-32 * high."""
        unit = self.words(ids, size) >> np.uint64(32)
        return ((unit * np.uint64(high)) >> np.uint64(32)).astype(np.int64)

    def normal(self, ids: IntArray, size: int) -> FloatArray:
        """Return standard normal numbers (Box-Muller), shape (len(ids), size)."""
        pairs = self.uniform(ids, 2 * size).reshape(len(ids), size, 2)
        # 1 - u is exact, because u is a multiple of 2**-53.
        radius = np.sqrt(-2.0 * exact_math.log(1.0 - pairs[..., 0]))
        normal: FloatArray = radius * exact_math.cos_of_turns(pairs[..., 1])
        return normal
