"""Embeddings of a frozen language model, and a linear model of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pkubench.agents.components import register
from pkubench.agents.families.moderation.encoders import Encoder, EncoderFolder, encoder_folder
from pkubench.agents.families.moderation.models.base import (
    Array,
    Reader,
    Saved,
    TextModel,
    Texts,
)
from pkubench.agents.settings import check_domains
from pkubench.errors import AgentError, ConfigError

if TYPE_CHECKING:
    import torch


@register("embedding")
@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingModel(TextModel):
    """A linear model of the embeddings u, v of both texts, |u - v| and u v (SentEval's features).

    The language model is not trained and not saved: a saved agent names its folder and its hash.
    """

    max_tokens: int = 256
    """First tokens of each text that are read."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("max_tokens",))

    def fit(self, texts: Texts, encoder: EncoderFolder | None) -> Reader:
        """Return the reader of the model in the folder.

        Raises:
            ConfigError: no folder is given.
            AgentError, MissingExtra: it cannot be loaded.
        """
        if encoder is None:
            raise ConfigError(
                "model=embedding needs a language model that embeds texts: --input encoder=FOLDER"
            )
        return EmbeddingReader(Encoder(encoder, self.max_tokens), encoder, len(texts[0]))

    def restore(self, saved: Saved) -> Reader:
        """Return the reader of the folder that was trained with.

        Raises:
            AgentError: it is not there any more, or holds something else.
        """
        path, texts = Path(str(saved.described["encoder"])), int(saved.described["texts"])
        folder = encoder_folder(path)
        if folder.sha256 != saved.described["sha256"]:
            raise AgentError(f"{path} is not the language model that this agent was trained with")
        return EmbeddingReader(Encoder(folder, self.max_tokens), folder, texts)

    def network(self, reader: Reader, labels: int, generator: torch.Generator) -> torch.nn.Module:
        """Return the linear model."""
        from pkubench.agents.families.moderation.networks import LinearHead

        assert isinstance(reader, EmbeddingReader)
        return LinearHead(reader.features, labels)


class EmbeddingReader:
    """Features of the embeddings of one or two texts."""

    def __init__(
        self, embed: Callable[[Sequence[str]], Array], folder: EncoderFolder, texts: int
    ) -> None:
        """Read ``texts`` texts of a pair with ``embed``, which maps n texts to (n, width)."""
        self.embed, self.folder, self.texts = embed, folder, texts
        width = int(embed(["a"]).shape[1])
        self.features = width * (4 if texts == 2 else 1)

    def __call__(self, texts: Texts) -> tuple[Array, ...]:
        """Return features (n, width) of one text, and (n, 4 width) of two, float32."""
        parts = [self.embed([pair[k] for pair in texts]) for k in range(self.texts)]
        if len(parts) == 2:
            u, v = parts
            parts = [u, v, np.abs(u - v), u * v]
        return (np.concatenate(parts, axis=1).astype(np.float32),)

    def files(self) -> Mapping[str, bytes]:
        """Return nothing: the language model stays where it is."""
        return {}

    def described(self) -> Mapping[str, Any]:
        """Return the folder, its hash, and how many texts of a pair are read."""
        return {
            "encoder": str(self.folder.path),
            "sha256": self.folder.sha256,
            "texts": self.texts,
        }
