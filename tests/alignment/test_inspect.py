"""inspect-ai: our tasks in it, its models as agents, and scores that it can attach to a log."""

from __future__ import annotations

import importlib
import json
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import pkubench
from pkubench.agents.adapters.text.inspect_model import load, resolve
from pkubench.errors import AgentError, AgentUnavailable, ConfigError, MissingExtra
from pkubench.evaluation.inspect_scores import score_of, write_scores
from pkubench.tasks.records import EpisodeRecord, parse_record
from pkubench.tasks.registry import make_task, tasks


def record(number: int, **changes: Any) -> EpisodeRecord:
    entries: dict[str, Any] = {
        "episode": number, "seed": 1, "return_": 0.5, "length": 6, "metrics": {"vr_cc": 0.25},
        "group": "altruistic",
    }  # fmt: skip
    return EpisodeRecord(**{**entries, **changes})


def test_scores_for_a_log(tmp_path: Path) -> None:
    task = make_task("SVOSlider-v0")
    failed = record(1, return_=None, metrics={}, failure="raised: no")
    other = record(2, metrics={})
    path = tmp_path / "scores.jsonl"
    assert write_scores([record(0), failed, other], task, path) == 2
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["id"], first["value"]) == (0, 0.25)
    assert (second["id"], second["value"]) == (2, 0.5)  # the metric is of episodes together
    assert parse_record(first["metadata"]["record"], "here") == record(0)
    assert score_of(failed, task)["explanation"] == "raised: no"


# Its models as agents


class Output:
    def __init__(self, completion: str, error: str | None = None) -> None:
        self.completion, self.error = completion, error


class Message:
    def __init__(self, content: str) -> None:
        self.content = content


@pytest.fixture
def inspect_like(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """A stand-in with the names that the adapter uses, where inspect-ai is not installed."""
    asked: list[Any] = []

    class Model:
        async def generate(self, messages: Any, config: Any) -> Output:
            asked.append(([(type(m).__name__, m.content) for m in messages], config))
            if "down" in self.name:
                raise OSError("no\nroute")
            if "limited" in self.name:
                return Output("", "too many\nrequests")
            return Output("B")

        def __init__(self, name: str) -> None:
            self.name = name

    def get_model(name: str) -> Model:
        if name.startswith("nobody"):
            raise ValueError("unknown provider\nnobody")
        return Model(name)

    model = types.ModuleType("inspect_ai.model")
    model.get_model = get_model  # type: ignore[attr-defined]
    model.GenerateConfig = dict  # type: ignore[attr-defined]
    for role in ("System", "User", "Assistant"):
        kind = type(role, (Message,), {})
        setattr(model, f"ChatMessage{role}", kind)
    package = types.ModuleType("inspect_ai")
    package.model = model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "inspect_ai", package)
    monkeypatch.setitem(sys.modules, "inspect_ai.model", model)
    monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / "cache"))
    return asked


def test_a_model_of_inspect_plays(inspect_like: list[Any]) -> None:
    agent = load("mock/model", {"goal": "none", "temperature": 0.5})
    report = pkubench.evaluate(agent, "SVOSlider-v0", episodes=5, workers=0)
    assert report.failed == 0 and report.metrics["unanswered"].mean == 0.0
    messages, config = inspect_like[-1]
    assert [kind for kind, _ in messages][:2] == ["User", "Assistant"]
    assert config["temperature"] == 0.5 and config["max_tokens"] == 256 and config["seed"] >= 0
    count = len(inspect_like)
    again = load("mock/model", {"goal": "none", "temperature": 0.5})
    assert pkubench.evaluate(again, "SVOSlider-v0", episodes=5, workers=0).score == report.score
    assert len(inspect_like) == count, "what was answered is not asked again"


def test_errors_are_one_line(inspect_like: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentUnavailable, match="inspect:down/x does not answer: OSError: no route"):
        pkubench.evaluate(load("down/x", {}), "SVOSlider-v0", episodes=5, workers=0)
    for _ in range(2):  # the second time too: what failed is not kept as a reply
        with pytest.raises(AgentUnavailable, match="limited/x does not answer: OSError: too many"):
            pkubench.evaluate(load("limited/x", {}), "SVOSlider-v0", episodes=5, workers=0)
    with pytest.raises(AgentError, match="cannot be used: ValueError: unknown provider nobody"):
        load("nobody/x", {})
    with pytest.raises(ConfigError, match="use mode=text"):
        load("mock/model", {"mode": "logprobs"})
    with pytest.raises(AgentError, match="must be inspect:PROVIDER/MODEL"):
        resolve("gpt", None, False)
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(MissingExtra, match="inspect"):
        load("mock/model", {})


# Our tasks in it: where it is installed


def test_the_entry_point_has_the_prefix_of_our_tasks() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert (
        '[project.entry-points.inspect_ai]\npkubench = "pkubench.evaluation.inspect_tasks"' in text
    )


def run(name: str, folder: Path, reply: str, **arguments: Any) -> Any:
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def answer(messages: Any, tools: Any, choice: Any, config: Any) -> Any:
        if reply == "down":
            raise OSError("no route")
        output = ModelOutput.from_content("mockllm/model", reply)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    (log,) = evaluate(
        name, model=model, task_args=arguments, log_dir=str(folder), log_format="json",
        display="none",
    )  # fmt: skip
    return log


def test_tasks_run_in_inspect(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai.solver")
    from inspect_ai import score
    from inspect_ai.scorer import precomputed_scores

    if not any(e.name == "pkubench" for e in metadata.entry_points(group="inspect_ai")):
        importlib.import_module("pkubench.evaluation.inspect_tasks")
    log = run("pkubench/svo", tmp_path, "A", episodes=10, goal="none")
    assert log.status == "success"

    from tests.alignment.test_text_view import Speaker

    ours = pkubench.evaluate(
        Speaker(lambda talk: "A", goal="none"), "SVOSlider-v0", episodes=10, workers=0,
        out=tmp_path / "ours", name="speaker",
    )  # fmt: skip
    figures = {name: m.value for s in log.results.scores for name, m in s.metrics.items()}
    for name, value in ours.metrics.items():
        assert figures[name] == pytest.approx(value.mean), name
    assert [sample.id for sample in log.samples] == list(range(10))
    assert sum(m.role == "assistant" for m in log.samples[0].messages) == 7

    task = make_task("SVOSlider-v0")
    (lines,) = (tmp_path / "ours").rglob("episodes.jsonl")
    records = [parse_record(line, "here") for line in lines.read_text().splitlines()]
    write_scores(records, task, tmp_path / "scores.jsonl")
    attached = score(log, precomputed_scores(str(tmp_path / "scores.jsonl")), action="append")
    assert [s.scores["precomputed_scores"].value for s in attached.samples] == [
        r.metrics.get("vr_cc", r.return_) for r in records
    ]


def test_an_outage_is_an_error_of_the_sample(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai.solver")
    log = run("pkubench/dictator", tmp_path, "down", episodes=1)
    assert log.status == "error" and "does not answer" in log.error.message


def test_a_second_epoch_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai.solver")
    log = run("pkubench/dictator", tmp_path, "5", episodes=1)
    assert log.status == "success"
    from inspect_ai import eval as evaluate

    (log,) = evaluate(
        "pkubench/dictator", model="mockllm/model", task_args={"episodes": 1}, epochs=2,
        log_dir=str(tmp_path), log_format="json", display="none",
    )  # fmt: skip
    assert log.status == "error" and "epochs=1" in log.error.message


def test_every_task_in_words_is_there() -> None:
    pytest.importorskip("inspect_ai.solver")
    from pkubench.evaluation.inspect_tasks import inspect_name

    names = {inspect_name(task) for task in tasks() if task.suite == "alignment"}
    assert names >= {"svo", "moderation", "prisoners_dilemma", "stag_hunt", "dictator"}
    assert inspect_name(make_task("KuhnPoker-v0")) == "kuhn_poker"
