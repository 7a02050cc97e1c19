"""Causal language models of the transformers library, by the path of their folder.

A model keeps its blocks; its vocabulary becomes the language's. The embedding of each token and the
head's row of each word start as the means of the library's rows for the token's text, so a model
that knows the words starts from what it knows. No code that comes with a model is run, and weights
are read from safetensors only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pkubench.agents.nn.pretrained import DATA_ONLY, WEIGHTS
from pkubench.agents.rl.language.models import HeadSpec, LanguageModel, Trunk
from pkubench.agents.settings import check_domains
from pkubench.envs.core.language import Language
from pkubench.errors import ConfigError, MissingExtra


@dataclass(frozen=True, slots=True, kw_only=True)
class LibrarySpec:
    """Description of a trunk: the library's configuration without its vocabulary."""

    tokens: int
    width: int
    config: Mapping[str, Any]
    """As the library's ``to_dict`` returns it."""

    def __post_init__(self) -> None:
        """Check the domains."""
        check_domains(self, at_least_one=("tokens", "width"))

    def build(self, generator: torch.Generator) -> Trunk:
        """Return it with the library's initial weights, from torch's global generator."""
        return LibraryTrunk(self)

    def as_config(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return {
            "kind": "transformers",
            "tokens": self.tokens,
            "width": self.width,
            "config": dict(self.config),
        }


class LibraryTrunk(nn.Module):
    """The blocks of a library's model on embeddings of our tokens. It has no dropout."""

    def __init__(self, spec: LibrarySpec) -> None:
        """Build."""
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.tokens, spec.width)
        library = _library()
        given = {key: value for key, value in spec.config.items() if key != "model_type"}
        config = library.AutoConfig.for_model(spec.config["model_type"], **given)
        self.blocks = library.AutoModel.from_config(config)
        self.eval()

    def train(self, mode: bool = True) -> LibraryTrunk:
        """Stay in evaluation mode: ratios of probabilities must not depend on dropped weights."""
        super().train(False)
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, L) to features (B, L, E)."""
        found = self.blocks(inputs_embeds=self.embed(tokens), use_cache=False)
        return found.last_hidden_state  # type: ignore[no-any-return]

    def extend(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Return the features (B, E) of the last of some more tokens, and the cache with them."""
        found = self.blocks(inputs_embeds=self.embed(tokens), past_key_values=cache, use_cache=True)
        return found.last_hidden_state[:, -1], found.past_key_values


def read_folder(folder: Path, language: Language) -> LanguageModel:
    """Return the model in a folder that the library's ``save_pretrained`` wrote, for a language.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the folder holds no causal language model with a tokenizer, or not all of its
            weights.
    """
    library = _library()
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} holds no model of the transformers library (no config.json)")
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(folder, **DATA_ONLY)
        whole, found = library.AutoModelForCausalLM.from_pretrained(
            folder, **WEIGHTS, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # the library and its readers raise many types
        text = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{folder} holds no causal language model that loads: {text}") from error
    if found["missing_keys"]:
        raise ConfigError(f"{folder} lacks the weights {min(found['missing_keys'])!r}")
    ids = [tokenizer.encode(f" {token}", add_special_tokens=False) for token in language.tokens]
    if not all(ids):
        missing = language.tokens[[bool(of) for of in ids].index(False)]
        raise ConfigError(f"the tokenizer of {folder} has no token for {missing!r}")
    if whole.get_output_embeddings() is None:
        raise ConfigError(f"the model in {folder} has no head for words")
    inputs = whole.get_input_embeddings().weight.detach()
    outputs = whole.get_output_embeddings().weight.detach()
    # rows of the library's vocabulary are not needed, and would be most of a small model
    config = {**whole.config.to_dict(), "vocab_size": 1, "pad_token_id": None}
    spec = LibrarySpec(tokens=len(ids), width=int(inputs.shape[1]), config=_plain(config))
    model = LanguageModel(HeadSpec(spec, language.words), torch.Generator())
    with torch.no_grad():
        _copy_blocks(model.trunk.blocks, whole.base_model, inputs, folder)
        model.trunk.embed.weight.copy_(torch.stack([inputs[of].mean(0) for of in ids]))
        words = ids[: language.words]
        model.head.weight.copy_(torch.stack([outputs[of].mean(0) for of in words]))
    return model


def _copy_blocks(blocks: nn.Module, whole: nn.Module, inputs: Tensor, folder: Path) -> None:
    """Copy every weight but the embedding ``inputs`` of the library's vocabulary.

    Raises:
        ConfigError: a block would keep the weights that it was initialised with.
    """
    state = whole.state_dict()
    vocabulary = {name for name, of in state.items() if of.data_ptr() == inputs.data_ptr()}
    kept = {name: of for name, of in state.items() if name not in vocabulary}
    missing, unexpected = blocks.load_state_dict(kept, strict=False)
    if wrong := sorted({*missing, *unexpected} - vocabulary):
        raise ConfigError(f"the weights {wrong[0]!r} of {folder} do not fit its configuration")


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that JSON has; the others are the library's own bookkeeping."""
    simple = (bool, int, float, str, list, dict, type(None))
    return {key: value for key, value in config.items() if isinstance(value, simple)}


def _library() -> Any:
    """Return the library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", "models of the transformers library") from error
    return transformers
