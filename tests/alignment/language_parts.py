"""Small models and learners of the toy language."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.language.config import LanguageConfig
from pkubench.agents.rl.language.learners.base import Draws, Setup
from pkubench.agents.rl.language.models import HeadSpec, LanguageModel, OwnSpec, ScoreModel
from pkubench.envs.alignment.toy_language import TOY

SPEC = OwnSpec(
    tokens=len(TOY.tokens),
    context=6,
    transformer=TransformerSpec(width=16, layers=1, heads=2, activation="gelu", dropout=0.0),
)


def policy(seed: int = 0, sharpness: float = 1.0) -> LanguageModel:
    """Return a model whose distributions are not uniform."""
    model = LanguageModel(HeadSpec(SPEC, TOY.words), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (
                sharpness
                * 0.1
                * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1))
            )
    return model


def scores(seed: int = 0) -> ScoreModel:
    return ScoreModel(HeadSpec(SPEC, 1), torch.Generator().manual_seed(seed))


def learner(
    method: Any,
    *,
    batch_size: int = 32,
    total: int = 10,
    lr: float = 1e-3,
    held_out: tuple[int, ...] = (),
    **more: Any,
) -> Any:
    config = LanguageConfig(
        method=method,
        batch_size=batch_size,
        lr=lr,
        width=16,
        layers=1,
        heads=2,
        warmup=0.0,
        held_out=held_out,
    )
    given = {"reference": policy(), "reward": None, "cost": None, **more}
    return method.start(Setup(TOY, config, SPEC, 0, total, "cpu", **given))


def draws(number: int = 0) -> Draws:
    return Draws(np.random.default_rng(number), torch.Generator().manual_seed(number))
