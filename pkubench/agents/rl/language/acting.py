"""Acting with a saved language model, one word a step, in double precision on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pkubench.agents.contract import BoolArray, FloatArray, IntArray
from pkubench.agents.nn.torch_policy import one_thread
from pkubench.agents.rl.language.models import LanguageModel
from pkubench.envs.core.language import Language
from pkubench.envs.core.seeding import RandomStreams


class LanguagePolicy:
    """An Agent that writes. Its log-probabilities are rounded to single precision."""

    def __init__(self, model: LanguageModel, language: Language, stochastic: bool) -> None:
        """Take over ``model`` and widen it to double precision."""
        self.model, self.language = model.double().eval(), language
        self.stochastic = stochastic

    def begin(self, seeds: IntArray) -> RandomStreams | None:
        """Start a random stream for each episode, if words are drawn."""
        return RandomStreams.started(seeds) if self.stochastic else None

    def act(
        self, observation: Any, state: RandomStreams | None, active: BoolArray
    ) -> tuple[IntArray, RandomStreams | None]:
        """Return the next words (episodes,)."""
        chances = self.action_probabilities(observation)
        if state is None:
            return chances.argmax(axis=1), None
        draws = state.uniform(np.flatnonzero(active), 1)[:, 0]
        shares = chances[active].cumsum(axis=1)
        words = np.zeros(len(active), dtype=np.int64)
        words[active] = (shares < draws[:, None] * shares[:, -1:]).sum(axis=1)
        return words, state

    def action_probabilities(self, observation: Any, action_mask: Any = None) -> FloatArray:
        """Return the probabilities (episodes, words) of the next word."""
        tokens, written = self.language.read(np.asarray(observation))
        places = np.minimum(written, self.language.length - 1)
        with one_thread(), torch.no_grad():
            inputs = torch.from_numpy(tokens[:, :-1])
            logs = self.model.distributions(inputs, self.language.length).numpy()
        here = logs[np.arange(len(tokens)), places].astype(np.float32).astype(np.float64)
        chances = np.exp(here)
        shares: FloatArray = chances / chances.sum(axis=1, keepdims=True)
        return shares
