"""Language models over a small vocabulary: a trunk of features, and heads for words and for scores.

``log pi(y | x)`` is a sum over the words of y; a score and a value are linear in the features. The
trunk is the house's causal transformer, or one of the transformers library
(``transformers_models``), which has the same three methods.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pkubench.agents.nn.transformer import Transformer, TransformerSpec
from pkubench.agents.settings import check_domains
from pkubench.errors import WeightsError


class TrunkSpec(Protocol):
    """Description of a trunk."""

    @property
    def tokens(self) -> int:
        """Size of the vocabulary that it reads."""
        ...

    @property
    def width(self) -> int:
        """E, of its features."""
        ...

    def build(self, generator: torch.Generator) -> Trunk:
        """Return it with initial weights."""
        ...

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        ...


class Trunk(Protocol):
    """From tokens to features; each position depends on those up to it. An ``nn.Module``."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map (B, L) int64 to (B, L, E)."""
        ...

    def extend(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Map the tokens (B, n) after those in ``cache`` (None: none) to the last one's (B, E)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSpec:
    """The house's transformer with learned positions."""

    tokens: int
    context: int
    """Tokens at most."""
    transformer: TransformerSpec

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("tokens", "context"))

    @property
    def width(self) -> int:
        """E, of its features."""
        return self.transformer.width

    def build(self, generator: torch.Generator) -> Trunk:
        """Return it with initial weights."""
        return OwnTrunk(self, generator)

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return {"kind": "own", **asdict(self)}


class OwnTrunk(nn.Module):
    """Embedded tokens and positions through the causal transformer (GPT-2's initial weights)."""

    def __init__(self, spec: OwnSpec, generator: torch.Generator) -> None:
        """Build and initialise from ``generator`` alone."""
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.tokens, spec.width)
        self.place = nn.Embedding(spec.context, spec.width)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=0.02, generator=generator)
        self.transformer = Transformer(spec.transformer, generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, L) to features (B, L, E)."""
        return self.transformer(self._embedded(tokens, 0))  # type: ignore[no-any-return]

    def extend(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Return the features (B, E) of the last of some more tokens, and the cache with them."""
        cache = self.transformer.cache() if cache is None else cache
        x = self._embedded(tokens, cache.length)
        last = slice(tokens.shape[1] - 1, None)
        return self.transformer.extend(x, cache, wanted=last)[:, 0], cache

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        return self.embed(tokens) + self.place(places)  # type: ignore[no-any-return]


def spec_of(config: Any) -> TrunkSpec:
    """Read what ``as_config`` of a description returned.

    Raises:
        WeightsError: it describes no trunk.
        MissingExtra: it is a model of the transformers library, which is not installed.
    """
    try:
        given = dict(config)
        kind = given.pop("kind")
        if kind == "own":
            return OwnSpec(**{**given, "transformer": TransformerSpec(**given["transformer"])})
        if kind == "transformers":
            from pkubench.agents.rl.language.transformers_models import LibrarySpec

            return LibrarySpec(**given)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"config.json describes no language model: {error}") from error
    raise WeightsError(f"config.json describes a language model of unknown kind {kind!r}")


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A trunk and the number of outputs of a linear head on it."""

    trunk: TrunkSpec
    outputs: int


class Headed(nn.Module):
    """A linear head on a trunk: logits of words, one score, or one value."""

    def __init__(self, spec: HeadSpec, generator: torch.Generator) -> None:
        """Build from ``generator`` alone: weights from N(0, 0.02), biases 0."""
        super().__init__()
        self.spec = spec
        self.trunk: Any = spec.trunk.build(generator)
        self.head = nn.Linear(spec.trunk.width, spec.outputs)
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, L) tokens to (B, L, outputs)."""
        return self.head(self.trunk(tokens))  # type: ignore[no-any-return]

    def take_trunk(self, other: Headed) -> None:
        """Copy the trunk of a model of the same trunk."""
        self.trunk.load_state_dict(other.trunk.state_dict())


class LanguageModel(Headed):
    """Log-probabilities of words."""

    def log_probs(self, tokens: Tensor, length: int) -> Tensor:
        """Return log pi of each of the last ``length`` tokens, (B, length), given those before."""
        return self.distributions(tokens[:, :-1], length).gather(2, tokens[:, -length:, None])[
            ..., 0
        ]

    def distributions(self, tokens: Tensor, length: int) -> Tensor:
        """Return the log-probabilities (B, length, words) of what follows the last positions."""
        logits = self.head(self.trunk(tokens)[:, -length:])
        return logits.log_softmax(-1)  # type: ignore[no-any-return]

    def respond(
        self, prompts: Tensor, length: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw responses to prompts (B, P).

        Returns:
            Prompts and responses, (B, P + length), and log pi of each word, (B, length).
        """
        tokens, cache, new, found = prompts, None, prompts, []
        for _ in range(length):
            features, cache = self.trunk.extend(new, cache)
            log_probs = self.head(features).log_softmax(-1)
            new = torch.multinomial(log_probs.exp(), 1, generator=generator)
            found.append(log_probs.gather(1, new))
            tokens = torch.cat([tokens, new], 1)
        return tokens, torch.cat(found, 1)


class ScoreModel(Headed):
    """One number for a whole response: a reward or a cost, read at its last token."""

    def scores(self, tokens: Tensor) -> Tensor:
        """Return (B,) scores of prompts and responses (B, L)."""
        return self.head(self.trunk(tokens)[:, -1])[:, 0]  # type: ignore[no-any-return]

    def values(self, tokens: Tensor, length: int) -> Tensor:
        """Return (B, length): a value before each of the last ``length`` tokens."""
        return self.head(self.trunk(tokens[:, :-1])[:, -length:])[..., 0]  # type: ignore[no-any-return]
