"""What a model says of every response of a language: the tables that exact figures come from."""

from __future__ import annotations

import numpy as np
import torch

from pkubench.agents.contract import FloatArray, IntArray
from pkubench.agents.rl.language.models import LanguageModel, ScoreModel
from pkubench.envs.core.language import Language


def policy_table(model: LanguageModel, language: Language) -> FloatArray:
    """Return the probabilities (prompts, N) of all responses."""
    words, length = language.words, language.length
    # the last word changes fastest, so every ``words``-th response begins with another prefix
    prefixes = language.responses[::words, :-1]
    found = []
    for prompt in language.prompts:
        tokens = _with_prompt(model, prompt, prefixes)
        with torch.no_grad():
            logs = model.distributions(tokens, length).double().cpu().numpy()
        before = np.take_along_axis(logs[:, :-1], prefixes[:, :, None], axis=2)[..., 0].sum(axis=1)
        found.append(np.exp(before[:, None] + logs[:, -1]).reshape(-1))
    return np.stack(found)


def score_table(model: ScoreModel, language: Language) -> FloatArray:
    """Return the scores (prompts, N) of all responses."""
    found = []
    for prompt in language.prompts:
        tokens = _with_prompt(model, prompt, language.responses)
        with torch.no_grad():
            found.append(model.scores(tokens).double().cpu().numpy())
    return np.stack(found)


def _with_prompt(model: torch.nn.Module, prompt: IntArray, words: IntArray) -> torch.Tensor:
    whole = np.concatenate([np.tile(prompt, (len(words), 1)), words], axis=1)
    return torch.from_numpy(whole).to(next(model.parameters()).device)
