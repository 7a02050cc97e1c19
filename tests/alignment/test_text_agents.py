"""Agents in words that are no server: a model in a folder, a person, and a disk that is full."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.adapters.text import store as store_module
from pkubench.cli.main import main
from pkubench.envs.alignment.slider import LETTERS
from pkubench.errors import AgentUnavailable
from pkubench.tasks.records import EpisodeRecord, read_records
from tests.alignment.chat_server import serving

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)


def records(out: Path) -> list[EpisodeRecord]:
    (path,) = out.rglob("episodes.jsonl")
    return read_records(path)


# hf:FOLDER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 16 numbers that knows the letters of options, and how it is asked."""
    library = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(1)
    out = tmp_path_factory.mktemp("chat")
    words = ["?", "<end>", "user", "assistant", "system", ":", *LETTERS, "you", "Coins", "1"]
    inner = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="?", eos_token="<end>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
    config = library.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        initializer_range=0.5,
        eos_token_id=1,
        bos_token_id=None,
    )
    library.LlamaForCausalLM(config).save_pretrained(out)
    return out


def test_a_model_in_a_folder_answers_what_it_finds_most_probable(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / "answers"))
    how = "+mode=logprobs+goal=none+definition=given"
    report = pkubench.evaluate(
        f"hf:{folder}{how}", "SVOSlider-v0", episodes=5, workers=0, out=tmp_path / "out"
    )
    assert report.failed == 0 and report.metrics["unanswered"].mean == 0.0
    first = records(tmp_path / "out")[0]
    talk = first.transcript["agent"]
    asked = [k for k, m in enumerate(talk) if m["role"] == "assistant"]
    assert len(asked) == 6
    # the same by hand: log-probability of the letter and of the end after it
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    for k in (asked[0], asked[-1]):
        said = "".join(f"{m['role']} : {m['content']} <end> " for m in talk[:k]) + "assistant :"
        prompt = tokenizer(said, add_special_tokens=False).input_ids
        totals = []
        for letter in LETTERS:
            tokens = [*tokenizer(letter, add_special_tokens=False).input_ids, 1]
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *tokens]])).logits[0].double()
            logs = torch.log_softmax(logits, -1)
            at = len(prompt) - 1
            totals.append(float(logs[at, tokens[0]] + logs[at + 1, tokens[1]]))
        assert talk[k]["content"] == LETTERS[int(np.argmax(totals))]

    # answered once: another evaluation asks the model nothing
    from pkubench.agents.adapters.text.local_model import LocalModel

    def ask(*_: Any) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(LocalModel, "ask", ask)
    again = pkubench.evaluate(f"hf:{folder}{how}", "SVOSlider-v0", episodes=5, workers=0)
    assert again.metrics == report.metrics


def test_a_generated_reply_depends_on_the_seed_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in range(2):
        monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / f"answers{number}"))
        spelled = f"hf:{folder}+max_tokens=4+goal=none+definition=given"
        out = tmp_path / f"out{number}"
        pkubench.evaluate(spelled, "SVOSlider-v0", episodes=2, workers=0, out=out)
        found.append([record.transcript for record in records(out)])
    assert found[0] == found[1]
    replies = [m["content"] for m in found[0][0]["agent"] if m["role"] == "assistant"]
    assert len(set(replies)) > 1, "drawn"


@pytest.mark.parametrize("wrong", ["no template", "no weights", "no folder"])
def test_a_folder_that_cannot_be_asked_is_one_line(
    wrong: str, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    bad = tmp_path / "model"
    if wrong != "no folder":
        bad.mkdir()
        for path in folder.iterdir():
            (bad / path.name).write_bytes(path.read_bytes())
        for path in bad.glob("*.jinja" if wrong == "no template" else "*.safetensors"):
            path.unlink()
    assert main(["evaluate", f"hf:{bad}", "SVOSlider-v0", "--episodes", "1"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and said.startswith(f"error: hf:{bad}")
    assert {
        "no template": "no chat template",
        "no weights": "is not a causal language model",
        "no folder": "has no config.json",
    }[wrong] in said


# human:NAME


def test_a_person_types_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # two sheets of ten rounds; "all of it" is asked again
    monkeypatch.setattr(sys, "stdin", io.StringIO("all of it\n" + "5\n" * 10 + "I give 2.\n" * 10))
    report = pkubench.evaluate("human:ada", "Dictator-v0", episodes=2, workers=0, out=tmp_path)
    assert [record.metrics["cooperation"] for record in records(tmp_path)] == [0.5, 0.2]
    assert report.metrics["retries"].mean == pytest.approx(0.05)
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("--- a new sheet ---") == 2
    assert said.err.count("> ") == 21


def test_an_input_that_ends_pauses_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("5\n" * 3))
    with pytest.raises(AgentUnavailable, match="the input has ended; the same command resumes"):
        pkubench.evaluate("human:ada", "Dictator-v0", episodes=1, workers=0, out=tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("5\n" * 10))
    found = pkubench.evaluate("human:ada", "Dictator-v0", episodes=1, workers=0, out=tmp_path)
    assert found.metrics["cooperation"].mean == 0.5 and found.failed == 0


# A full disk


def test_a_full_disk_pauses_an_evaluation_in_one_line_and_keeps_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / "answers"))
    monkeypatch.setenv("PKUBENCH_LLM_CONNECTIONS", "1")
    tables = store_module._TABLES
    long = "I give 3 coins." + " " * 3000
    out = tmp_path / "out"
    with serving(lambda body: long) as server:
        spelled = f"openai-api:org/model@{server.url}+temperature=0.0"

        def play() -> Any:
            return pkubench.evaluate(spelled, "Dictator-v0", episodes=4, workers=0, out=out)

        # SQLite's own error of a disk without room, at 16 pages of 4 kB
        monkeypatch.setattr(store_module, "_TABLES", f"{tables}PRAGMA max_page_count = 16;")
        with pytest.raises(AgentUnavailable) as stopped:
            play()
        said = str(stopped.value)
        assert "\n" not in said and "cannot use the answers in" in said and "full" in said
        assert "those stored are kept, so the same command resumes" in said
        assert 5 < len(server.answered) < 40
        monkeypatch.setattr(store_module, "_TABLES", tables)
        assert play().failed == 0
        # all but the answers that found no room were asked for once
        times = sorted(server.answered.values())
        assert len(times) == 40 and set(times) == {1, 2} and times.count(2) <= 4
    assert [r.metrics["cooperation"] for r in records(out)] == pytest.approx([0.3] * 4)
