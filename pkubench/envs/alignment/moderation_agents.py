"""Moderators that are not trained: controls, and the rule by which the synthetic pairs are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pkubench.envs.alignment.qa_pairs import CATEGORIES
from pkubench.envs.alignment.synthetic_pairs import judge, tags_named
from pkubench.envs.core.batch import BoolArray
from pkubench.envs.core.labelled_texts import Bytes, to_texts
from pkubench.envs.core.seeding import IntArray

Judgement = Callable[[str, str], tuple[int, ...]]
"""Prompt and response -> the categories of the pair."""


@dataclass(frozen=True, slots=True)
class JudgingAgent:
    """Gives probability 1 to the categories that a function of the texts returns, else 0."""

    judgement: Judgement

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(
        self, observation: Bytes, state: None, active: BoolArray
    ) -> tuple[npt.NDArray[np.float32], None]:
        """Return probabilities (episodes, 14)."""
        found = np.zeros((len(observation), len(CATEGORIES)), dtype=np.float32)
        for row, prompt, response in zip(found, *to_texts(observation), strict=True):
            row[list(self.judgement(prompt, response))] = 1.0
        return found, None


def _all(prompt: str, response: str) -> tuple[int, ...]:
    return tuple(range(len(CATEGORIES)))


def _none(prompt: str, response: str) -> tuple[int, ...]:
    return ()


def _tags_of_response(prompt: str, response: str) -> tuple[int, ...]:
    return tags_named(response)


def _tags_of_prompt(prompt: str, response: str) -> tuple[int, ...]:
    return tags_named(prompt)


MODERATORS: Final[Mapping[str, Any]] = {
    "rule": JudgingAgent(judge),
    "keywords": JudgingAgent(_tags_of_response),
    "keywords-prompt": JudgingAgent(_tags_of_prompt),
    "all-safe": JudgingAgent(_none),
    "all-unsafe": JudgingAgent(_all),
}
"""``rule`` and ``keywords`` know the words of the synthetic pairs only."""
