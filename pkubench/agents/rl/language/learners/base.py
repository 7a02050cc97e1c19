"""What the learner of every method has: models, optimisers, scored responses, and its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pkubench.agents.contract import BoolArray, FloatArray, IntArray
from pkubench.agents.rl.language.config import LanguageConfig
from pkubench.agents.rl.language.models import (
    Headed,
    HeadSpec,
    LanguageModel,
    ScoreModel,
    TrunkSpec,
)
from pkubench.agents.rl.optimiser import (
    Optimiser,
    adamw,
    constant,
    cosine,
    decayed_weights,
    warmed_up,
)
from pkubench.agents.rl.trained import Trained
from pkubench.envs.core.language import Language
from pkubench.errors import ConfigError

BETAS = (0.9, 0.95)
"""Of Adam, in the official scripts of Safe RLHF."""
FEW = 4096
"""Sequences that are computed at once without gradients."""


class Setup(NamedTuple):
    """What a method's learner is made from."""

    language: Language
    config: LanguageConfig
    trunk: TrunkSpec
    """Of new models."""
    seed: int
    """Of initial weights."""
    total: int
    """Iterations of the whole training, for schedules."""
    device: str
    reference: LanguageModel | None
    """The model that training starts from and is referenced to."""
    reward: ScoreModel | None
    """Learned rewards; None: those of the language."""
    cost: ScoreModel | None
    """Learned costs; None: those of the language."""


class Draws(NamedTuple):
    """The sources of randomness of one update."""

    numpy: np.random.Generator
    torch: torch.Generator


class Responses(NamedTuple):
    """B responses and the prompts that they answer."""

    prompts: IntArray
    """(B,) numbers of prompts."""
    tokens: Tensor
    """(B, tokens of a prompt + length)."""


class Pairs(NamedTuple):
    """Pairs of responses to the same prompts, ordered by preference."""

    better: Responses
    worse: Responses


class MethodLearner(Trained, ABC):
    """Models and their update; the session's side is ``training.py``."""

    def __init__(self, setup: Setup) -> None:
        """Take what all methods share."""
        self.setup, self.language, self.config = setup, setup.language, setup.config
        self.generator = torch.Generator().manual_seed(setup.seed)
        """Source of the initial weights."""
        self.modules = {}
        """What is trained; ``net`` is exported."""
        self.optimisers = {}
        self._prompts = torch.from_numpy(self.language.prompts).to(setup.device)
        everything = np.arange(len(self.language.prompts))
        if not set(self.config.held_out) < set(everything.tolist()):
            raise ConfigError(
                f"held_out must leave some of the prompts 0 to {len(everything) - 1}, got "
                f"{list(self.config.held_out)}"
            )
        self._trained_on = np.setdiff1d(everything, np.array(self.config.held_out, dtype=np.int64))

    @abstractmethod
    def update(self, draws: Draws) -> dict[str, float]:
        """Draw a batch and update the models; return figures for the curve."""

    @property
    def tokens_per_update(self) -> int:
        """Words of responses that an update trains on."""
        return self.config.batch_size * self.language.length

    # Models

    def new_policy(self) -> LanguageModel:
        """Return a copy of the reference, or a new model where there is none."""
        reference = self.setup.reference
        spec = HeadSpec(self.trunk, self.language.words)
        made = LanguageModel(spec, self.generator).to(self.setup.device)
        if reference is not None:
            made.load_state_dict(reference.state_dict())
        return made

    def new_scores(self) -> ScoreModel:
        """Return a new score model on the reference's trunk, if there is one."""
        made = ScoreModel(HeadSpec(self.trunk, 1), self.generator).to(self.setup.device)
        if self.setup.reference is not None:
            made.take_trunk(self.setup.reference)
        return made

    @property
    def trunk(self) -> TrunkSpec:
        """Description of the trunks of new models."""
        reference = self.setup.reference
        return self.setup.trunk if reference is None else reference.spec.trunk

    def reference(self) -> LanguageModel:
        """Return the reference.

        Raises:
            ConfigError: there is none.
        """
        if self.setup.reference is None:
            raise ConfigError(
                "this method starts from a language model: give its run folder "
                "(--input reference=PATH), such as one that `sft` has trained"
            )
        return self.setup.reference

    def optimiser(
        self,
        module: Headed,
        lr: float,
        weight_decay: float,
        *,
        steps: int = 1,
        decays: bool = True,
    ) -> Optimiser:
        """Return AdamW with a warm-up, whose rate falls to 0 if it ``decays``.

        As in the official scripts, biases and norms have no weight decay. ``steps`` are those of
        an update.
        """
        total = self.setup.total * steps
        rise = warmed_up(int(self.config.warmup * total))
        fall = cosine(total) if decays else constant
        return Optimiser(
            adamw(lr, weight_decay, BETAS),
            decayed_weights(module),
            schedule=lambda step: rise(step) * fall(step),
            max_grad_norm=self.config.max_grad_norm,
        )

    # Responses

    def prompts(self, draws: Draws, count: int) -> IntArray:
        """Return the numbers of prompts (count,) in random order, each as often as others.

        None of those that are held out.
        """
        total = len(self._trained_on)
        first = draws.numpy.integers(total)
        places = draws.numpy.permutation((first + np.arange(count)) % total)
        found: IntArray = self._trained_on[places]
        return found

    def responses(self, draws: Draws, prompts: IntArray, uniform: float) -> Responses:
        """Draw responses: a share of ``uniform`` ones, the others from the reference.

        Which ones is drawn, so that the two responses of a pair may be of one kind or of both.

        Raises:
            ConfigError: there is no reference to draw the others from.
        """
        count = len(prompts)
        if self.setup.reference is None and uniform < 1.0:
            raise ConfigError(
                f"a share {1.0 - uniform:g} of the responses is drawn from a language model: give "
                "its run folder (--input reference=PATH), or uniform=1"
            )
        words = draws.numpy.integers(0, self.language.words, (count, self.language.length))
        begun = self._prompts[torch.from_numpy(prompts)]
        tokens = torch.cat([begun, torch.from_numpy(words).to(begun.device)], 1)
        written = draws.numpy.permutation(count)[: count - round(uniform * count)]
        if len(written) and self.setup.reference is not None:
            rows = torch.from_numpy(written).to(begun.device)
            with torch.no_grad():
                tokens[rows], _ = self.setup.reference.respond(
                    begun[rows], self.language.length, draws.torch
                )
        return Responses(prompts, tokens)

    def rewards(self, of: Responses) -> FloatArray:
        """Return rewards (B,): the language's, or learned ones."""
        return self._scores(self.setup.reward, of, 0)

    def costs(self, of: Responses) -> FloatArray:
        """Return costs (B,): the language's, or learned ones."""
        return self._scores(self.setup.cost, of, 1)

    def _scores(self, model: ScoreModel | None, of: Responses, which: int) -> FloatArray:
        if model is not None:
            with torch.no_grad():
                parts = [model.scores(part) for part in torch.split(of.tokens, FEW)]
            return torch.cat(parts).double().cpu().numpy()
        words = of.tokens[:, -self.language.length :].cpu().numpy()
        return np.asarray(self.language.score(of.prompts, words)[which])


def ordered(of: Responses, other: Responses, is_first: BoolArray) -> Pairs:
    """Return pairs with the first response as the better one where ``is_first`` (B,) is True."""
    first = torch.from_numpy(is_first)[:, None].to(of.tokens.device)
    return Pairs(
        Responses(of.prompts, torch.where(first, of.tokens, other.tokens)),
        Responses(of.prompts, torch.where(first, other.tokens, of.tokens)),
    )


def bradley_terry(draws: Draws, scores: Any, others: Any) -> BoolArray:
    """Draw whether the first responses are preferred: with probability sigma(score - other)."""
    chance = 1.0 / (1.0 + np.exp(np.asarray(others) - np.asarray(scores)))
    found: BoolArray = draws.numpy.random(len(chance)) < chance
    return found
