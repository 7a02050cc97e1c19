"""The harness: the same bytes whatever runs them, and numbers that can be worked out by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.random import random_entrant
from pkubench.envs.core.registry import make_batch, resolve
from pkubench.envs.core.seeding import evaluation_seeds
from pkubench.errors import AgentError, ConfigError, RecordError, StorageError, UnknownName
from pkubench.evaluation.report import Report
from pkubench.evaluation.run.execution import InProcess, Limits
from pkubench.evaluation.run.harness import evaluate, evaluation_folder, folder_name
from pkubench.tasks.records import EPISODES, RUN, read_records
from tests.evaluation.actors import Honest, HonestBox, Printer, Scribbler, Sloppy
from tests.evaluation.counting import COST, RETURN, SUCCESS, TOTAL, CountingEnv, counting_task

ROOT = Path(__file__).parents[2]


def lines_of(out: Path) -> bytes:
    (path,) = out.rglob(EPISODES)
    return path.read_bytes()


def by_hand(seed: int) -> tuple[float, int, float]:
    """One episode of the honest agent, played by a loop over a batch of one environment."""
    env = CountingEnv(1)
    observations, _ = env.reset(np.array([seed]))
    total, cost = 0.0, 0.0
    for length in range(1, 13):  # noqa: B007 - it is returned
        action = observations["agent"][:, 1].astype(np.int64)
        step = env.step({"agent": action})
        observations = step.observations
        total += float(step.rewards[0, 0])
        cost += float(step.info["cost"][0])
        if step.terminated[0] or step.truncated[0]:
            break
    return total, length, cost


def test_each_record_is_what_a_loop_over_one_episode_gives(tmp_path: Path) -> None:
    task = counting_task(RETURN, COST, SUCCESS, TOTAL, episodes=21)
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    records = read_records(path, 21)
    assert [r.seed for r in records] == evaluation_seeds(0, 21).tolist()
    for record in records:
        total, length, cost = by_hand(record.seed)
        assert record.return_ == pytest.approx(total, abs=1e-12)
        assert (record.length, record.cost) == (length, cost)
        assert record.returns == {"agent": record.return_}
        assert record.success is (total > 0.45)
        assert record.metrics["total"] == pytest.approx(total, abs=1e-12)
        assert record.failure is None
    assert {r.length for r in records} > {12}, "some episodes end early, some at the limit"


@pytest.mark.parametrize("counts", [(0, 1, 2), pytest.param((0, 4, 8), marks=pytest.mark.slow)])
def test_any_number_of_workers_writes_the_same_bytes(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    task = counting_task(episodes=75)
    agent = Sloppy()
    for workers in counts:
        evaluate(agent, task, workers=workers, out=tmp_path / str(workers))
    written = {lines_of(tmp_path / str(workers)) for workers in counts}
    assert len(written) == 1
    reports = {p.read_bytes() for p in tmp_path.rglob("report.json")}
    assert len(reports) == 1


def test_a_longer_evaluation_begins_with_the_blocks_of_a_shorter_one(tmp_path: Path) -> None:
    agent = Honest()
    for episodes in (32, 48):
        evaluate(agent, counting_task(), episodes=episodes, workers=0, out=tmp_path / f"{episodes}")
    assert lines_of(tmp_path / "48").startswith(lines_of(tmp_path / "32"))


def test_another_seed_is_another_set_of_episodes() -> None:
    task = counting_task()
    first, second = (evaluate(Honest(), task, workers=0, seed=s) for s in (0, 1))
    assert first.score != second.score


def test_agents_draw_from_their_own_seeds_not_from_the_environments(tmp_path: Path) -> None:
    seen: list[np.ndarray[Any, Any]] = []

    class Spy(Honest):
        def begin(self, seeds: Any) -> Any:
            seen.append(seeds)
            return super().begin(seeds)

        def __deepcopy__(self, memo: Any) -> Spy:
            return self

    evaluate(Spy(), counting_task(), episodes=3)
    assert not set(seen[0].tolist()) & set(evaluation_seeds(0, 3).tolist())


def test_an_agent_may_scribble_on_what_it_gets(tmp_path: Path) -> None:
    task = counting_task(players=2)
    for name, member in (("honest", Honest()), ("scribbler", Scribbler())):
        team = Team({"p0": member, "p1": Honest()})
        evaluate(team, task, workers=0, out=tmp_path / name)
    assert lines_of(tmp_path / "honest") == lines_of(tmp_path / "scribbler")


def test_returns_are_summed_over_the_team(tmp_path: Path) -> None:
    task = counting_task(players=2, episodes=5)
    report = evaluate(Team({"p0": Honest(), "p1": Honest()}), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    records = read_records(path)
    for record in records:
        assert set(record.returns) == {"p0", "p1"}
        assert record.return_ == sum(record.returns.values())
    assert report.score == pytest.approx(np.mean([r.return_ for r in records]))


def test_masked_environments_hand_masks_over_and_random_keeps_to_them(tmp_path: Path) -> None:
    task = counting_task(masked=True)
    env = make_batch(task.id, 1)
    report = evaluate(random_entrant(env), task, workers=0)
    assert report.failed == 0
    refused = evaluate(Honest(), task, workers=0)
    assert set(refused.failures) == {"illegal-action: agent chose 0, which is masked"}


def test_the_horizon_of_the_protocol_counts(tmp_path: Path) -> None:
    import dataclasses

    task = counting_task()
    short = dataclasses.replace(task, protocol=dataclasses.replace(task.protocol, horizon=4))
    evaluate(Honest(), short, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    assert max(r.length for r in read_records(path)) == 4


def test_success_has_a_wilson_interval_and_a_single_episode_none() -> None:
    task = counting_task(SUCCESS, RETURN)
    report = evaluate(Honest(), task, workers=0)
    mean, low, high, n = report.metrics["success"]
    assert n == 40 and mean is not None and low is not None and high is not None
    assert 0 <= low < mean < high <= 1
    alone = evaluate(Honest(), task, workers=0, episodes=1)
    assert alone.metrics["return"].low is None
    assert json.loads(json.dumps(alone.to_json(), allow_nan=False))["metrics"]["return"]["n"] == 1


def test_a_team_over_the_cost_limit_has_no_score() -> None:
    report = evaluate(Honest(), counting_task(RETURN, COST, cost_limit=50.0), workers=0)
    assert report.feasible is True and report.score == report.metrics["return"].mean
    assert report.normalised == pytest.approx(report.score / 2)
    report = evaluate(Honest(), counting_task(RETURN, COST, cost_limit=0.5), workers=0)
    assert report.feasible is False and report.score is None and report.normalised is None
    assert report.metrics["return"].mean is not None


def test_global_generators_of_the_caller_are_left_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.rand(2)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first = np.random.rand()  # noqa: NPY002
    torch = pytest.importorskip("torch")
    state = torch.get_rng_state()
    evaluate(Sloppy(), counting_task(), episodes=2, workers=0)
    assert np.array_equal([first, np.random.rand()], expected)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)


def test_what_an_agent_prints_does_not_reach_standard_output(capfd: Any) -> None:
    report = evaluate(Printer(), counting_task(), episodes=2)
    assert report.failed == 0
    assert capfd.readouterr().out == ""


def test_objects_of_a_script_run_in_process_and_refuse_many_workers() -> None:
    class Local(Honest):
        pass

    assert evaluate(Local(), counting_task(), episodes=3).failed == 0
    with pytest.raises(AgentError, match=r"package\.module:factory"):
        evaluate(Local(), counting_task(), episodes=3, workers=2)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="episodes"):
        evaluate(Honest(), counting_task(), episodes=0)
    with pytest.raises(ConfigError, match="seed"):
        evaluate(Honest(), counting_task(), seed=-1)
    with pytest.raises(ConfigError, match="workers"):
        evaluate(Honest(), counting_task(), workers=-1)
    with pytest.raises(UnknownName, match="SimpleSpread-v0"):
        evaluate(Honest(), "SimpelSpread-v0")
    with pytest.raises(AgentError, match=r"pkubench\.evaluate\('random'"):
        evaluate("random", "SimpleSpread-v0")  # type: ignore[arg-type]


def test_an_entrant_that_does_not_fit_the_environment_is_refused() -> None:
    with pytest.raises(AgentError, match="takes a Team"):
        evaluate(Honest(), counting_task(players=2), workers=0)
    with pytest.raises(AgentError, match="no member for p1; it has p0, and"):
        evaluate(Team({"p0": Honest()}), counting_task(players=2), workers=0)
    with pytest.raises(AgentError, match="no begin and act"):
        evaluate(3, counting_task(), workers=0)  # type: ignore[arg-type]


# Records on disk


class Noting(InProcess):
    """Notes which blocks are played."""

    def __init__(self) -> None:
        self.played: list[int] = []

    def map(self, jobs: Any) -> Any:
        jobs = list(jobs)
        self.played += [job.first for job in jobs]
        return super().map(jobs)


def test_a_finished_evaluation_is_read_again_once_one_block_is_checked(tmp_path: Path) -> None:
    task = counting_task()
    first = evaluate(Honest(), task, workers=0, out=tmp_path)
    drawn = set()
    for _ in range(24):  # three blocks; one of them is missed with chance 3 (2/3)^24 = 0.0002
        backend = Noting()
        assert evaluate(Honest(), task, out=tmp_path, backend=backend) == first
        assert len(backend.played) == 1
        drawn |= set(backend.played)
    assert drawn == {0, 16, 32}
    folder = evaluation_folder(tmp_path, "Honest", task)
    assert Report.from_records(folder, task) == first
    assert json.loads((folder / "report.json").read_text()) == first.to_json()


@pytest.mark.parametrize("lines", [16, 40])
def test_found_lines_that_were_changed_are_not_adopted(tmp_path: Path, lines: int) -> None:
    task = counting_task()
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    forged = []
    for line in path.read_text().splitlines()[:lines]:
        record = json.loads(line)
        record["return"] = record["returns"]["agent"] = record["return"] + 5.0
        forged.append(json.dumps(record) + "\n")
    path.write_text("".join(forged))
    before = path.read_bytes()
    with pytest.raises(RecordError, match=r"does not play here, such as episode \d+: lines were"):
        evaluate(Honest(), task, workers=0, out=tmp_path)
    assert path.read_bytes() == before


def test_lines_of_another_machine_are_adopted_where_the_bytes_agree(tmp_path: Path) -> None:
    task = counting_task()
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:16]))
    settings = json.loads((path.parent / "run.json").read_text())
    (here,) = settings["machines"]
    there = {**here, "blas": "openblas 0.3.31 SkylakeX"}
    (path.parent / "run.json").write_text(json.dumps({**settings, "machines": [there]}))
    evaluate(Honest(), task, workers=0, out=tmp_path)
    assert path.read_bytes() == whole
    assert json.loads((path.parent / "run.json").read_text())["machines"] == [there, here]
    path.write_bytes(whole.replace(b'"length": ', b'"length": 1'))
    with pytest.raises(RecordError, match=r"SkylakeX then.*resume where they were made"):
        evaluate(Honest(), task, workers=0, out=tmp_path)


class Backwards(InProcess):
    """Plays the blocks in the order that is worst for who checks the first."""

    def map(self, jobs: Any) -> Any:
        return super().map(reversed(list(jobs)))


def test_nothing_is_added_to_found_lines_before_one_of_their_blocks_was_checked(
    tmp_path: Path,
) -> None:
    task = counting_task(episodes=64)
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    whole = path.read_bytes()
    honest = b"".join(whole.splitlines(keepends=True)[:16])
    forged = honest.replace(b'"length": ', b'"length": 1')
    path.write_bytes(forged)
    with pytest.raises(RecordError, match="does not play here"):
        evaluate(Honest(), task, out=tmp_path, backend=Backwards())
    assert path.read_bytes() == forged
    path.write_bytes(honest)
    evaluate(Honest(), task, out=tmp_path, backend=Backwards())
    assert path.read_bytes() == whole


def test_a_found_line_that_contradicts_itself_is_refused_without_playing(tmp_path: Path) -> None:
    task = counting_task(episodes=64)
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    lines = path.read_text().splitlines()
    record = json.loads(lines[50])
    record["return"] += 1.0
    path.write_text("\n".join([*lines[:50], json.dumps(record), *lines[51:]]) + "\n")
    for _ in range(5):  # whichever block is drawn
        with pytest.raises(RecordError, match=r"51: the return is .* the agents' sum is"):
            evaluate(Honest(), task, workers=0, out=tmp_path)


class Sleeper(Honest):
    """Takes its time."""

    def act(self, observation: Any, state: Any, active: Any) -> tuple[Any, Any]:
        time.sleep(20.0)
        return super().act(observation, state, active)


@pytest.mark.parametrize("workers", [0, 1])
def test_all_calls_together_have_a_time_limit_too(workers: int) -> None:
    """One call that outlasts it, and jobs whose turn does not come."""
    began = time.monotonic()
    report = evaluate(
        Sleeper(), counting_task(episodes=48), workers=workers, limits=Limits(total=0.5)
    )
    assert report.failed == 48 and time.monotonic() - began < 10
    assert all(reason.startswith("timeout") for reason in report.failures)
    late = [r for r in report.failures if "the evaluation did not end" in r]
    assert sum(report.failures[reason] for reason in late) >= 32


@pytest.mark.parametrize("keep", ["16 lines", "21 lines", "half a line", "nothing"])
def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(tmp_path: Path, keep: str) -> None:
    task = counting_task()
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = {"16 lines": 16, "21 lines": 21, "half a line": 33, "nothing": 0}[keep]
    path.write_bytes(b"".join(lines[:cut]) + (lines[cut][:20] if keep == "half a line" else b""))
    done: list[int] = []
    evaluate(Honest(), task, workers=0, out=tmp_path, progress=lambda p: done.append(p.done))
    assert path.read_bytes() == whole
    assert done[0] == {16: 16, 21: 16, 33: 32, 0: 0}[cut] and done[-1] == 40


def test_kill_nine_in_the_middle_then_resume_gives_the_same_bytes(tmp_path: Path) -> None:
    script = """
import sys
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.evaluation.run.harness import evaluate
from tests.evaluation.counting import counting_task
task = counting_task(episodes=96)
source = resolve_agent("tests.evaluation.actors:slow", task)
evaluate(source, task, workers=2, out=sys.argv[1])
"""
    command = [sys.executable, "-c", script]
    killed = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        paths = list((tmp_path / "killed").rglob(EPISODES))
        if paths and paths[0].stat().st_size > 0:
            break
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    (path,) = (tmp_path / "killed").rglob(EPISODES)
    assert 0 < path.read_bytes().count(b"\n") < 96
    subprocess.run([*command, str(tmp_path / "killed")], cwd=ROOT, check=True, timeout=60)
    subprocess.run([*command, str(tmp_path / "whole")], cwd=ROOT, check=True, timeout=60)
    assert path.read_bytes() == lines_of(tmp_path / "whole")
    assert path.read_bytes().count(b"\n") == 96


def test_two_processes_cannot_mix_their_records_in_one_folder(tmp_path: Path) -> None:
    task = counting_task()

    def second(progress: Any) -> None:
        with pytest.raises(StorageError, match="another process is evaluating into"):
            evaluate(Honest(), task, workers=0, out=tmp_path)

    evaluate(Honest(), task, workers=0, out=tmp_path, progress=second)
    assert Report.from_records(evaluation_folder(tmp_path, "Honest", task), task).failed == 0
    evaluate(Honest(), task, workers=0, out=tmp_path)  # and its lock is released now


def test_another_evaluations_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    task = counting_task()
    evaluate(Honest(), task, workers=0, out=tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RecordError, match="another evaluation \\(seed: 0 there, 1 now\\)"):
        evaluate(Honest(), task, workers=0, out=tmp_path, seed=1)
    with pytest.raises(RecordError, match="episodes: 40 there, 24 now"):
        evaluate(Honest(), task, workers=0, out=tmp_path, episodes=24)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[10:], "is not an episode record"),
        (lambda b: b.replace(b'"seed": ', b'"seed": 1'), "has seed"),
        (lambda b: b"".join(b.splitlines(keepends=True)[1:]), "removed, repeated or reordered"),
        (lambda b: b"\xff\xfe" + b, "is not text"),
        (lambda b: b.replace(b'"return": ', b'"return": 1e999, "x": ', 1), "not an episode record"),
        (lambda b: b.replace(b'"return": ', b'"return": 1%0400d, "x": ' % 0, 1), "not an episode"),
        (lambda b: b.replace(b"{", b"[" * 100_000, 1), "not an episode record"),
    ],
)
def test_damaged_records_are_named_not_overwritten(
    tmp_path: Path, damage: Any, message: str
) -> None:
    task = counting_task()
    evaluate(Honest(), task, workers=0, out=tmp_path)
    (path,) = tmp_path.rglob(EPISODES)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(RecordError, match=message):
        evaluate(Honest(), task, workers=0, out=tmp_path)
    assert path.read_bytes() == before


def test_records_without_their_description_are_refused(tmp_path: Path) -> None:
    evaluate(Honest(), counting_task(), workers=0, out=tmp_path)
    (run,) = tmp_path.rglob(RUN)
    run.unlink()
    with pytest.raises(RecordError, match=r"run\.json is not"):
        evaluate(Honest(), counting_task(), workers=0, out=tmp_path)
    run.write_text("{")
    with pytest.raises(RecordError, match="not valid JSON"):
        evaluate(Honest(), counting_task(), workers=0, out=tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        evaluate(Honest(), counting_task(), workers=0, out=blocked)


def test_a_full_disk_keeps_whole_lines_and_goes_on_later(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pkubench.errors import StorageError
from pkubench.evaluation.run.harness import evaluate
from tests.evaluation.actors import Honest
from tests.evaluation.counting import counting_task
task = counting_task(episodes=80)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
try:
    evaluate(Honest(), task, workers=0, out=sys.argv[1])
except StorageError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
evaluate(Honest(), task, workers=0, out=sys.argv[1])
evaluate(Honest(), task, workers=0, out=sys.argv[1] + "-whole")
"""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)],
        cwd=ROOT,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert "cannot write" in done.stdout and done.stdout.count("\n") == 1
    assert lines_of(out) == lines_of(tmp_path / "out-whole")


def test_progress_is_told_block_by_block() -> None:
    reports: list[tuple[int, int]] = []
    evaluate(Honest(), counting_task(), workers=0, progress=lambda p: reports.append(tuple(p)))
    assert reports == [(0, 40), (16, 40), (32, 40), (40, 40)]


# The shipped tasks


def test_random_play_is_scored_on_a_team_task_and_on_games() -> None:
    spread = pkubench.evaluate("random", "SimpleSpread-v0", episodes=64, workers=0)
    mean, low, high, n = spread.metrics["return"]
    assert low < -79 < high and n == 64 and mean == spread.score
    leduc = pkubench.evaluate("random", "LeducPoker-v0", workers=0)
    assert leduc.metrics["nash_conv"].mean == pytest.approx(4.747222, abs=1e-6)
    assert leduc.score == pytest.approx(4.747222 / 2, abs=1e-6)
    assert leduc.metrics["exploitability"].low == leduc.score


def test_a_plain_agent_cannot_play_a_task_that_is_scored_exactly() -> None:
    with pytest.raises(AgentError, match="action_probabilities"):
        evaluate(HonestBox(), "KuhnPoker-v0", workers=0)


def test_limits_of_none_let_an_agent_take_its_time() -> None:
    assert (
        evaluate(Honest(), counting_task(), episodes=2, limits=Limits(None, None), workers=0).failed
        == 0
    )


def test_the_test_environment_is_known_to_the_registry() -> None:
    assert resolve(counting_task().id).entry_point.endswith("CountingEnv")


def test_names_outside_ascii_have_folders_of_their_own() -> None:
    ascii_names = {
        "happo@2": "happo@2",
        "onnx:a/b.onnx": "onnx-a-b.onnx",
        "two words": "two-words",
        "../..": "agent",
        "": "agent",
        "_x.y+z-1": "_x.y+z-1",
    }
    for name, folder in ascii_names.items():
        assert folder_name(name) == folder
    others = ["智能体", "智能", "智能2", "Kühn", "Köhn", "\u00e9", "e\u0301", "\udcff", "\udcfe"]
    folders = [folder_name(name) for name in others]
    assert len(set(folders)) == len(others) - 1  # one letter in the two spellings of Unicode
    assert folders[5] == folders[6]
    for folder in folders:
        assert folder.isascii() and re.fullmatch(r"[A-Za-z0-9._+@-]+", folder)
    assert folder_name("Kühn").startswith("K-hn-")
