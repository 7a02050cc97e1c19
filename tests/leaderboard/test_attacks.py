"""Ways to be ranked without deserving it, each refused or flagged with its reason."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.registry import WEIGHTS
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.errors import BundleError
from pkubench.evaluation.report import Report, build_report
from pkubench.evaluation.run.execution import Limits
from pkubench.evaluation.run.harness import evaluate
from pkubench.evaluation.run.machine import machine
from pkubench.leaderboard import (
    Board,
    board_of_results,
    create_bundle,
    rank_task,
    read_bundle,
    verify_bundle,
)
from pkubench.leaderboard.board import known
from pkubench.leaderboard.board.reading import Bundle, parse_lines, run_records
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.site import export
from pkubench.leaderboard.submissions.archive import Digest, write_archive
from pkubench.leaderboard.submissions.copies import arrays_of, share_of_close, suspicions
from pkubench.leaderboard.submissions.manifest import MANIFEST, encode, parse_manifest
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import Writer, bind, spread_scores

TASK = make_task("SimpleSpreadContinuous-v0")
SHIPPED = WEIGHTS / "happo" / "SimpleSpreadContinuous-v0" / "seed0"
EPISODES = 32
ROOT = Path(__file__).parents[2]
Change = Callable[[int, dict[str, Any], dict[str, np.ndarray]], None]


def runs(folder: Path, change: Change, count: int = 5) -> Path:
    """Write seeds of one shipped run, each changed by ``change(seed, config, tensors)``."""
    for seed in range(count):
        saved = load_saved(SHIPPED)
        config, tensors = dict(saved.config), {k: v.copy() for k, v in saved.tensors.items()}
        config["seed"] = seed
        change(seed, config, tensors)
        save_agent(folder / f"seed{seed}", config, tensors)
    return folder


def bundled(tmp_path: Path, weights: Path, name: str = "mine") -> Bundle:
    """Evaluate runs and pack them."""
    results = tmp_path / f"results-{weights.name}"
    evaluate(resolve_agent(str(weights), TASK), TASK, episodes=EPISODES, workers=0, out=results)
    path = tmp_path / f"{name}.zip"
    return create_bundle(results / weights.name, path, name=name, weights=weights)


def nudged(seed: int, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Change one number by a millionth, so that hashes differ."""
    name = next(key for key in sorted(tensors) if key.endswith("bias"))
    tensors[name].ravel()[0] += 1e-6 * (seed + 1)


def retrained(seed: int, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Give other weights altogether, as another training would."""
    rng = np.random.default_rng(seed)
    for name, tensor in sorted(tensors.items()):
        if name.endswith("weight"):
            mixed = rng.permutation(tensor.ravel()) * rng.choice((-1.0, 1.0), tensor.size)
            tensors[name] = mixed.reshape(tensor.shape).astype(tensor.dtype)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two runs that are what they say."""
    folder = tmp_path_factory.mktemp("honest")
    return bundled(folder, runs(folder / "agent", retrained, count=2))


def test_one_run_copied_five_times_is_refused(tmp_path: Path) -> None:
    weights = runs(tmp_path / "copied", lambda *_: None)
    with pytest.raises(BundleError, match=r"seed0 and seed1 of .* have the same weights"):
        bundled(tmp_path, weights)


def test_one_code_listed_five_times_is_refused(tmp_path: Path, results: Writer) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text("def agent(task): ...\n")
    records = results("mine:agent", "SimpleSpread-v0", spread_scores(-1.0), label="code")
    with pytest.raises(BundleError, match="has 5 runs of the same code"):
        create_bundle(records, tmp_path / "code.zip", code=code)
    shutil.rmtree(records)
    alone = results("mine:agent", "SimpleSpread-v0", spread_scores(-1.0, runs=1), label="code")
    bundle = create_bundle(alone, tmp_path / "code.zip", code=code)
    other = bundle.manifest.to_json() | {"agent": "happo:agent"}
    with pytest.raises(BundleError, match="the module of happo:agent is not in its code"):
        parse_manifest(other)
    with Board.open() as board:
        verdict = Verdict(Tier.VERIFIED_CODE, "same bytes")
        board.submit(bundle, Verification({"pkubench/SimpleSpread-v0": verdict}))
        (standing,) = rank_task(make_task("SimpleSpread-v0"), board.entries())
    assert standing.unranked is not None and "code is one run" in standing.unranked


@pytest.mark.parametrize(
    "values",
    [
        [("1" + 399 * "0", "0"), ("100", "1" + 399 * "0"), ("1000", "2")],
        [("1", "1.7e308"), ("2", "-1.7e308")],
        [("1", "0"), ("2", "5e-324")],
        [("1", "1e999"), ("2", "1"), ("3", "-1e100")],
    ],
)
def test_no_curve_breaks_the_pages(
    tmp_path: Path, results: Writer, values: list[tuple[str, str]]
) -> None:
    records = results("mine", "SimpleSpread-v0", spread_scores(-30.0, runs=1))
    (curve,) = (tmp_path / "weights").rglob("training.jsonl")
    lines = (f'{{"steps": {steps}, "return": {value}}}\n' for steps, value in values)
    curve.write_text("".join(lines))
    bundle = create_bundle(records, tmp_path / "a.zip", weights=tmp_path / "weights")
    with Board.open() as board:
        board.submit(bundle)
        export(board, tmp_path / "site")


def test_values_that_no_float_can_hold_are_refused(tmp_path: Path, results: Writer) -> None:
    records = results("mine", "SimpleSpread-v0", [[1e60, 1e60]])
    with pytest.raises(BundleError, match=r"has a value beyond 1e\+50"):
        create_bundle(records, tmp_path / "a.zip", weights=tmp_path / "weights")
    fine = results("other", "SimpleSpread-v0", [[1.0, 2.0]])
    document = create_bundle(fine, tmp_path / "b.zip", weights=tmp_path).manifest.to_json()
    document["tasks"][0]["runs"][0]["training"]["steps"] = 10**399
    with pytest.raises(BundleError, match=r"training\.steps does not fit 64 bits"):
        parse_manifest(document)


def test_one_member_for_many_runs_and_a_file_that_is_a_folder_are_refused(
    tmp_path: Path, results: Writer
) -> None:
    fine = results("mine", "SimpleSpread-v0", [[1.0, 2.0]])
    bundle = create_bundle(fine, tmp_path / "a.zip", weights=tmp_path / "weights")
    document = bundle.manifest.to_json()
    runs = document["tasks"][0]["runs"]
    runs += [runs[0] | {"name": f"seed{k}"} for k in range(1, 9)]
    with pytest.raises(BundleError, match=r"has the member '.*episodes.jsonl' twice"):
        parse_manifest(document)
    runs += [runs[0]] * 100
    with pytest.raises(BundleError, match="109 items; at most 100"):
        parse_manifest(document)
    with zipfile.ZipFile(bundle.path, "a") as archive:
        archive.writestr("code/a.py", b"")
        archive.writestr("code/a.py/b.py", b"")
    with pytest.raises(BundleError, match=r"holds code/a.py as a file and as a folder"):
        read_bundle(bundle.path)


def test_copies_are_looked_for_before_the_board_is_locked(
    tmp_path: Path, results: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def count(bundle: Bundle, task: Any, others: Any) -> str:
        compared.append(len(list(others)))
        return ""

    monkeypatch.setattr(known, "known_weights", count)
    verified = Verification({"pkubench/SimpleSpread-v0": Verdict(Tier.VERIFIED_WEIGHTS, "")})
    with Board.open() as board:
        for name in ("first", "second"):
            records = results(name, "SimpleSpread-v0", [[1.0, 2.0]])
            path = tmp_path / f"{name}.zip"
            board.submit(create_bundle(records, path, weights=tmp_path / "weights"), verified)
    assert compared == [0, 0, 1, 0]  # of each: before, and what came since


def test_copies_that_differ_by_a_millionth_are_flagged_and_take_no_rank(tmp_path: Path) -> None:
    bundle = bundled(tmp_path, runs(tmp_path / "nudged", nudged))
    verdict = verify_bundle(bundle, workers=0).verdict(TASK.id)
    assert verdict.tier is Tier.FLAGGED
    assert "100% of the weights of seed0 and seed1 lie within 1%" in verdict.reason
    with Board.open() as board:
        board.submit(bundle, verify_bundle(bundle, workers=0))
        (standing,) = rank_task(TASK, board.entries(TASK.id))
    assert standing.rank is None
    assert standing.unranked is not None and "counted twice" in standing.unranked


def test_two_runs_with_one_curve_are_flagged(tmp_path: Path) -> None:
    weights = runs(tmp_path / "curves", retrained, count=2)
    for run in weights.iterdir():
        shutil.copy(SHIPPED / "training.jsonl", run)
    verdict = verify_bundle(bundled(tmp_path, weights), workers=0).verdict(TASK.id)
    assert verdict.tier is Tier.FLAGGED and "have the same training curve" in verdict.reason


def test_five_trainings_are_not_taken_for_one() -> None:
    shipped = [path for path in sorted(WEIGHTS.glob("*/*")) if len(list(path.glob("seed*"))) > 1]
    assert len(shipped) >= 10
    for folder in shipped:
        task = make_task(folder.name)
        networks = [arrays_of(seed, task) for seed in sorted(folder.glob("seed*"))]
        assert max(starmap(share_of_close, combinations(networks, 2))) < 0.001, folder.name
        assert share_of_close(networks[0], networks[0]) == 1.0
    assert share_of_close([], []) == 0.0


def test_a_copy_is_known_under_other_names_in_another_order_and_beside_other_tensors() -> None:
    rng = np.random.default_rng(0)
    network = [rng.normal(size=shape) for shape in ((8, 4), (8,), (4, 8), (8,), (64, 64))]
    junk = rng.normal(size=100_000)
    assert share_of_close(network, [*network[::-1], junk]) == 1.0
    assert share_of_close([junk, *network], network) == 1.0
    half = [network[0], network[1], *(rng.normal(size=a.shape) for a in network[2:])]
    size = sum(a.size for a in network)
    assert share_of_close(network, half) == pytest.approx((8 * 4 + 8) / size)
    assert share_of_close(network, [1.005 * a for a in network]) == 1.0
    assert share_of_close(network, [1.02 * a for a in network]) == 0.0


def test_a_copy_with_permuted_hidden_units_is_known() -> None:
    """The function is the same; sorted numbers of an independent training only look alike."""
    rng = np.random.default_rng(0)
    first, bias, second = (rng.normal(size=shape).astype("f4") for shape in ((64, 4), 64, (3, 64)))
    order = rng.permutation(64)
    copy = [first[order], bias[order], second[:, order]]
    x = rng.normal(size=4)
    np.testing.assert_allclose(
        copy[2] @ np.tanh(copy[0] @ x + copy[1]), second @ np.tanh(first @ x + bias), atol=1e-5
    )
    assert share_of_close([first, bias, second], copy) == 1.0
    other = rng.normal(size=64)
    same_norm = other * (np.linalg.norm(bias) / np.linalg.norm(other))
    assert share_of_close([bias], [same_norm]) == 0.0


def test_tensors_that_nobody_reads_hide_no_copy(tmp_path: Path) -> None:
    """One of another size in each run, and a curve that differs in a space."""

    def padded(seed: int, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        rng = np.random.default_rng(seed)
        tensors[f"zz{seed}"] = rng.normal(size=300_000 + seed).astype(np.float32)

    weights = runs(tmp_path / "padded", padded, count=2)
    curve = (SHIPPED / "training.jsonl").read_text()
    for seed, run in enumerate(sorted(weights.iterdir())):
        (run / "training.jsonl").write_text(curve.replace(": ", ":" + " " * (seed + 1)))
    bundle = bundled(tmp_path, weights)
    verdict = verify_bundle(bundle, workers=0).verdict(TASK.id)
    assert verdict.tier is Tier.FLAGGED and "same training curve" in verdict.reason
    for run in weights.iterdir():
        (run / "training.jsonl").unlink()
    (tmp_path / "mine.zip").unlink()
    verdict = verify_bundle(bundled(tmp_path, weights), workers=0).verdict(TASK.id)
    assert verdict.tier is Tier.FLAGGED and "100% of the weights" in verdict.reason


def test_equal_records_alone_condemn_nobody(tmp_path: Path, honest: Bundle) -> None:
    """On a small deterministic task five honest trainings play the same episodes."""
    (task,) = honest.tasks
    same = replace(task, runs=tuple(replace(run, lines=task.runs[0].lines) for run in task.runs))
    for run in same.runs:
        honest.extract_weights(run, tmp_path / run.name)
    assert suspicions(same, tmp_path) == []


@pytest.mark.parametrize("block", [-16, 0, 1, 10**9, "16", True, None])
def test_blocks_of_another_size_leave_no_episode_unplayed(
    tmp_path: Path, honest: Bundle, block: Any
) -> None:
    with pytest.raises(BundleError, match=r"'block' is|says block = "):
        rewritten(honest, tmp_path / "blocks.zip", info={"block": block})


@pytest.mark.parametrize(
    ("machines", "shown"),
    [
        ([{"simd": "", "blas": machine()["blas"], "libc": machine()["libc"]}], "simd  then"),
        ([{**machine(), "libc": "\x1b[2J\n\nverified by the organisers"}], "do not say on what"),
        ([{**machine(), "libc": "x" * 201}], "do not say on what"),
        ([{**machine(), "more": "x"}], "do not say on what"),
    ],
)
def test_made_up_machines_neither_break_the_check_nor_reach_the_terminal(
    tmp_path: Path, honest: Bundle, machines: list[dict[str, str]], shown: str
) -> None:
    """The board then shows what it played itself, as of any machine that it cannot imitate."""
    bundle = read_bundle(raised(honest, tmp_path / "raised.zip", 3, machines))
    verdict = verify_bundle(bundle, workers=0).verdict(TASK.id)
    assert verdict.tier is Tier.VERIFIED_WEIGHTS and shown in verdict.reason
    assert verdict.reason.isprintable() and len(verdict.reason) < 600
    assert verdict.played["seed0"] == honest.tasks[0].runs[0].lines


def test_played_episodes_replace_those_of_an_earlier_unverified_submission(
    tmp_path: Path, honest: Bundle
) -> None:
    bundle = read_bundle(
        raised(honest, tmp_path / "raised.zip", 3, [{**machine(), "libc": "musl"}])
    )
    with Board.open() as board:
        board.submit(bundle)
        board.submit(bundle, verify_bundle(bundle, workers=0))
        (entry,) = board.entries(TASK.id)
    assert entry.runs[0].lines == honest.tasks[0].runs[0].lines


def test_a_bundle_under_another_name_is_flagged(tmp_path: Path, honest: Bundle) -> None:
    other = renamed(honest, tmp_path / "other.zip")
    with Board.open() as board:
        board.submit(other)  # self-reported: claiming weights does not take them from others
        board.submit(honest, verify_bundle(honest, workers=0))
        (tier,) = {v.tier for v in board.verdicts(honest.digest).values()}
        assert tier is Tier.VERIFIED_WEIGHTS
        board.submit(other, verify_bundle(other, workers=0))
        (verdict,) = board.verdicts(other.digest).values()
        board.submit(honest, verify_bundle(honest, workers=0))  # and its owner keeps the tier
        (again,) = board.verdicts(honest.digest).values()
    assert verdict.tier is Tier.FLAGGED
    assert verdict.reason == "the weights of seed0 are on this board already, as seed0 of mine"
    assert again.tier is Tier.VERIFIED_WEIGHTS


def renamed(bundle: Bundle, path: Path) -> Bundle:
    """Return the bundle under another name."""
    with zipfile.ZipFile(bundle.path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    manifest["name"] = "other"
    write_archive(path, {MANIFEST: encode(manifest), **members})
    with pytest.raises(BundleError, match="its 'binding' is not that of this name"):
        read_bundle(path)
    bind(manifest)
    write_archive(path, {MANIFEST: encode(manifest), **members})
    return read_bundle(path)


def raised(bundle: Bundle, path: Path, episode: int, machines: list[dict[str, str]]) -> Path:
    """Write a bundle, consistent in itself, with one return of its first run raised by 0.5 %."""
    return rewritten(bundle, path, episode, info={"machines": machines})


def rewritten(
    bundle: Bundle, path: Path, episode: int | None = None, *, info: dict[str, Any]
) -> Path:
    """Write a bundle with other settings in ``run.json``, and one return raised if asked for."""
    with zipfile.ZipFile(bundle.path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (task,) = bundle.tasks
    computed = []
    for number, run in enumerate(task.runs):
        lines = run.lines.decode().splitlines()
        if number == 0 and episode is not None:
            line = json.loads(lines[episode])
            line["returns"] = {k: v + 0.005 * abs(v) for k, v in line["returns"].items()}
            line["return"] = math.fsum(line["returns"].values())
            lines[episode] = json.dumps(line)
        data = ("\n".join(lines) + "\n").encode()
        members[run.entry.episodes] = data
        members[run.entry.info] = encode({**run.info, **info})
        computed.append((run, data))
    report = build_report(
        [
            run_records(replace(run, lines=data, records=parse_lines(data, run.name)))
            for run, data in computed
        ],
        task.task,
    )
    (name,) = (name for name in members if name.endswith("report.json"))
    members[name] = encode(report.to_json())
    manifest = json.loads(members.pop(MANIFEST))
    for name, data in members.items():
        digest = Digest.of(data)
        manifest["members"][name] = {"sha256": digest.sha256, "bytes": digest.size}
    bind(manifest)
    write_archive(path, {MANIFEST: encode(manifest), **members})
    read_bundle(path)
    return path


def submitted(path: Path, board: Path, kernel: str) -> subprocess.CompletedProcess[str]:
    """Run ``pkubench submit`` in a process whose linear algebra uses a kernel."""
    env = {**os.environ, "OPENBLAS_CORETYPE": kernel, "PYTHONPATH": str(ROOT)}
    env.pop("OPENBLAS_L2_SIZE", None)
    command = [sys.executable, "-m", "pkubench", "submit", str(path), "--board", str(board)]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("episode", "kernel"), [(3, "Nehalem"), pytest.param(29, "Prescott", marks=pytest.mark.slow)]
)
def test_a_return_raised_by_half_a_per_cent_in_any_block_is_refused_under_any_kernel(
    tmp_path: Path, honest: Bundle, episode: int, kernel: str
) -> None:
    path = raised(honest, tmp_path / "raised.zip", episode, [machine()])
    refused = submitted(path, tmp_path / "board.sqlite", kernel)
    assert refused.returncode == 1, refused.stderr
    assert f"seed0, episode {episode} has return" in refused.stderr
    own = verify_bundle(read_bundle(path), workers=0)
    assert own.is_contradicted


def test_a_bundle_made_under_one_kernel_is_verified_under_another(
    tmp_path: Path, honest: Bundle
) -> None:
    accepted = submitted(honest.path, tmp_path / "board.sqlite", "Prescott")
    assert accepted.returncode == 0, accepted.stderr
    with Board.open(tmp_path / "board.sqlite") as board:
        (verdict,) = board.verdicts(honest.digest).values()
    assert verdict.tier is Tier.VERIFIED_WEIGHTS
    count = 2 * EPISODES
    assert verdict.reason == f"{count} of {count} episodes played again came out as the same bytes"


def test_of_a_machine_that_cannot_be_imitated_the_board_shows_what_it_played_itself(
    tmp_path: Path, honest: Bundle
) -> None:
    there = {**machine(), "libc": "musl 1.2"}
    bundle = read_bundle(raised(honest, tmp_path / "raised.zip", 3, [there]))
    with Board.open() as board:
        board.submit(bundle, verify_bundle(bundle, workers=0))
        (entry,) = board.entries(TASK.id)
    assert entry.verdict.tier is Tier.VERIFIED_WEIGHTS
    assert "Welch's test" in entry.verdict.reason and "shown are those" in entry.verdict.reason
    assert entry.runs[0].lines == honest.tasks[0].runs[0].lines
    assert entry.runs[0].lines != bundle.tasks[0].runs[0].lines


def test_a_board_of_own_results_does_not_say_that_it_evaluated_them(
    tmp_path: Path, honest: Bundle
) -> None:
    weights = runs(tmp_path / "agent", retrained, count=2)
    results = tmp_path / "results"
    evaluate(resolve_agent(str(weights), TASK), TASK, episodes=16, workers=0, out=results)
    (file,) = results.rglob("seed0/episodes.jsonl")
    lines = file.read_text().splitlines()
    first = json.loads(lines[0])
    first["returns"] = dict.fromkeys(first["returns"], 0.0)
    first["return"] = 0.0
    file.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    Report.from_records(file.parents[1], TASK).save(file.parents[1])
    with board_of_results(results, weights=[weights]) as board:
        (entry,) = board.entries(TASK.id)
        assert entry.verdict.tier is Tier.OWN_RECORDS
        page = export(board, tmp_path / "site")
        text = "".join(p.read_text() for p in page.parent.rglob("*.html"))
    assert "own records" in text and 'class="badge evaluated-here" title' not in text
    with pytest.raises(BundleError, match=r"produced different episodes: .*seed0, episode 0"):
        board_of_results(results, weights=[weights], rerun=True, workers=0)


def test_an_agent_that_takes_too_long_is_not_verified(honest: Bundle) -> None:
    verdict = verify_bundle(honest, workers=1, limits=Limits(total=0.001)).verdict(TASK.id)
    assert verdict.tier is Tier.SELF_REPORTED and not verdict.is_contradicted
    assert "within the time limits" in verdict.reason or "could not be loaded" in verdict.reason


def test_the_weights_of_another_entry_are_known_after_a_change(tmp_path: Path) -> None:
    owner = bundled(tmp_path, runs(tmp_path / "owner", retrained, count=2), "owner")

    def changed(seed: int, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        retrained(seed, config, tensors)
        nudged(seed, config, tensors)
        tensors["zz"] = np.ones(100_000, np.float32)

    thief = bundled(tmp_path, runs(tmp_path / "thief", changed, count=2), "thief")
    with Board.open() as board:
        board.submit(owner, verify_bundle(owner, workers=0))
        board.submit(thief, verify_bundle(thief, workers=0))
        (verdict,) = board.verdicts(thief.digest).values()
    assert verdict.tier is Tier.FLAGGED
    assert verdict.reason == "the weights of seed0 are on this board already, as seed0 of owner"
