"""Training game learners: curve, saved population, resuming, and damaged or foreign files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import pkubench
from pkubench.agents.families.psro.population import load_population
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.envs.games import GameError, GameTree
from pkubench.envs.games.trees import game_tree
from pkubench.errors import ConfigError, StorageError, UnknownName, WeightsError
from pkubench.tasks.exact import Exact
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Metric, Protocol, Task
from pkubench.training import checkpoints
from pkubench.training.progress import Progress
from pkubench.training.session import train

TREES = {
    "Kuhn": GameTree.from_openspiel("kuhn_poker"),
    "Leduc": GameTree.from_openspiel("leduc_poker"),
}


def task(name: str) -> Task:
    metric = Metric(name="exploitability", higher_is_better=False, unit="chips", describe="")
    protocol = Protocol(
        episodes=1, horizon=None, budget={"environment_steps": 10**6}, quick_episodes=1
    )
    return Task(
        id=f"pkubench/{name}Poker-v0",
        suite="games",
        title=name,
        metrics=(metric,),
        protocol=protocol,
        scoring=Exact(),
    )


def run(
    out: Path,
    agent: str = "psro",
    name: str = "Leduc",
    steps: int | None = 8,
    stop_after: int | None = None,
    resume: bool = False,
    seed: int = 1,
    **settings: str,
) -> list[Progress]:
    progress = train(
        agent, task(name), steps=steps, seed=seed, settings=settings, out=out, resume=resume
    )
    seen = []
    for report in progress:
        seen.append(report)
        if len(seen) == stop_after:
            progress.close()  # type: ignore[attr-defined]
            break
    return seen


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("config.json", "weights.safetensors")}


def test_a_population_without_its_checkpoint_is_not_trained_over(tmp_path: Path) -> None:
    run(tmp_path, steps=3)
    shutil.rmtree(tmp_path / "checkpoint")
    before, curve = files(tmp_path), (tmp_path / "training.jsonl").read_bytes()
    assert run(tmp_path, steps=2, resume=True) == []
    assert (files(tmp_path), (tmp_path / "training.jsonl").read_bytes()) == (before, curve)


def test_fewer_steps_than_are_done_leave_a_run_and_its_command_as_they_are(tmp_path: Path) -> None:
    run(tmp_path, steps=3)
    before = files(tmp_path)
    assert run(tmp_path, steps=2, resume=True) == []
    assert files(tmp_path) == before


@pytest.mark.parametrize(("agent", "settings"), [("psro", {}), ("cfr+", {"report_every": "3"})])
def test_the_saved_population_scores_what_the_last_report_said(
    tmp_path: Path, agent: str, settings: dict[str, str]
) -> None:
    reports = run(tmp_path, agent, **settings)
    assert [r.steps for r in reports] == (list(range(1, 9)) if agent == "psro" else [3, 6, 8])
    assert {r.total_steps for r in reports} == {8}
    last = reports[-1].metrics
    tree = TREES["Leduc"]
    population = load_population(load_saved(tmp_path))
    rows, mixed = [], []
    for player in (0, 1):
        plans = [tree.realization_plan(p, player) for p in population.policies[player]]
        rows.append(np.stack(plans))
        mixed.append(tree.mix(plans, population.meta_strategy[player]))
    assert tree.nash_conv(*mixed) == pytest.approx(last["nash_conv"], abs=1e-9)
    assert tree.exploitability(*mixed) == pytest.approx(last["exploitability"], abs=1e-9)
    assert tree.population_exploitability(*rows) == pytest.approx(
        last["population_exploitability"], abs=1e-9
    )
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [r.steps for r in reports]
    assert lines[-1]["nash_conv"] == last["nash_conv"]
    assert lines[-1]["seconds"] > 0


@pytest.mark.parametrize("agent", ["psro", "cfr+"])
def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path, agent: str) -> None:
    settings = {"report_every": "1"} if agent == "cfr+" else {}
    whole = run(tmp_path / "whole", agent, **settings)
    first = run(tmp_path / "parts", agent, stop_after=3, **settings)
    rest = run(tmp_path / "parts", agent, resume=True, **settings)
    assert [r.steps for r in first + rest] == [r.steps for r in whole]
    for one, other in zip(first + rest, whole, strict=True):
        assert one.metrics["nash_conv"] == pytest.approx(other.metrics["nash_conv"], abs=1e-12)
    assert files(tmp_path / "whole") == files(tmp_path / "parts")
    curve = (tmp_path / "parts" / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["steps"] for line in curve] == [r.steps for r in whole]


def test_an_interrupt_in_the_middle_of_an_iteration_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkubench.agents.families.psro.cfr_plus import CFRPlus

    run(tmp_path / "whole", "cfr+", report_every="1")
    whole_advance = CFRPlus.advance

    def interrupted(self: CFRPlus) -> None:
        whole_advance(self)
        if self.iteration == 4:
            self.regrets[0] += 1.0  # an update cut in half
            raise KeyboardInterrupt

    monkeypatch.setattr(CFRPlus, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", "cfr+", report_every="1")
    monkeypatch.undo()
    assert load_saved(tmp_path / "parts").config["iterations"] == 3
    run(tmp_path / "parts", "cfr+", resume=True, report_every="1")
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_kuhn_poker_stops_by_itself_and_a_finished_run_can_be_resumed(tmp_path: Path) -> None:
    reports = run(tmp_path, name="Kuhn", steps=None)
    assert reports[-1].steps < 12
    assert reports[-1].metrics["nash_conv"] == pytest.approx(0.0, abs=1e-12)
    before = files(tmp_path)
    assert run(tmp_path, name="Kuhn", steps=None, resume=True) == []
    assert files(tmp_path) == before


def test_a_folder_with_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, name="Kuhn", steps=2)
    with pytest.raises(ConfigError, match="has a run already"):
        run(tmp_path, name="Kuhn")
    with pytest.raises(ConfigError, match=r"another seed \(1, not 2\)"):
        run(tmp_path, name="Kuhn", resume=True, seed=2)
    with pytest.raises(ConfigError, match=r"other settings: oracle\.ties="):
        run(tmp_path, name="Kuhn", resume=True, ties="lowest")
    with pytest.raises(ConfigError, match="another task"):
        run(tmp_path, name="Leduc", resume=True)


def test_bad_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UnknownName, match="tolerance"):
        run(out, tolerence="0.1")
    with pytest.raises(ConfigError, match="ties"):
        run(out, ties="highest")
    with pytest.raises(ConfigError, match="steps"):
        run(out, steps=0)
    with pytest.raises(UnknownName, match="psro"):
        run(out, agent="psr")
    assert not out.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        run(tmp_path / "file" / "run", name="Kuhn")


def test_damaged_weights_are_named_instead_of_misread(tmp_path: Path) -> None:
    run(tmp_path, name="Kuhn", steps=3)
    saved = load_saved(tmp_path)
    config = {k: v for k, v in saved.config.items() if k != "format"}

    def refused(says: str, config: dict[str, object] = config, **changes: np.ndarray) -> None:
        folder = tmp_path / "changed"
        save_agent(folder, config, {**saved.tensors, **changes})
        with pytest.raises(WeightsError, match=says):
            load_population(load_saved(folder))

    actions = saved.tensors["actions_0"]
    refused("do not exist", actions_0=np.full_like(actions, 2))
    refused("do not exist", actions_0=np.full_like(actions, -1))
    refused("does not fit", actions_0=actions[:, :3])
    refused("does not fit", actions_0=actions.astype(np.float32))
    refused("does not fit", meta_0=saved.tensors["meta_0"][:-1])
    refused("damaged.*sums to", meta_1=saved.tensors["meta_1"] * 2)
    refused("damaged.*NaN", meta_1=saved.tensors["meta_1"] * np.nan)
    refused("another version", config={**config, "fingerprint": "0" * 64})
    refused("name its game", config={**config, "game": None})
    save_agent(tmp_path / "changed", config, {"meta_0": np.ones(1)})
    with pytest.raises(WeightsError, match="probabilities_0"):
        load_population(load_saved(tmp_path / "changed"))


def test_a_checkpoint_of_another_game_or_learner_is_named(tmp_path: Path) -> None:
    run(tmp_path / "leduc", steps=4, stop_after=2)
    run(tmp_path / "kuhn", name="Kuhn", steps=4, stop_after=2)
    [leduc] = checkpoints.read_generations(tmp_path / "leduc")
    [kuhn] = checkpoints.read_generations(tmp_path / "kuhn")
    own = checkpoints.read(tmp_path / "leduc", leduc)
    other = checkpoints.read(tmp_path / "kuhn", kuhn)
    without = {k: v for k, v in own["learner"].items() if k != "plans_0"}
    cut = {**own["learner"], "plans_0": own["learner"]["plans_0"][:, :5]}
    for state, words in ((other["learner"], "another game"), (without, "plans_0"), (cut, "fit")):
        checkpoints.write([tmp_path / "leduc"], [{**own, "learner": state}], [leduc.facts])
        with pytest.raises(WeightsError, match=rf"cannot be resumed .*{words}.*from scratch"):
            run(tmp_path / "leduc", steps=4, resume=True)


@pytest.mark.parametrize("agent", ["psro", "psd-psro-paper", "xfp"])
def test_a_matrix_too_large_for_a_tree_is_trained_on_saved_and_scored(
    tmp_path: Path, agent: str
) -> None:
    payoff = np.random.default_rng(0).normal(size=(1500, 1500))
    np.save(tmp_path / "league.npy", payoff - payoff.T)
    name = f"payoff:{tmp_path / 'league.npy'}"
    with pytest.raises(GameError, match="use MatrixGame itself"):
        game_tree(name)
    league = make_task(name)
    *_, last = train(agent, league, steps=3, seed=0, settings={}, out=tmp_path / "run")
    report = pkubench.evaluate(str(tmp_path / "run"), league, workers=0)
    assert report.metrics["nash_conv"].mean == pytest.approx(last.metrics["nash_conv"])
