"""The command that makes the data sets, on tasks and sizes that take a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import offline_data
from benchmarks.offline_data import Plan
from benchmarks.offline_scripted import NoisyAgent
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.agents.saved.files import load_saved
from pkubench.data import cards as card_module
from pkubench.data.cards import cards
from pkubench.data.minari_files import read
from pkubench.envs.core.seeding import EVALUATION_SEED_START, TrainingSeeds
from pkubench.tasks.registry import make_task
from pkubench.training.validation import Validation

pytest.importorskip("minari")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command with one plan, into a folder of its own."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    for module in (card_module, offline_data):
        monkeypatch.setattr(module, "FILE" if module is card_module else "CARDS", tmp_path / "c")
    monkeypatch.setattr(offline_data.Scripted, "PROBED", 40)
    monkeypatch.setattr(offline_data, "NUM_ENVS", 10)

    def run(plan: Plan, *words: str) -> int:
        monkeypatch.setattr(offline_data, "PLANS", (plan,))
        return offline_data.main(["--runs", str(tmp_path / "runs"), *words])

    return run


def test_sets_of_a_known_optimum(small, capsys: pytest.CaptureFixture[str]):
    assert small(Plan("GraphPath-v0", size=20)) == 0
    made = {name.split("/")[2]: read(name) for name in cards()}
    assert set(made) == {"random-v0", "medium-v0", "mixed-v0", "expert-v0"}
    assert {len(made[name]) for name in ("random-v0", "medium-v0", "expert-v0")} == {20}
    means = [made[f"{kind}-v0"].returns.mean() for kind in ("random", "medium", "expert")]
    assert means[0] < means[1] < means[2]
    for name, card in cards().items():
        assert card["sha256"] == read(name).sha256
        assert card["command"] == "python -m benchmarks.offline_data GraphPath-v0"
    capsys.readouterr()
    assert small(Plan("GraphPath-v0", size=20)) == 0  # nothing is made again
    assert capsys.readouterr().out.count("made already") == 4
    assert small(Plan("GraphPath-v0", size=21)) == 0
    assert "made already" in capsys.readouterr().out


def test_a_set_that_is_not_the_one_of_its_card_is_said(small, capsys, monkeypatch, tmp_path: Path):
    assert small(Plan("Stitching-v0", size=2)) == 0
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    assert small(Plan("Stitching-v0", size=2)) == 0
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "third"))
    assert small(Plan("Stitching-v0", size=3)) == 1
    assert "halves-v0 differs from its card" in capsys.readouterr().err
    assert small(Plan("Stitching-v0", size=3), "--update") == 0


def test_a_trial_is_smaller_and_has_no_cards(small, tmp_path: Path):
    out = tmp_path / "trial"
    words = ("--scale", "0.1", "--out", str(out))
    assert small(Plan("GraphPath-v0", size=300), *words) == 0
    assert len(read(str(out / "pkubench/GraphPath/random-v0"))) == 30
    assert not cards() and not (tmp_path / "sets").exists()
    with pytest.raises(SystemExit):
        small(Plan("GraphPath-v0", size=300), "--scale", "0.1")
    plan = Plan("HopperVelocity-v0", "ppo", 1_000_000, 500_000)
    assert plan.scaled(1.0) is plan
    assert plan.scaled(0.002) == Plan("HopperVelocity-v0", "ppo", 2_000, 1_000, is_trial=True)
    assert plan.scaled(1e-9).steps == 1 and plan.scaled(1e-9).size == 20


def test_the_halves_of_stitching(small):
    small(Plan("Stitching-v0", size=2))
    found = read("pkubench/Stitching/halves-v0")
    assert found.returns.tolist() == [0.0, 0.0, 0.2, 0.2, 1.0, 1.0]
    assert found.lengths.tolist() == [2, 2, 1, 1, 2, 2]
    assert found.observations.argmax(axis=1).tolist() == [0, 2, 0, 2, 0, 0, 1, 2, 1, 2]
    assert found.actions.tolist() == [0, 0, 0, 0, 1, 1, 0, 1, 0, 1]


@pytest.mark.slow
def test_sets_of_a_learner(small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(offline_data, "SEEDS", (0,))
    monkeypatch.setattr(offline_data, "VALIDATION", Validation(points=4, episodes=4, window=2))
    monkeypatch.setattr(offline_data, "THIRD", 0.02)  # a training this short learns little
    plan = Plan("SpeedLimit-v0", "ppo", 8192, 200)
    assert small(plan) == 0
    stem = "pkubench/SpeedLimit"
    mixed, medium = read(f"{stem}/mixed-v0"), read(f"{stem}/medium-v0")
    assert medium.num_steps >= 200 and medium.costs is not None
    policy = cards()[f"{stem}/medium-v0"]["policy"]
    seed, at = int(policy.split()[2]), int(policy.split()[4].replace(",", ""))
    run = tmp_path / "runs" / "ppo-SpeedLimit-v0" / f"seed{seed}"
    point = load_saved(run / "points" / str(at)).config
    assert (point["kind"], point["steps"], point["seed"]) == ("on-policy", at, seed)
    assert len(list((run / "points").iterdir())) == 2
    assert 0.9 * at <= mixed.num_steps <= at  # all episodes but those under way
    assert not run.with_name("again").exists()


def test_a_noisy_agent_does_what_its_share_says():
    class Always:
        def __init__(self, action: int) -> None:
            self.action = action

        def begin(self, seeds):
            return None

        def act(self, observation, state, active):
            return np.full(len(active), self.action), None

    agent = NoisyAgent(Always(1), Always(0), 0.25)
    state = agent.begin(np.arange(4000))
    actions, state = agent.act(np.zeros((4000, 1)), state, np.ones(4000, bool))
    assert abs(actions.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    again, _ = agent.act(np.zeros((4000, 1)), state, np.ones(4000, bool))
    assert (actions != again).any()


def test_no_episode_of_the_data_is_one_of_an_evaluation():
    assert (
        TrainingSeeds(offline_data.FIRST_RUN, 64).next(np.arange(64)) < EVALUATION_SEED_START
    ).all()


def test_every_plan_has_a_task_and_every_card_a_plan():
    tasks = {make_task(plan.task).id for plan in offline_data.PLANS}
    assert {card["task"] for card in cards().values()} <= tasks
    for plan in offline_data.PLANS:
        if not plan.agent and plan.task != "Stitching-v0":
            scripted_agent("optimum", make_task(plan.task).id)
