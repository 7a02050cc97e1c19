"""Moderators: features by hand, networks that ignore padding, training, saving and resuming."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pkubench
from pkubench.agents.components import with_settings
from pkubench.agents.families.moderation import encoders
from pkubench.agents.families.moderation.encoders import EncoderFolder, encoder_folder
from pkubench.agents.families.moderation.models.base import Saved, padded
from pkubench.agents.families.moderation.models.embedding import EmbeddingModel, EmbeddingReader
from pkubench.agents.families.moderation.models.tfidf import TfidfModel, TfidfReader, terms_of
from pkubench.agents.families.moderation.models.transformer import (
    END,
    PADDING,
    SPECIAL,
    UNKNOWN,
    TransformerModel,
)
from pkubench.agents.families.moderation.networks import LinearHead, PairTransformer, WeightedTerms
from pkubench.agents.families.moderation.presets import ModerationConfig, preset
from pkubench.agents.families.moderation.training import ModerationTraining, texts_read
from pkubench.agents.families.moderation.words import from_json, to_json, vocabulary, words_of
from pkubench.agents.learner import Context
from pkubench.agents.registry import presets
from pkubench.agents.suitability import why_not
from pkubench.envs.core.labelled_texts import to_observations
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, MissingExtra, WeightsError
from pkubench.evaluation.statistics.detection import auroc
from pkubench.tasks.registry import make_task
from tests.alignment.pairs_file import small_task

TEXTS = [("red box", "open the red box"), ("red cat", "no"), ("red box", "red red red")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("moderators")


# Words and readers


def test_a_vocabulary_is_of_the_most_frequent_terms() -> None:
    documents = [["b", "a", "b"], ["a", "c"], ["a", "b"], ["d"]]
    assert vocabulary(documents, 9, 1) == ["a", "b", "c", "d"]
    assert vocabulary(documents, 9, 2) == ["a", "b"] and vocabulary(documents, 1, 1) == ["a"]
    assert from_json(to_json(["é", "\ud800"])) == ["é", "\ud800"]
    with pytest.raises(ValueError, match="not a list of texts"):
        from_json(b'["a", 1]')


def test_words_keep_their_inner_signs() -> None:
    assert words_of("Don't SELF-harm, ß_x!") == ["don't", "self-harm", "ss", "x"]


def test_tfidf_by_hand() -> None:
    reader = TfidfModel(min_documents=1, longest=1).fit(TEXTS, None)
    assert isinstance(reader, TfidfReader)
    places, weights = reader([("red box", "red red red")])
    found = {reader.terms[p - 1]: w for p, w in zip(places[0], weights[0], strict=True) if p}
    idf = {"0 red": math.log(4 / 4) + 1, "0 box": math.log(4 / 3) + 1, "1 red": math.log(4 / 3) + 1}
    raw = {**idf, "1 red": (1 + math.log(3)) * idf["1 red"]}
    length = math.sqrt(sum(value**2 for value in raw.values()))
    assert found == pytest.approx({term: value / length for term, value in raw.items()})
    places, weights = reader([("unseen", "words"), ("red", "no")])
    assert places[0].tolist() == [0, 0] and weights[0].tolist() == [0.0, 0.0]


def test_terms_of_both_texts_are_apart() -> None:
    assert terms_of(["a b", "b a"], 2) == ["0 a", "0 b", "0 a b", "1 b", "1 a", "1 b a"]
    reader = TfidfModel(min_documents=2, longest=2).fit(TEXTS, None)
    assert isinstance(reader, TfidfReader)
    assert reader.terms == ["0 red", "0 box", "0 red box", "1 red"]


def test_tokens_by_hand() -> None:
    model = TransformerModel(min_documents=1, text_words=3)
    reader = model.fit(TEXTS, None)
    known: Any = reader
    assert known.words[:2] == ["red", "box"]
    tokens, positions, parts = reader([("red zebra", "box red red red"), ("red", "")])
    red, box = SPECIAL, SPECIAL + 1
    assert tokens.tolist() == [
        [red, UNKNOWN, END, box, red, red, END],
        [red, END, END, PADDING, PADDING, PADDING, PADDING],
    ]
    assert positions[0].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert parts[0].tolist() == [0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("model", [TfidfModel(min_documents=1), TransformerModel(min_documents=1)])
def test_a_reader_survives_saving(model: Any) -> None:
    reader = model.fit(TEXTS, None)
    described = json.loads(json.dumps(dict(reader.described())))
    again = model.restore(Saved(described, reader.files()))
    for first, second in zip(reader(TEXTS), again(TEXTS), strict=True):
        np.testing.assert_array_equal(first, second)
    with pytest.raises(ConfigError, match="encoder has no effect here"):
        model.fit(TEXTS, EncoderFolder(Path("."), ""))


def test_controls_see_one_text() -> None:
    assert texts_read(["a"], ["b"], "pair") == [("a", "b")]
    assert texts_read(["a"], ["b"], "prompt") == [("a",)]
    assert texts_read(["a"], ["b"], "response") == [("b",)]
    assert padded([[], []], np.int64).shape == (2, 1)


# Networks


def test_weighted_terms_are_a_linear_model() -> None:
    net = WeightedTerms(3, 2)
    with torch.no_grad():
        net.table.weight[1:] = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        net.bias[:] = torch.tensor([0.5, -0.5])
    found = net(torch.tensor([[1, 3, 0], [2, 0, 0]]), torch.tensor([[0.5, 2.0, 9.0], [1.0, 0, 0]]))
    assert found.tolist() == [[0.5 + 10 + 0.5, 1 + 12 - 0.5], [3.5, 3.5]]


def make_transformer() -> PairTransformer:
    generator = torch.Generator().manual_seed(0)
    net = PairTransformer(
        tokens=9, positions=6, labels=3, width=8, layers=2, heads=2, generator=generator
    )
    return net.double().eval()


def test_padding_changes_nothing() -> None:
    net = make_transformer()
    rows = [[4, 5, END, 6, END], [4, END, 7, 8, 5, 3, END]]
    parts = [[0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1]]
    places = [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2, 3, 4]]
    batch = [torch.from_numpy(padded(of, np.int64)) for of in (rows, places, parts)]
    together = net(*batch)
    for k in range(2):
        alone = net(*(torch.tensor([of[k]]) for of in (rows, places, parts)))
        torch.testing.assert_close(alone[0], together[k], rtol=0, atol=1e-12)
    wider = [torch.nn.functional.pad(of, (0, 3)) for of in batch]
    torch.testing.assert_close(net(*wider), together, rtol=0, atol=1e-12)


def test_the_transformer_reads_order_part_and_every_word() -> None:
    net = make_transformer()
    tokens = torch.tensor([[4, 5, END, 6, END]])
    places, parts = torch.tensor([[0, 1, 2, 0, 1]]), torch.tensor([[0, 0, 0, 1, 1]])
    plain = net(tokens, places, parts)
    for k in (0, 1, 3):
        other = tokens.clone()
        other[0, k] = 8
        assert (net(other, places, parts) - plain).abs().max() > 1e-6
    assert (net(tokens, places.flip(1), parts) - plain).abs().max() > 1e-6
    assert (net(tokens, places, 1 - parts) - plain).abs().max() > 1e-6


def test_every_tensor_is_made_where_the_texts_are() -> None:
    net = make_transformer()
    row = torch.tensor([[4, 5, END]])
    expected = net(row, torch.arange(3)[None], torch.zeros_like(row))
    places, parts = torch.arange(3)[None], torch.zeros_like(row)
    with torch.device("meta"):  # what names no device is now made on another one
        assert torch.equal(net(row, places, parts), expected)


def test_initial_weights_are_the_seeds() -> None:
    first, second = make_transformer(), make_transformer()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


# Training


def learner(task: Any, name: str, total: int = 20, seed: int = 3, **settings: str) -> Any:
    config = with_settings(preset(name, task), settings)
    return ModerationTraining(
        Context(agent=name, task=task, settings=config, seed=seed, total=total)
    )


SMALL = {"model.width": "16", "model.layers": "1", "model.heads": "2"}


@pytest.mark.parametrize(
    ("name", "settings"), [("tfidf-moderator", {}), ("transformer-moderator", SMALL)]
)
def test_resuming_gives_the_same_bits(folder: Path, name: str, settings: Any) -> None:
    task = small_task(folder)
    whole, half = (learner(task, name, **settings, updates="5") for _ in range(2))
    for _ in range(4):
        whole.iterate()
    half.iterate(), half.iterate()
    other = learner(task, name, **settings, updates="5")
    other.load_state(half.state())
    other.iterate(), other.iterate()
    assert other.counters == whole.counters and whole.counters.gradient_steps == 20
    for key, value in whole.export().tensors.items():
        np.testing.assert_array_equal(value, other.export().tensors[key])
    with pytest.raises(WeightsError, match="does not fit this run"):
        other.load_state({"network": {}})


def test_the_first_loss_is_ln_2_and_its_gradient_is_the_labels(folder: Path) -> None:
    task = small_task(folder)
    made = learner(task, "tfidf-moderator", total=1, updates="1", batch_size="8", lr="1e-6")
    rows = np.random.default_rng([3, 0]).integers(0, len(made.labels), 8)
    assert made.iterate()["loss"] == pytest.approx(math.log(2), abs=1e-6)
    # Adam's first step moves each bias against the sign of mean(sigmoid(0) - label)
    gradient = 0.5 - made.labels[torch.from_numpy(rows)].mean(0).numpy()
    moved = made.network.bias.detach().numpy()
    assert (np.sign(moved) == -np.sign(gradient)).all()


def test_a_saved_moderator_gives_the_learners_probabilities(folder: Path, tmp_path: Path) -> None:
    task = small_task(folder)
    for name, settings in (("tfidf-moderator", {}), ("transformer-moderator", SMALL)):
        done = pkubench.train(
            name, task, steps=30, seed=1, out=tmp_path / name, validate=2, validation_episodes=2,
            settings={**settings, "updates": 10},
        )  # fmt: skip
        assert done.steps == 30
        config = json.loads((done.folder / "config.json").read_text())
        assert config["kind"] == "moderation" and config["labels"][3].startswith("discr")
        env: Any = make_batch(task.id, 1, **task.env_kwargs).unwrapped
        assert config["data_sha256"] == env.data.sha256
        assert len(config["validation"]["points"]) == 2
        known = env.labelled_texts()
        agent: Any = pkubench.load_agent(str(done.folder), task)
        shown = to_observations(known.prompts[:5], known.responses[:5])
        found, _ = agent.act(shown, agent.begin(np.arange(5)), np.ones(5, dtype=bool))
        assert found.shape == (5, 14) and found.dtype == np.float32
        alone, _ = agent.act(shown[3:4], None, np.ones(1, dtype=bool))
        np.testing.assert_array_equal(alone[0], found[3])
        again = learner(task, name, total=30, seed=1, **settings, updates="10")
        for _ in range(3):
            again.iterate()
        texts = texts_read(known.prompts[:5], known.responses[:5], "pair")
        with torch.no_grad():
            wanted = torch.sigmoid(
                again.network(*(torch.from_numpy(array) for array in again.reader(texts)))
            )
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_a_damaged_moderator_is_refused(folder: Path, tmp_path: Path) -> None:
    task = small_task(folder)
    done = pkubench.train("tfidf-moderator", task, steps=5, out=tmp_path / "run", validate=0)
    path = done.folder / "config.json"
    whole = json.loads(path.read_text())
    for key in ("labels", "reader", "settings"):
        path.write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
        with pytest.raises(WeightsError, match="incomplete"):
            pkubench.load_agent(str(done.folder), task)
    path.write_text(json.dumps({**whole, "labels": whole["labels"][:3]}))
    with pytest.raises(AgentError, match="probabilities of 3 labels"):
        pkubench.load_agent(str(done.folder), task)
    path.write_text(json.dumps({**whole, "labels": whole["labels"][::-1]}))
    with pytest.raises(AgentError, match="labels are others than those of"):
        pkubench.load_agent(str(done.folder), task)


def test_who_trains_on_what() -> None:
    moderation, slider = make_task("QAModeration-v0"), make_task("SVOSlider-v0")
    assert why_not(presets()["tfidf-moderator"], moderation) == ""
    assert why_not(presets()["tfidf-moderator"], slider) == (
        "it judges pairs of texts, and this shows none"
    )
    with pytest.raises(ConfigError, match="needs a language model that embeds texts: --input"):
        learner(moderation, "embedding-moderator")


def scores(made: ModerationTraining, task: Any, split: str) -> tuple[Any, Any]:
    env: Any = make_batch(task.id, 1, **task.env_kwargs).unwrapped
    rows = env.data.of(split)
    texts = texts_read(
        [env.data.prompts[k] for k in rows], [env.data.responses[k] for k in rows],
        made.config.reads,
    )  # fmt: skip
    arrays = [torch.from_numpy(array) for array in made.reader(texts)]
    with torch.no_grad():
        parts = [
            made.network(*(array[k : k + 250] for array in arrays))
            for k in range(0, len(rows), 250)
        ]
    return torch.cat(parts).max(1).values.double().numpy(), env.data.unsafe[rows]


def test_tfidf_learns_what_words_say_and_the_prompt_says_nothing() -> None:
    task = make_task("QAModeration-v0")
    made = learner(task, "tfidf-moderator", total=1000, updates="1000")
    made.iterate()
    found = auroc(*scores(made, task, "test"))
    assert 0.85 <= found < 0.93
    blind = learner(task, "tfidf-moderator-prompt", total=50)
    blind.iterate()
    assert auroc(*scores(blind, task, "validation")) == 0.5


@pytest.mark.slow
def test_the_transformer_reads_both_texts_together() -> None:
    task = make_task("QAModeration-v0")
    made = learner(task, "transformer-moderator", total=preset("transformer-moderator", None)
                   .gradient_steps, seed=1001)  # fmt: skip
    while made.counters.gradient_steps < made.total:
        made.iterate()
    # 4 % of the labels are noise, so that nothing has more than 0.96 but by luck
    assert 0.92 <= auroc(*scores(made, task, "test")) < 0.98


# Embeddings of a language model


def embed(texts: Any) -> Any:
    return np.array([[len(text), text.count("a"), 1.0] for text in texts], dtype=np.float32)


def test_features_of_embeddings() -> None:
    reader = EmbeddingReader(embed, EncoderFolder(Path("x"), "00"), 2)
    (found,) = reader([("aa", "b")])
    assert reader.features == 12
    assert found[0].tolist() == [2, 2, 1, 1, 0, 1, 1, 2, 0, 2, 0, 1]
    (single,) = EmbeddingReader(embed, EncoderFolder(Path("x"), "00"), 1)([("aa",)])
    assert single[0].tolist() == [2, 2, 1]


def test_features_are_standardised_by_the_training_set() -> None:
    net = LinearHead(2, 1)
    net.standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    with torch.no_grad():
        net.linear.weight[:] = 1.0
    scale = 2**0.5
    found = net(torch.tensor([[4.0, 5.0]]))
    assert float(found) == pytest.approx(2 / scale)


def test_an_embedding_moderator_remembers_its_encoder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    with pytest.raises(AgentError, match=r"it has no config\.json"):
        encoder_folder(model)
    (model / "config.json").write_text("{}")
    before = encoder_folder(model).sha256
    (model / "model.safetensors").write_bytes(b"weights")
    assert encoder_folder(model).sha256 != before

    class Fake:
        def __init__(self, folder: EncoderFolder, max_tokens: int) -> None:
            assert max_tokens == 256

        def __call__(self, texts: Any) -> Any:
            return embed(texts)

    from pkubench.agents.families.moderation.models import embedding

    monkeypatch.setattr(embedding, "Encoder", Fake)
    task = small_task(folder)
    done = pkubench.train(
        "embedding-moderator", task, steps=5, out=tmp_path / "run", validate=0,
        inputs={"encoder": model},
    )  # fmt: skip
    agent: Any = pkubench.load_agent(str(done.folder), task)
    shown = to_observations(["aa"], ["b"])
    assert agent.act(shown, None, np.ones(1, dtype=bool))[0].shape == (1, 14)
    (model / "model.safetensors").write_bytes(b"others")
    with pytest.raises(AgentError, match="is not the language model that this agent was trained"):
        pkubench.load_agent(str(done.folder), task)


def test_transformers_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="llm"):
        encoders.Encoder(EncoderFolder(tmp_path, ""), 8)


def test_settings_are_checked() -> None:
    assert isinstance(preset("tfidf-moderator", None), ModerationConfig)
    for name, value in (("lr", 0.0), ("batch_size", 0), ("warmup_steps", -1)):
        with pytest.raises(ConfigError, match=name):
            replace(preset("tfidf-moderator", None), **{name: value})
    with pytest.raises(ConfigError, match="heads must divide"):
        TransformerModel(width=10, heads=3)
    assert EmbeddingModel().max_tokens == 256
