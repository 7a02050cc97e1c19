"""Frozen language models that embed texts: a folder in the format of transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pkubench.agents.nn.pretrained import DATA_ONLY, WEIGHTS
from pkubench.errors import AgentError, MissingExtra, StorageError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

FloatArray = npt.NDArray[np.float32]
BATCH = 64
"""Texts that are embedded at once; of similar length, so that padding is short."""
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


class EncoderFolder(NamedTuple):
    """A folder, and the SHA-256 of its files and their names."""

    path: Path
    sha256: str


def read_encoder(path: str, task: Task) -> EncoderFolder:
    """Return the folder that a user named.

    Raises:
        AgentError: it is not the folder of a model.
        StorageError: a file of it cannot be read.
    """
    return encoder_folder(Path(path))


def encoder_folder(path: Path) -> EncoderFolder:
    """Return a folder with its hash.

    Raises:
        AgentError: it is not the folder of a model.
        StorageError: a file of it cannot be read.
    """
    if not (path / "config.json").is_file():
        raise AgentError(f"{path} is not the folder of a model: it has no config.json")
    digest = hashlib.sha256()
    try:
        for file in sorted({file for pattern in _FILES for file in path.glob(pattern)}):
            digest.update(file.name.encode())
            with file.open("rb") as data:
                digest.update(hashlib.file_digest(data, "sha256").digest())
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return EncoderFolder(path.absolute(), digest.hexdigest())


class Encoder:
    """Embeds texts as the mean of a model's last hidden states, of length 1."""

    def __init__(self, folder: EncoderFolder, max_tokens: int) -> None:
        """Load the model; no code in the folder is run, and weights are read from safetensors only.

        Args:
            folder: Of the model and its tokenizer.
            max_tokens: First tokens of a text that are read.

        Raises:
            MissingExtra: transformers is not installed.
            AgentError: the folder holds no model with a tokenizer, or one with a decoder besides.
        """
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise MissingExtra("llm", "embedding texts") from None
        self._torch: Any = torch
        self.folder, self.max_tokens = folder, max_tokens
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder.path, **DATA_ONLY)
            self._model: Any = AutoModel.from_pretrained(folder.path, **WEIGHTS)
            self.width = int(self._model.config.hidden_size)
        except Exception as error:  # the library and its readers raise many types
            reason = " ".join(str(error).split())[:200]
            raise AgentError(f"{folder.path} is not a model that embeds texts: {reason}") from error
        if self._model.config.is_encoder_decoder:
            raise AgentError(f"{folder.path} is an encoder with a decoder, which embeds no texts")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model.eval()

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Return embeddings (n, width)."""
        found = np.zeros((len(texts), self.width), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        with self._torch.inference_mode():
            for first in range(0, len(order), BATCH):
                of = order[first : first + BATCH]
                inputs = self._tokenizer(
                    [texts[k] or " " for k in of],
                    padding=True,
                    truncation=True,
                    max_length=self.max_tokens,
                    return_tensors="pt",
                )
                states = self._model(**inputs).last_hidden_state
                is_token = inputs["attention_mask"][..., None].to(states.dtype)
                mean = (states * is_token).sum(1) / is_token.sum(1).clamp_min(1.0)
                length = mean.norm(dim=1, keepdim=True).clamp_min(1e-12)
                found[of] = (mean / length).float().numpy()
        return found
