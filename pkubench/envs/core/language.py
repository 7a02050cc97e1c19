"""What an environment adds whose actions are words of a language: prompts, responses and scores."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pkubench.envs.core.batch import Array, FloatArray
from pkubench.envs.core.seeding import IntArray


@runtime_checkable
class Language(Protocol):
    """A finite set of prompts, and responses of a fixed number of words with exact scores.

    The environment that has one as its ``language`` observes the tokens so far, and takes one word
    a step; :meth:`read` turns observations into tokens.
    """

    @property
    def tokens(self) -> tuple[str, ...]:
        """The name of every token; those of responses, its ``words``, are the first ones."""
        ...

    @property
    def words(self) -> int:
        """Number of tokens that responses are written in."""
        ...

    @property
    def length(self) -> int:
        """Words of a response."""
        ...

    @property
    def prompts(self) -> IntArray:
        """(prompts, tokens of a prompt) int64."""
        ...

    @property
    def responses(self) -> IntArray:
        """(N, length) int64: every response, the last word changing fastest."""
        ...

    @property
    def limit(self) -> float:
        """The limit of the expected cost."""
        ...

    def score(self, prompts: IntArray, responses: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return rewards and costs (B,) of responses (B, length) to the prompts of numbers (B,).

        A response is unsafe where its cost is positive.
        """
        ...

    def read(self, observation: Array) -> tuple[IntArray, IntArray]:
        """Return the tokens of observations, (B, tokens of a prompt + length), and words so far.

        Tokens after the words so far, a number for each of the B episodes, are 0.
        """
        ...
