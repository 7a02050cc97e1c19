"""Verification on real agents: what was recorded is what the weights do."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pkubench.agents.adapters.onnx import TEAM_FORMAT
from pkubench.agents.adapters.onnx_export import Linear, mlp_bytes
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import RefusedError
from pkubench.evaluation.report import build_report
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle, rank_task, read_bundle, verify_bundle
from pkubench.leaderboard.board.reading import Bundle, parse_lines, run_records
from pkubench.leaderboard.board.tiers import Tier
from pkubench.leaderboard.sandbox.bubblewrap import check_bubblewrap
from pkubench.leaderboard.submissions.archive import Digest, write_archive
from pkubench.leaderboard.submissions.manifest import MANIFEST, encode
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Reference
from pkubench.training.session import train
from tests.leaderboard.writing import Writer, bind, spread_scores

SPREAD, KUHN = "SimpleSpread-v0", "KuhnPoker-v0"
KUHN_ID = f"pkubench/{KUHN}"


def sandbox_works() -> bool:
    try:
        check_bubblewrap()
    except RefusedError:
        return False
    return True


@pytest.fixture
def random_bundle(tmp_path: Path) -> Bundle:
    task = make_task(SPREAD)
    evaluate(resolve_agent("random", task), task, episodes=20, workers=0, out=tmp_path / "results")
    return create_bundle(tmp_path / "results" / "random", tmp_path / "random.zip")


@pytest.fixture(scope="module")
def kuhn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of five trained PSRO runs, none at an equilibrium."""
    pytest.importorskip("pyspiel")
    folder = tmp_path_factory.mktemp("kuhn")
    task = make_task(KUHN)
    for seed in range(5):
        out = folder / "solver" / f"seed{seed}"
        for _ in train("psro", task, steps=3, seed=seed, settings={}, out=out):
            pass
    source = resolve_agent(str(folder / "solver"), task)
    evaluate(source, task, workers=0, out=folder / "results")
    return create_bundle(
        folder / "results" / "solver", folder / "solver.zip", weights=folder / "solver"
    )


def altered(bundle: Bundle, factor: float) -> Bundle:
    """Return a bundle of one game with every score scaled, consistent in itself."""
    with zipfile.ZipFile(bundle.path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (task,) = bundle.tasks
    runs = []
    for run in task.runs:
        (record,) = run.records
        line = json.loads(record.line(task.task))
        line["metrics"] = {name: value * factor for name, value in line["metrics"].items()}
        data = (json.dumps(line) + "\n").encode()
        members[run.entry.episodes] = data
        runs.append(run_records(replace(run, lines=data, records=parse_lines(data, run.name))))
    report = next(name for name in members if name.endswith("report.json"))
    members[report] = encode(build_report(runs, task.task).to_json())
    manifest = json.loads(members.pop(MANIFEST))
    for name, data in members.items():
        digest = Digest.of(data)
        manifest["members"][name] = {"sha256": digest.sha256, "bytes": digest.size}
    bind(manifest)
    path = bundle.path.with_name(f"altered-{factor}.zip")
    write_archive(path, {MANIFEST: encode(manifest), **members})
    return read_bundle(path)


def test_saved_weights_give_the_same_bytes_again_and_are_ranked(kuhn: Bundle) -> None:
    verification = verify_bundle(kuhn, workers=0)
    verdict = verification.verdict(KUHN_ID)
    assert verdict.tier is Tier.VERIFIED_WEIGHTS
    assert verdict.reason == "5 of 5 scores computed again came out as the same bytes"
    board = Board.open()
    board.submit(kuhn, verification)
    (standing,) = rank_task(make_task(KUHN), board.entries(KUHN_ID))
    assert standing.rank == 1
    assert [run.seed for run in standing.entry.runs] == [0, 1, 2, 3, 4]
    assert standing.entry.runs[0].curve


def test_weights_that_claim_more_than_the_optimum_are_flagged_and_not_ranked(kuhn: Bundle) -> None:
    (entry,) = kuhn.tasks
    optimum = Reference(agent="x", score=10.0, n=1, command="as if no policy were better")
    task = replace(entry.task, references={"reference": optimum})
    verification = verify_bundle(replace(kuhn, tasks=(replace(entry, task=task),)), workers=0)
    verdict = verification.verdict(KUHN_ID)
    assert verdict.tier is Tier.FLAGGED and not verdict.is_contradicted
    assert verdict.reason.startswith("implausible: its mean is better than 10, the best that any")
    with Board.open() as board:
        board.submit(kuhn, verification)
        (standing,) = rank_task(make_task(KUHN), board.entries())
    assert standing.rank is None and standing.unranked == verdict.reason


def test_numbers_better_than_the_weights_are_contradicted(kuhn: Bundle) -> None:
    verdict = verify_bundle(altered(kuhn, 0.5), workers=0).verdict(KUHN_ID)
    assert verdict.is_contradicted
    assert verdict.tier is Tier.SELF_REPORTED
    assert "seed0, episode 0 has exploitability" in verdict.reason


def test_a_millionth_more_is_another_score_on_a_machine_like_the_recorded_one(
    kuhn: Bundle,
) -> None:
    verdict = verify_bundle(altered(kuhn, 1.0 + 1e-6), workers=0).verdict(KUHN_ID)
    assert verdict.is_contradicted


def test_a_named_agent_is_run_again_by_its_name(random_bundle: Bundle) -> None:
    assert random_bundle.manifest.kind == "named"  # so there are no weights to verify
    verdict = verify_bundle(random_bundle, workers=0).verdict(f"pkubench/{SPREAD}")
    assert verdict.tier is Tier.EVALUATED_HERE
    assert verdict.reason == "20 of 20 episodes played again came out as the same bytes"


def test_made_up_records_of_a_named_agent_are_contradicted(tmp_path: Path, results: Writer) -> None:
    agent = results("random", SPREAD, spread_scores(-10.0, runs=1, episodes=16), label="builtin")
    bundle = create_bundle(agent, tmp_path / "a.zip")
    assert verify_bundle(bundle, workers=0).is_contradicted


@pytest.mark.parametrize("spelling", ["evil_module:factory", "sb3:model.zip", "../runs/mine"])
def test_a_spelling_from_a_bundle_never_runs_code(
    tmp_path: Path, results: Writer, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    (tmp_path / "evil_module.py").write_text("open('ran', 'w').write('yes')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # A bundle that claims to be of a kind that can be run by its name.
    agent = results(spelling, SPREAD, spread_scores(-10.0, runs=1, episodes=4), label="builtin")
    bundle = create_bundle(agent, tmp_path / "a.zip")
    assert bundle.manifest.kind == "named"
    verdict = verify_bundle(bundle, workers=0).verdict(f"pkubench/{SPREAD}")
    assert verdict.tier is Tier.SELF_REPORTED
    assert "not an agent of pkubench" in verdict.reason
    assert not (tmp_path / "ran").exists()


def test_code_is_not_run(tmp_path: Path, results: Writer) -> None:
    scores = spread_scores(-10.0, runs=1, episodes=4)
    agent = results("mine:factory", SPREAD, scores, label="code")
    bundle = create_bundle(agent, tmp_path / "a.zip")
    assert bundle.manifest.kind == "external"
    verdict = verify_bundle(bundle, workers=0).verdict(f"pkubench/{SPREAD}")
    assert verdict.tier is Tier.SELF_REPORTED
    assert "code" in verdict.reason


def test_weights_that_fit_no_architecture_stay_self_reported(
    tmp_path: Path, results: Writer
) -> None:
    agent = results("tuned", SPREAD, spread_scores(-38.0, runs=1, episodes=4))
    bundle = create_bundle(agent, tmp_path / "a.zip", weights=tmp_path / "weights")
    verdict = verify_bundle(bundle, workers=0).verdict(f"pkubench/{SPREAD}")
    assert verdict.tier is Tier.SELF_REPORTED
    assert not verdict.is_contradicted
    assert "cannot be run again" in verdict.reason


def test_without_weights_there_is_nothing_to_verify(tmp_path: Path, results: Writer) -> None:
    agent = results("tuned", SPREAD, spread_scores(-38.0, runs=1, episodes=4))
    bundle = create_bundle(agent, tmp_path / "a.zip", include_weights=False)
    verdict = verify_bundle(bundle, workers=0).verdict(f"pkubench/{SPREAD}")
    assert verdict.tier is Tier.SELF_REPORTED
    assert "no weights" in verdict.reason


def test_an_onnx_team_is_run_again(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    task = make_task(SPREAD)
    team = tmp_path / "team"
    team.mkdir()
    rng = np.random.default_rng(0)
    agents = [f"agent_{k}" for k in range(3)]
    for agent in agents:
        layer = Linear(rng.normal(size=(18, 5)).astype(np.float32), np.zeros(5, np.float32))
        (team / f"{agent}.onnx").write_bytes(mlp_bytes([layer], 18, 5, "logits"))
    files = {agent: f"{agent}.onnx" for agent in agents}
    (team / "team.json").write_text(json.dumps({"format": TEAM_FORMAT, "members": files}))
    source = resolve_agent(f"onnx:{team}", task)
    evaluate(source, task, episodes=16, workers=0, out=tmp_path / "results")
    (agent_folder,) = (tmp_path / "results").iterdir()
    bundle = create_bundle(agent_folder, tmp_path / "a.zip", name="mine", weights=team)
    assert bundle.manifest.kind == "onnx"
    for is_sandboxed in (False, True) if sandbox_works() else (False,):
        verification = verify_bundle(bundle, workers=0, sandbox_graphs=is_sandboxed)
        verdict = verification.verdict(f"pkubench/{SPREAD}")
        assert verdict.tier is Tier.VERIFIED_WEIGHTS, verdict.reason
