"""Agents that go wrong: the episode fails with a named reason, and all others continue."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import AgentError
from pkubench.evaluation.report import ranking_key
from pkubench.evaluation.run.actions import ActionCheck, ActionFault
from pkubench.evaluation.run.execution import Limits
from pkubench.evaluation.run.harness import evaluate
from pkubench.tasks.records import EPISODES, EpisodeRecord, read_records
from tests.evaluation.actors import Faulty, FaultyBox, Honest, HonestBox
from tests.evaluation.counting import COST, RETURN, counting_task

INDEX = 3
ROOT = Path(__file__).parents[2]
TIMEOUT = "timeout: the agent did not answer within its time limit"


def records_of(out: Path) -> list[EpisodeRecord]:
    (path,) = out.rglob(EPISODES)
    return read_records(path)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeRecord]:
    out = tmp_path_factory.mktemp("honest")
    evaluate(Honest(), counting_task(), workers=0, out=out)
    return records_of(out)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raising", "agent-error: agent: ValueError: object at 0x..."),
        ("speechless", "agent-error: agent: Speechless"),
        ("exiting", "agent-error: agent: SystemExit: enough"),
        ("shape", "wrong-shape: agent gave (16,) minus one"),
        ("dtype", "wrong-dtype: agent gave float64, wanted an integer"),
        ("words", "wrong-dtype: agent gave <U3, wanted an integer"),
        ("ragged", "wrong-shape: agent gave no array"),
        ("alone", "wrong-shape: act of agent must return (actions, state), got ndarray"),
        pytest.param(
            "dying", "crashed: the agent's process ended with exit code 7", marks=pytest.mark.slow
        ),
        ("killed", "crashed: the agent's process was ended by SIGKILL"),
    ],
)
def test_a_fault_of_the_batch_fails_its_active_episodes(
    fault: str, reason: str, truth: list[EpisodeRecord], tmp_path: Path
) -> None:
    workers = 1 if fault in ("dying", "killed") else 0
    report = evaluate(Faulty(fault), counting_task(), workers=workers, out=tmp_path)
    for record, honest in zip(records_of(tmp_path), truth, strict=True):
        if honest.length <= 3:  # over before the fault
            assert record == honest
        else:
            assert record.failure is not None
            assert record.length == 3 and record.return_ is None and not record.returns
            if fault == "shape":
                assert record.failure.startswith("wrong-shape: agent gave (")
            else:
                assert record.failure.startswith(reason)
                assert "\n" not in record.failure
    assert report.failed == sum(r.length > 3 for r in truth) == sum(report.failures.values())
    assert report.score is None and report.normalised is None
    assert report.metrics["return"].mean is None, "no mean over the episodes that were survived"


@pytest.mark.parametrize("fault", [pytest.param("hanging", marks=pytest.mark.slow), "deaf"])
def test_a_hanging_agent_is_stopped_and_its_finished_episodes_are_kept(
    fault: str, truth: list[EpisodeRecord], tmp_path: Path
) -> None:
    started = time.monotonic()
    task = counting_task()
    limits = Limits(act=0.3)
    report = evaluate(Faulty(fault), task, episodes=16, workers=1, out=tmp_path, limits=limits)
    assert time.monotonic() - started < 20
    records = records_of(tmp_path)
    for record, honest in zip(records, truth, strict=False):
        if honest.length <= 3:
            assert record == honest
        else:
            assert record.failure == TIMEOUT and record.length == 3
    assert report.failures == {TIMEOUT: report.failed}
    assert report.failed == sum(r.length > 3 for r in truth[:16])


class Answering(Honest):
    """Gives an object whose conversion runs code of its own."""

    def __init__(self, convert: Any) -> None:
        self.convert = convert

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        convert = self.convert

        class Answer:
            def __array__(self, *args: Any, **kwargs: Any) -> Any:
                return convert()

        return Answer(), state


def _leave() -> Any:
    sys.exit("enough")


@pytest.mark.parametrize(
    ("convert", "reason"),
    [
        (lambda: time.sleep(20), TIMEOUT),
        (_leave, "agent-error: agent: SystemExit: enough"),
        (lambda: 1 // 0, "wrong-shape: agent gave no array (ZeroDivisionError: integer division"),
    ],
)
def test_turning_an_answer_into_an_array_is_the_agents_time_and_fault(
    convert: Any, reason: str
) -> None:
    limits = Limits(act=0.3)
    began = time.monotonic()
    task = counting_task(episodes=1)
    report = evaluate(Answering(convert), task, workers=0, limits=limits)
    ((found, count),) = report.failures.items()
    assert found.startswith(reason) and count == 1
    assert time.monotonic() - began < 5


class Unanswered(Exception):
    """Never says why."""

    def __str__(self) -> str:
        time.sleep(20)
        return ""


class Colourful(Honest):
    """Fails with a text of terminal codes, or with none within the time."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("\x1b[2J\ud800 gone\u202e\nmore"), r"ValueError: \x1b[2J\ud800 gone\u202e"),
        (ValueError("\x1b" * 10_000), None),
        (Unanswered(), "Unanswered"),
    ],
)
def test_what_an_agent_says_when_it_fails_is_printable_short_and_in_time(
    error: Exception, reason: str | None
) -> None:
    began = time.monotonic()
    report = evaluate(
        Colourful(error), counting_task(episodes=1), workers=0, limits=Limits(act=0.3)
    )
    (found,) = report.failures
    assert found.isprintable() and len(found) < 300
    assert time.monotonic() - began < 5
    assert reason is None or found == f"agent-error: agent: {reason}"


def test_texts_are_taken_as_plain_texts_and_their_length_is_asked_for_by_taking_them() -> None:
    class Loud(str):
        def __str__(self) -> str:
            raise RuntimeError("loud")

    class Lengthless(list[str]):
        def __len__(self) -> int:
            raise RuntimeError("no length")

    check = ActionCheck("agent", spaces.Text(10), 2)
    active = np.array([True, True])
    texts, faults = check(check.to_array([Loud("a"), 3]), active, None)
    assert [type(text) for text in texts] == [str, str] and list(texts) == ["a", ""]
    assert faults == {1: "wrong-dtype: agent gave int, not a text"}
    with pytest.raises(RuntimeError, match="no length"):  # under the clock, so the agent's fault
        check.to_array(Lengthless())
    for wrong in (["a"], "ab", 3, ["a", "b", "c"]):
        with pytest.raises(ActionFault):
            check.to_array(wrong)


def test_a_hang_in_this_process_is_interrupted_too() -> None:
    report = evaluate(
        Faulty("hanging"), counting_task(), episodes=8, workers=0, limits=Limits(act=0.2)
    )
    assert 0 < report.failed <= 8
    assert set(report.failures) == {TIMEOUT}


@pytest.mark.parametrize(
    ("fault", "settings", "reason"),
    [
        ("outside", {}, "out-of-range: agent chose -1 of Discrete(3)"),
        ("masked", {"masked": True}, "illegal-action: agent chose 0, which is masked"),
        ("nan", {"continuous": True}, "not-finite: agent gave NaN or infinity"),
        ("vast", {"continuous": True}, "out-of-range: agent gave numbers too large to be squared"),
    ],
)
def test_a_fault_of_one_lane_fails_one_episode_of_its_block(
    fault: str, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    task = counting_task(**settings)
    is_box = "continuous" in settings
    bad = FaultyBox(fault, INDEX) if is_box else Faulty(fault, INDEX)
    if fault == "masked":
        bad = OnlyLane()
    evaluate(bad, task, workers=0, out=tmp_path / "bad", episodes=16)
    good = HonestBox() if is_box else OnlyLane(-1) if fault == "masked" else Honest()
    evaluate(good, task, workers=0, out=tmp_path / "good", episodes=16)
    pairs = zip(records_of(tmp_path / "bad"), records_of(tmp_path / "good"), strict=True)
    different = {b.episode: b for b, g in pairs if b != g}
    assert set(different) == {INDEX}
    assert different[INDEX].failure == reason and different[INDEX].length == 3


class OnlyLane(Honest):
    """Always plays 1, and in its fourth step 0 (which is masked) in one environment."""

    def __init__(self, index: int = INDEX) -> None:
        self.index = index

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        actions = np.ones(len(active), np.int64)
        if self.index >= 0 and state[0] == 3:
            actions[self.index] = 0
        return actions, state + 1


def test_what_inactive_lanes_answer_does_not_matter(tmp_path: Path) -> None:
    class Wild(Honest):
        def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
            actions, state = super().act(observation, state, active)
            return np.where(active, actions, -(10**9)), state

    for name, agent in (("wild", Wild()), ("honest", Honest())):
        evaluate(agent, counting_task(), workers=0, out=tmp_path / name, name="same")
    assert records_of(tmp_path / "wild") == records_of(tmp_path / "honest")


def test_a_crash_leaves_the_other_blocks_alone(tmp_path: Path) -> None:
    report = evaluate(DiesInSecondBlock(), counting_task(), workers=2, out=tmp_path)
    records = records_of(tmp_path)
    assert all(r.failure is None for r in [*records[:16], *records[32:]])
    assert all(r.failure is not None for r in records[16:32])
    assert report.failed == 16


class DiesInSecondBlock(Honest):
    """Ends its process when it is asked to begin the block that starts with episode 16."""

    def begin(self, seeds: Any) -> Any:
        import os

        from pkubench.envs.core.seeding import agent_seeds, evaluation_seeds

        if seeds[0] == agent_seeds(evaluation_seeds(0, 1, first=16), "agent")[0]:
            os._exit(1)
        return super().begin(seeds)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("tests.evaluation.actors:broken", "could not be loaded: RuntimeError: no weights today"),
        pytest.param(
            "tests.evaluation.actors:two", "may take one argument", marks=pytest.mark.slow
        ),
        pytest.param(
            "tests.evaluation.actors:NOT_AN_AGENT",
            r"is not an agent \(int\)",
            marks=pytest.mark.slow,
        ),
        pytest.param("tests.evaluation.actors:nobody", "has no 'nobody'", marks=pytest.mark.slow),
        ("tests.evaluation.actors:endless", "could not be loaded: timeout"),
    ],
)
def test_an_agent_that_cannot_be_loaded_is_one_line_and_leaves_nothing(
    spelling: str, message: str, tmp_path: Path
) -> None:
    task = counting_task()
    source = resolve_agent(spelling, task)
    with pytest.raises(AgentError, match=message) as caught:
        evaluate(source, task, out=tmp_path, limits=Limits(load=2.0))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob(EPISODES))
    # Nothing was recorded, so a mended agent of the same name may take the folder.
    assert evaluate(Honest(), task, workers=0, out=tmp_path, name=source.name).failed == 0


def test_the_time_that_plug_ins_take_is_not_the_agent_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_plugin.py").write_text("import time\n\ntime.sleep(2.5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PKUBENCH_PLUGINS", "slow_plugin")
    task = counting_task()
    source = resolve_agent("tests.evaluation.actors:broken", task)
    with pytest.raises(AgentError, match="RuntimeError: no weights today"):
        evaluate(source, task, limits=Limits(load=2.0))


def test_a_fault_in_the_environment_is_not_blamed_on_the_agent() -> None:
    from pkubench.evaluation.run.workers import WorkerError

    with pytest.raises(WorkerError, match="broken environment"):
        evaluate(Honest(), counting_task(broken=True))


def test_failed_entries_rank_last_and_infeasible_ones_before_them() -> None:
    strict = counting_task(RETURN, COST, cost_limit=0.5)
    loose = counting_task(RETURN, COST, cost_limit=50.0)
    scored = evaluate(Honest(), loose, workers=0)
    infeasible = evaluate(Honest(), strict, workers=0)
    failed = evaluate(Faulty("raising"), loose, workers=0)
    order = sorted([failed, infeasible, scored], key=lambda r: ranking_key(r, loose))
    assert order == [scored, infeasible, failed]


def test_feasibility_is_unknown_where_episodes_failed() -> None:
    task = counting_task(RETURN, COST, cost_limit=50.0)
    assert evaluate(Faulty("raising"), task, workers=0).feasible is None
    assert evaluate(Honest(), task, workers=0).feasible is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_evaluation_that_is_stopped(number: signal.Signals) -> None:
    script = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from pkubench.evaluation.run.harness import evaluate
from tests.evaluation.actors import Faulty
from tests.evaluation.counting import counting_task
evaluate(Faulty("deaf"), counting_task(), workers=1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    worker = _wait_for(lambda: _children(process.pid))
    time.sleep(0.7)  # until the agent hangs, with every signal blocked
    process.send_signal(number)
    process.communicate(timeout=20)
    assert _wait_for(lambda: not _is_running(worker[0]))


def _children(pid: int) -> list[int]:
    paths = Path("/proc").glob("[0-9]*/stat")
    found = []
    for path in paths:
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(condition: Any) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    return None


def test_workers_of_a_killed_evaluation_end_without_a_traceback(tmp_path: Path) -> None:
    words = ["evaluate", "random", "SimpleSpread-v0", "--episodes", "4000", "--workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "pkubench", *words, "--out", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        until = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.rglob(EPISODES)):
            assert time.monotonic() < until and command.poll() is None
            time.sleep(0.02)
        command.kill()
        _, said = command.communicate(timeout=30)  # ends when the workers have closed it
    assert "Traceback" not in said
