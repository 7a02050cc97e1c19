"""Causal language models of the transformers library by path, on one that is built here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pkubench
from pkubench.agents.rl.language.tables import policy_table
from pkubench.agents.rl.language.training import read_model
from pkubench.agents.saved.files import load_saved
from pkubench.envs.alignment.toy_language import TOY
from pkubench.errors import AgentError, ConfigError, MissingExtra
from pkubench.tasks.registry import make_task

IS_INSTALLED = importlib.util.find_spec("transformers") is not None
TASK = make_task("ToyLanguage-v0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 16 numbers and a tokenizer in which topics have two tokens."""
    library = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("llama")
    texts = dict.fromkeys(word for token in TOY.tokens for word in token.split())
    words = {word: k for k, word in enumerate(["?", *texts])}
    inner = Tokenizer(models.WordLevel(words, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="?").save_pretrained(out)
    config = library.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    library.LlamaForCausalLM(config).save_pretrained(out)
    return out


def test_a_model_starts_from_its_rows_for_the_words(folder: Path) -> None:
    library = pytest.importorskip("transformers")
    from pkubench.agents.rl.language.transformers_models import read_folder

    model: Any = read_folder(folder, TOY)
    whole = library.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.encode(word) for word in TOY.tokens[: TOY.words]]
    tokens = torch.tensor([[0, 3, 2, 2, 5]])
    with torch.no_grad():
        logits = whole(torch.tensor([[ids[k][0] for k in tokens[0]]])).logits[0, -1]
        ours = model(tokens)[0, -1]
    assert ours.numpy() == pytest.approx(logits[[of[0] for of in ids]].numpy(), abs=1e-5)
    topic = tokenizer.encode("topic 3")
    assert len(topic) == 2
    rows = whole.get_input_embeddings().weight.detach()
    assert torch.allclose(model.trunk.embed.weight[9], rows[topic].mean(0))
    with torch.no_grad():
        tokens, logs = model.respond(torch.tensor([[9, 14]] * 8), 4, torch.Generator())
        assert torch.allclose(logs, model.log_probs(tokens, 4), atol=1e-5)


def test_a_pipeline_trains_it_and_its_agent_loads_without_the_folder(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    settings = {"sft_iterations": "2", "model_iterations": "2", "batch_size": "16"}
    copy = copy_of(folder, tmp_path / "model")
    pkubench.train(
        "safe-rlhf", TASK, steps=2, seed=0, out=tmp_path / "run", validate=0,
        settings={**settings, "scores": "learned"}, inputs={"model": copy},
    )  # fmt: skip
    for path in copy.iterdir():
        path.unlink()
    saved = load_saved(tmp_path / "run")
    assert saved.config["model"]["trunk"]["config"]["model_type"] == "llama"
    assert not any("embed_tokens" in name and value.shape[0] > 1 for name, value in
                   saved.tensors.items())  # fmt: skip
    table = policy_table(read_model(saved, TOY, "policy"), TOY)
    agent: Any = pkubench.load_agent(tmp_path / "run")
    start = TOY.observed(np.arange(16), np.zeros((16, 4), np.int64), np.zeros(16, np.int64))
    first = table.reshape(16, 6, 216).sum(axis=2)
    assert agent.action_probabilities(start) == pytest.approx(first, abs=1e-4)


def test_a_folder_without_a_model_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no model of the transformers library \(no conf"):
        train_on(tmp_path / "empty", tmp_path / "a")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="holds no causal language model that loads"):
        train_on(bare, tmp_path / "b")


def copy_of(folder: Path, out: Path) -> Path:
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def with_code(folder: Path, out: Path) -> tuple[Path, Path]:
    """Return a folder whose own Python writes a file when it is imported, and that file."""
    made, mark = copy_of(folder, out), out.parent / "ran"
    (made / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: pass\n")
    config = json.loads((made / "config.json").read_text())
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
    changed = {"model_type": "own", "auto_map": {kind: "own.Own" for kind in kinds}}
    (made / "config.json").write_text(json.dumps(config | changed))
    return made, mark


def test_code_in_a_folder_is_not_run_and_nobody_is_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from pkubench.agents.adapters.text.local_model import LocalModel
    from pkubench.agents.families.moderation.encoders import Encoder, encoder_folder
    from pkubench.agents.rl.language.transformers_models import read_folder

    made, mark = with_code(folder, tmp_path / "own")
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(str(text)) or "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(ConfigError, match="holds no causal language model that loads"):
        read_folder(made, TOY)
    with pytest.raises(AgentError, match="is not a model that embeds texts"):
        Encoder(encoder_folder(made), 8)
    with pytest.raises(AgentError, match="is not a causal language model"):
        LocalModel(made, "")
    assert not asked and not mark.exists()


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from safetensors.torch import load_file

    from pkubench.agents.rl.language.transformers_models import read_folder

    made = copy_of(folder, tmp_path / "pickled")
    torch.save(load_file(made / "model.safetensors"), made / "pytorch_model.bin")
    (made / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no causal language model that loads: .*safetensors"):
        read_folder(made, TOY)


def test_a_folder_without_all_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    from pkubench.agents.rl.language.transformers_models import _copy_blocks, read_folder

    made = copy_of(folder, tmp_path / "cut")
    tensors = load_file(made / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks the weights 'model.layers.1.mlp.up_proj.weight'"):
        read_folder(made, TOY)
    blocks, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False)
    with pytest.raises(ConfigError, match=r"the weights 'bias' of .* do not fit"):
        _copy_blocks(blocks, other, torch.zeros(1), made)


def train_on(model: Path, out: Path) -> None:
    pkubench.train("sft", TASK, steps=1, seed=0, out=out, validate=0, inputs={"model": model})


@pytest.mark.skipif(IS_INSTALLED, reason="the library is installed")
def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingExtra, match="llm"):
        train_on(tmp_path, tmp_path / "a")
