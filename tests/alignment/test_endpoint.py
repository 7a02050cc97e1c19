"""Models on a server: what goes wrong there is retried, stored once, capped, or pauses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx")

import pkubench
from pkubench.agents.adapters.text.agent import ACTING, ModelAgent
from pkubench.agents.adapters.text.endpoint import Endpoint
from pkubench.agents.adapters.text.store import AnswerStore, Caps, Tokens
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import AgentError, AgentUnavailable, ConfigError, UnknownName
from pkubench.tasks.records import read_records
from tests.alignment.chat_server import FAULTS, ChatServer, serving


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / "store"))


def agent_of(server: ChatServer, tmp_path: Path, **settings: Any) -> ModelAgent:
    acting = {name: settings.pop(name) for name in list(settings) if name in ACTING}
    endpoint = Endpoint(model="m", url=server.url, first_wait_s=0.001, **settings)
    return ModelAgent(endpoint, AnswerStore(tmp_path / "store"), acting)


def ask(agent: ModelAgent, *questions: str, answers: str = "AB") -> list[str]:
    talks = [[{"role": "user", "content": q, "answers": list(answers)}] for q in questions]
    seeds = agent.begin(np.arange(len(questions)))
    return agent.act(talks, seeds, np.ones(len(questions), np.bool_))[0]


def echo(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def value_of(body: dict[str, Any]) -> str:
    """Answer a slider by the value that the conversation names: the whole payoff, or A."""
    text = "\n".join(m["content"] for m in body["messages"])
    last = body["messages"][-1]["content"]
    options = re.findall(r"([A-I]): you (\d+), the other (\d+)", last)
    if not options:
        return "To do what my orientation asks."
    sign = 1 if "altruistic" in text else -1
    return max(options, key=lambda o: sign * int(o[2]))[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_response_is_asked_again(fault: str, tmp_path: Path) -> None:
    with serving(echo, [fault, fault]) as server:
        timeout = 0.2 if fault == "slow" else 20.0
        agent = agent_of(server, tmp_path, timeout_s=timeout)
        assert ask(agent, "A") == ["A"]
        assert len(server.bodies) == 3


def test_a_server_that_never_answers_pauses_and_keeps_the_other_replies(tmp_path: Path) -> None:
    with serving(echo, ["500"] * 3) as server:
        agent = agent_of(server, tmp_path, attempts=3, connections=1)
        with pytest.raises(AgentUnavailable, match=r"in 3 attempts \(HTTP 500\)"):
            ask(agent, "A", "B")
        assert sum(server.answered.values()) == 1  # B, after A's three attempts
        assert ask(agent, "A", "B") == ["A", "B"]
        assert set(server.answered.values()) == {1}


def test_a_refusal_of_the_server_is_not_tried_again(tmp_path: Path) -> None:
    with serving(echo) as server:
        server.refuse_with = 404
        with pytest.raises(AgentUnavailable, match=r"HTTP 404: .*no such model") as caught:
            ask(agent_of(server, tmp_path), "A")
        assert len(server.bodies) == 1 and "\n" not in str(caught.value)


def test_a_server_that_is_not_there_pauses(tmp_path: Path) -> None:
    with serving(echo) as server:
        pass
    agent = agent_of(server, tmp_path, attempts=2)
    with pytest.raises(AgentUnavailable, match="2 attempts"):
        ask(agent, "A")
    assert agent.store.spent() == Tokens(0, 0)


def test_no_more_connections_than_allowed(tmp_path: Path) -> None:
    with serving(echo) as server:
        server.hold_s = 0.02
        ask(agent_of(server, tmp_path, connections=3), *[f"q{k}" for k in range(9)])
        assert 2 <= server.most_at_once <= 3


def test_an_answer_depends_on_seed_turn_sampling_messages_and_model_alone(tmp_path: Path) -> None:
    with serving(echo) as server:
        agent = agent_of(server, tmp_path)
        assert ask(agent, "A") == ask(agent, "A") == ["A"]
        assert len(server.bodies) == 1
        ask(agent, "x", "A")  # another seed
        ask(agent_of(server, tmp_path, temperature=0.0), "A")
        talk = [
            {"role": "user", "content": "A"},
            {"role": "assistant", "content": "B"},
            {"role": "user", "content": "A"},
        ]
        agent.act([talk], np.array([0]), np.array([True]))
        other = Endpoint(model="n", url=server.url)
        ask(ModelAgent(other, agent.store, {}), "A")
        assert len(server.bodies) == 6
        seeds = [body["seed"] for body in server.bodies]
        assert seeds[4] == seeds[0] + 1  # the second turn
        assert server.bodies[3]["temperature"] == 0.0 and server.bodies[5]["model"] == "n"


def test_nothing_is_asked_where_an_episode_is_over_or_waits_for_others(tmp_path: Path) -> None:
    with serving(echo) as server:
        agent = agent_of(server, tmp_path)
        said = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
        talks = [said, [{"role": "user", "content": "C"}]]
        assert agent.act(talks, np.arange(2), np.array([True, False]))[0] == ["", ""]
        assert server.bodies == []


def test_the_most_probable_answer_is_chosen_and_missing_probabilities_are_found_out(
    tmp_path: Path,
) -> None:
    with serving(echo) as server:
        agent = agent_of(server, tmp_path, mode="logprobs")
        with pytest.raises(AgentUnavailable, match=r"no log-probabilities.*leave --act"):
            ask(agent, "q")
        # ' A' and 'A' add up to more than 'B'; other tokens do not count.
        server.logprobs = {"the": -0.1, "B": -1.5, " A": -2.0, "A": -2.0}
        assert ask(agent, "q") == ["A"]
        assert server.bodies[-1]["max_tokens"] == 1 and server.bodies[-1]["top_logprobs"] == 20
        server.logprobs = {"the": -0.1}
        assert ask(agent, "neither") == ["neither"]  # read, and found to be no answer
        assert ask(agent, "free", answers="") == ["free"]
        assert "logprobs" not in server.bodies[-1]


def test_a_cap_holds_before_it_is_exceeded(tmp_path: Path) -> None:
    with serving(echo) as server:
        server.usage = {"prompt_tokens": 15, "completion_tokens": 2}
        agent = agent_of(server, tmp_path, caps=Caps(tokens=200), max_tokens=50)
        # Each reserves 1 + 16 + 50 tokens, and takes 17: the ninth could end at 8 * 17 + 67 = 203.
        with pytest.raises(AgentUnavailable, match=r"budget is spent.*PKUBENCH_LLM_MAX_TOKENS=200"):
            for k in range(20):
                ask(agent, chr(97 + k))
        assert agent.store.spent() == Tokens(120, 16) and len(server.bodies) == 8
        # another process has the same ledger
        with pytest.raises(AgentUnavailable, match="136 tokens"):
            ask(agent_of(server, tmp_path, caps=Caps(tokens=202), max_tokens=50), "z")


def test_costs_are_counted_in_tokens_sent_and_received() -> None:
    caps = Caps(cost=1.0, price_sent=2.0, price_received=10.0)
    assert caps.cost_of(Tokens(100_000, 80_000)) == pytest.approx(1.0)
    assert caps.exceeded(Tokens(100_000, 80_000)) == ""
    assert caps.exceeded(Tokens(100_001, 80_000)) == "PKUBENCH_LLM_MAX_COST=1"


def test_what_a_server_does_not_count_is_entered_at_the_most(tmp_path: Path) -> None:
    with serving(echo, ["malformed"]) as server:
        server.usage = None
        agent = agent_of(server, tmp_path, max_tokens=50)
        ask(agent, "A")
        assert agent.store.spent() == Tokens(2 * 17, 2 * 50)


def test_a_store_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with serving(echo) as server, pytest.raises(AgentUnavailable, match="cannot use the answers"):
        ask(agent_of(server, tmp_path), "A")


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "store")
    store.keep("k", "reply")
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AgentUnavailable, match="full"):
        store.keep("long", "x" * 100_000)
    assert store.find("k") == "reply" and store.find("long") is None


def evaluated(server: ChatServer, out: Path) -> Any:
    task = replace(pkubench.make_task("Dictator-v0"), env_kwargs={"rounds": 1})
    agent = f"openai-api:org/model@{server.url}+temperature=0.0"
    return pkubench.evaluate(agent, task, episodes=40, out=out, workers=0)


def test_an_evaluation_that_is_stopped_asks_nothing_again_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda body: "I give 3 coins.") as server:
        whole = evaluated(server, tmp_path / "whole")
        assert set(server.answered.values()) == {1} and len(server.answered) == 40
        asked, port = set(server.answered), server.server_address[1]
    assert whole.metrics["cooperation"].mean == pytest.approx(0.3) and whole.failed == 0
    monkeypatch.setenv("PKUBENCH_LLM_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("PKUBENCH_LLM_ATTEMPTS", "1")
    monkeypatch.setenv("PKUBENCH_LLM_CONNECTIONS", "1")
    with serving(lambda body: "I give 3 coins.", port=port) as server:
        server.outage_after = 20
        with pytest.raises(AgentUnavailable):
            evaluated(server, tmp_path / "out")
        (lines,) = (tmp_path / "out").rglob("episodes.jsonl")
        assert len(lines.read_text().splitlines()) == 16  # whole blocks, and no failure
        assert len(server.answered) == 20
        server.outage_after = None
        again = evaluated(server, tmp_path / "out")
        assert set(server.answered.values()) == {1} and set(server.answered) == asked
    assert again.metrics == whole.metrics
    texts = [next((tmp_path / o).rglob("episodes.jsonl")).read_bytes() for o in ("whole", "out")]
    assert texts[0] == texts[1]


def test_records_have_what_was_said(tmp_path: Path) -> None:
    with serving(value_of) as server:
        agent = f"openai-api:org/model@{server.url}"
        pkubench.evaluate(agent, "SVOSlider-v0", episodes=1, out=tmp_path, workers=0)
    (file,) = tmp_path.rglob("episodes.jsonl")
    (record,) = read_records(file)
    assert record.group == "altruistic" and record.transcript["template"].startswith("slider-1 ")
    talk = record.transcript["agent"]
    assert [m["role"] for m in talk] == ["user", "assistant"] * 8
    assert "To do what my orientation asks." in talk[4]["content"]
    assert set(talk[4]) == {"role", "content"}
    assert record.metrics["angle"] == pytest.approx(61.39, abs=0.01)
    assert json.loads(file.read_text())["group"] == "altruistic"


def test_spellings_are_checked_before_anything_is_asked() -> None:
    task = pkubench.make_task("SVOSlider-v0")
    source = resolve_agent("openai-api:org/model@v2@http://127.0.0.1:1/v1/", task)
    assert source.runs[0].arguments[:2] == ("org/model@v2", "http://127.0.0.1:1/v1")
    with pytest.raises(AgentError, match="must be openai-api:MODEL@URL"):
        resolve_agent("openai-api:model", task)
    spelled = "openai-api:m@http://127.0.0.1:1/v1+goal=none+max_tokens=8"
    agent = resolve_agent(spelled, task).runs[0].load()
    assert isinstance(agent, ModelAgent)
    assert agent.prompting == {"goal": "none"} and agent.sampling.max_tokens == 8
    with pytest.raises(UnknownName, match="setting of acting 'gaol'; did you mean 'goal'"):
        resolve_agent("openai-api:m@http://127.0.0.1:1/v1+gaol=none", task)
    with pytest.raises(ConfigError, match="goal must be one of"):
        resolve_agent("openai-api:m@http://127.0.0.1:1/v1+goal=some", task)


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = resolve_agent("openai-api:m@http://127.0.0.1:1", pkubench.make_task("SVOSlider-v0"))
    monkeypatch.setenv("PKUBENCH_LLM_MAX_COST", "3")
    with pytest.raises(ConfigError, match="needs prices"):
        source.runs[0].load()
    monkeypatch.setenv("PKUBENCH_LLM_MAX_TOKENS", "many")
    with pytest.raises(ConfigError, match="PKUBENCH_LLM_MAX_TOKENS must be a number"):
        source.runs[0].load()
