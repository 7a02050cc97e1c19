"""The contract covers agents with memory, populations, central teams and conversation agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkubench.agents.contract import CentralisedTeam, Team
from pkubench.errors import AgentError
from pkubench.evaluation.run.harness import evaluate
from pkubench.tasks.records import EPISODES
from tests.agents.contract_agents import (
    Doubling,
    Remembering,
    SeeingAll,
    kuhn_population,
    task_on,
)


def test_an_agent_with_memory_receives_its_own_state_back() -> None:
    report = evaluate(Remembering(), task_on("Recall", "RecallEnv"), workers=0)
    assert (report.score, report.failed) == (6.0, 0)


def test_a_central_team_sees_all_and_a_decentral_one_does_not() -> None:
    task = task_on("Sum", "SumEnv")
    assert isinstance(SeeingAll(), CentralisedTeam)
    report = evaluate(SeeingAll(), task, workers=0)
    assert report.score == 12.0
    alone = evaluate(Team({"left": Remembering(), "right": Remembering()}), task, workers=0)
    assert alone.score is not None and alone.score < 6.0


def test_an_agent_that_reads_and_writes_text(tmp_path: Path) -> None:
    task = task_on("Doubling", "TextEnv")
    for workers in (0, 2):
        report = evaluate(Doubling(), task, workers=workers, out=tmp_path / str(workers))
        assert (report.score, report.failed) == (6.0, 0)
    assert len({path.read_bytes() for path in tmp_path.rglob(EPISODES)}) == 1


def test_a_population_is_scored_through_its_meta_strategy() -> None:
    report = evaluate(kuhn_population(), "KuhnPoker-v0", workers=0)
    assert report.score == pytest.approx(0.0, abs=1e-12)
    # Player 1 bluffing and calling twice as often loses what a best response takes from it.
    greedy = evaluate(kuhn_population(2.0), "KuhnPoker-v0", workers=0)
    assert greedy.score is not None and greedy.score > 0.01


def test_a_population_does_not_play_episodes() -> None:
    with pytest.raises(AgentError, match="game tasks"):
        evaluate(kuhn_population(), "SimpleSpread-v0", workers=0)


class WrongText(Doubling):
    def act(self, observation, state, active):  # type: ignore[no-untyped-def]
        answers, state = super().act(observation, state, active)
        answers[2] = 7
        return answers, state


def test_an_answer_that_is_not_text_fails_only_its_episode() -> None:
    report = evaluate(WrongText(), task_on("Doubling", "TextEnv"), workers=0)
    assert report.failures == {"wrong-dtype: agent gave int, not a text": 2}
