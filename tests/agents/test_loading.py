"""Agents by spelling: what each resolves to, and one clear line for every error."""

from __future__ import annotations

import json
import pickle
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pkubench
from pkubench.agents import registry
from pkubench.agents.contract import Population, Team
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.agents.saved.files import load_saved, save_agent
from pkubench.agents.saved.runs import begin_training
from pkubench.envs.games import GameTree, trees
from pkubench.errors import AgentError, PkubenchError, RefusedError, UnknownName, WeightsError
from pkubench.evaluation.run.harness import evaluate
from pkubench.evaluation.run.workers import ProcessPool
from pkubench.tasks.registry import make_task
from pkubench.training import session
from tests.evaluation.actors import Honest, Sloppy
from tests.evaluation.counting import counting_task

SPREAD, KUHN = make_task("SimpleSpread-v0"), make_task("KuhnPoker-v0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``happo`` on SimpleSpread, two seeds of a few steps, and ``psro`` on Kuhn."""
    out = tmp_path_factory.mktemp("runs")
    train: Any = session.train
    settings = {"num_envs": "2", "rollout_steps": "5", "hidden": "[8]", "epochs": "1"}
    for seed in (1, 2):
        folder = out / "happo" / "SimpleSpread-v0" / f"seed{seed}"
        list(train("happo", SPREAD, steps=10, seed=seed, settings=settings, out=folder))
    train = session.train
    folder = out / "psro" / "KuhnPoker-v0" / "seed1"
    list(train("psro", KUHN, steps=20, seed=1, settings={}, out=folder))
    return out


@pytest.fixture
def seed_folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "happo" / "SimpleSpread-v0" / "seed1", tmp_path / "mine")


def test_random_is_a_team_where_the_environment_has_several_agents() -> None:
    team = pkubench.load_agent("random", "SimpleSpread-v0")
    assert isinstance(team, Team) and set(team.members) == {"agent_0", "agent_1", "agent_2"}


def test_a_run_folder_is_one_run_and_a_folder_of_seeds_is_several(trained: Path) -> None:
    one = resolve_agent(str(trained / "happo" / "SimpleSpread-v0" / "seed1"), SPREAD)
    assert [run.label for run in one.runs] == ["seed1"]
    assert set(one.runs[0].hashes) == {"config.json", "weights.safetensors"}
    all_runs = resolve_agent(str(trained / "happo" / "SimpleSpread-v0"), SPREAD)
    assert [run.label for run in all_runs.runs] == ["seed1", "seed2"]
    assert isinstance(all_runs.runs[0].load(), Team)


def test_seeds_of_different_settings_are_not_a_sample(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "happo" / "SimpleSpread-v0", tmp_path / "mixed")
    config = folder / "seed2" / "config.json"
    facts = json.loads(config.read_text())
    facts["settings"]["gamma"] = 0.5
    config.write_text(json.dumps(facts))
    words = "seed1 and seed2 differ in settings.*name one of them, such as .*mixed/seed2"
    with pytest.raises(WeightsError, match=words):
        resolve_agent(str(folder), SPREAD)
    assert resolve_agent(str(folder / "seed2"), SPREAD).runs


def test_a_preset_is_all_its_shipped_seeds_or_the_one_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", trained)
    report = evaluate(resolve_agent("happo", SPREAD), SPREAD, episodes=4, workers=0, out=tmp_path)
    assert (report.sample, report.metrics["return"].n, len(report.runs)) == ("runs", 2, 2)
    means = [run.metrics["return"] for run in report.runs]
    assert report.score == pytest.approx(np.mean(means)) and means[0] != means[1]
    assert (tmp_path / "happo" / "SimpleSpread-v0" / "seed2" / "episodes.jsonl").is_file()
    one = resolve_agent("happo@2", SPREAD)
    assert (one.name, [run.label for run in one.runs]) == ("happo@2", ["seed2"])
    with pytest.raises(UnknownName, match="seed2"):
        resolve_agent("happo@3", SPREAD)
    with pytest.raises(AgentError, match="weights for SimpleSpread-v0"):
        resolve_agent("happo", make_task("SimpleReference-v0"))


def test_a_population_comes_back_and_only_for_its_game(trained: Path) -> None:
    folder = str(trained / "psro" / "KuhnPoker-v0" / "seed1")
    assert isinstance(resolve_agent(folder, KUHN).runs[0].load(), Population)
    assert evaluate(resolve_agent(folder, KUHN), KUHN, workers=0).failed == 0
    with pytest.raises(AgentError, match="LeducPoker-v0 is another game"):
        resolve_agent(folder, make_task("LeducPoker-v0")).runs[0].load()


@pytest.mark.parametrize("name", ["Goofspiel4-v0", "openspiel:kuhn_poker"])
def test_an_evaluation_builds_a_population_s_tree_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(name)
    list(session.train("psro", task, steps=2, seed=0, settings={}, out=tmp_path / "run"))
    build, built = GameTree.from_openspiel, []
    monkeypatch.setattr(GameTree, "from_openspiel", lambda game: built.append(game) or build(game))
    trees._game_tree.cache_clear()
    assert evaluate(resolve_agent(str(tmp_path / "run"), task), task, workers=0).failed == 0
    assert len(built) == 1


def test_a_saved_agent_does_not_act_on_other_spaces(seed_folder: Path) -> None:
    task = make_task("SimpleReference-v0")
    with pytest.raises(AgentError, match="agent_2"):
        resolve_agent(str(seed_folder), task).runs[0].load()
    task = make_task("SimpleSpreadContinuous-v0")
    with pytest.raises(AgentError, match=r"18 numbers to 5 logits.*Box"):
        evaluate(resolve_agent(str(seed_folder), task), task, episodes=1, workers=0)


def test_code_of_ones_own_is_called_with_the_task_or_with_nothing() -> None:
    task = counting_task()
    for factory in ("honest", "Honest", "slow"):
        source = resolve_agent(f"tests.evaluation.actors:{factory}", task)
        assert source.label == "code" and set(source.runs[0].hashes) == {"actors.py"}
        assert isinstance(source.runs[0].load(), Honest)
    with pytest.raises(AgentError, match="depends on the task"):
        resolve_agent("tests.evaluation.actors:slow").runs[0].load()


def test_code_that_remembers_between_blocks_gives_the_same_with_any_workers() -> None:
    task = counting_task()
    source = resolve_agent("tests.evaluation.actors:sloppy", task)
    reports = [evaluate(source, task, workers=workers) for workers in (0, 2)]
    assert reports[0].runs == reports[1].runs
    as_object = evaluate(Sloppy(), task, workers=0).runs[0].hashes["episodes.jsonl"]
    assert as_object == reports[0].runs[0].hashes["episodes.jsonl"]


def test_agents_of_one_name_are_each_scored_by_their_own_weights(
    trained: Path, tmp_path: Path
) -> None:
    sources = []
    for seed in ("seed1", "seed2"):
        folder = trained / "happo" / "SimpleSpread-v0" / seed
        copy = shutil.copytree(folder, tmp_path / seed / "same")
        sources.append(resolve_agent(str(copy), SPREAD))
    assert sources[0].name == sources[1].name == "same"
    pool = ProcessPool(1)
    try:
        together = [evaluate(s, SPREAD, episodes=2, backend=pool).score for s in sources]
    finally:
        pool.close()
    apart = [evaluate(source, SPREAD, episodes=2, workers=0).score for source in sources]
    assert together == apart and apart[0] != apart[1]


def test_code_that_draws_while_it_loads_is_one_agent_in_all_blocks_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import random
        import numpy as np
        random.random(), np.random.rand()  # only in the block that imports the module
        class Drawn:
            def __init__(self):
                self.plan = [random.randrange(3), *np.random.randint(0, 3, 11)]
            def begin(self, seeds):
                return 0
            def act(self, observation, state, active):
                return np.full(len(active), self.plan[state], np.int64), state + 1
    """
    (tmp_path / "drawn_agent.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    task = counting_task()
    source = resolve_agent("drawn_agent:Drawn", task)
    reports = [evaluate(source, task, workers=workers) for workers in (0, 2, 0)]
    assert reports[0].failed == 0
    assert all(report.runs == reports[0].runs for report in reports)


def test_a_module_of_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    Path("my_very_own_agent.py").write_text(
        "from tests.evaluation.actors import Honest\nmake = Honest\n"
    )
    task = counting_task()
    assert evaluate(resolve_agent("my_very_own_agent:make", task), task, episodes=3).failed == 0


@pytest.mark.parametrize(
    ("spelling", "error", "message"),
    [
        ("hapo", UnknownName, "did you mean 'happo'"),
        ("runs/nothing-here", AgentError, "no run folder"),
        ("no_such_module:make", AgentError, "no module 'no_such_module'.*onnx: sb3:"),
        ("openai:gpt x", UnknownName, "onnx:"),
        ("onnx:", AgentError, "names nothing"),
        ("onnx:missing.onnx", AgentError, "no ONNX policy at missing.onnx"),
        ("sb3:missing.zip", AgentError, "no Stable-Baselines3 model"),
        ("scripted:assignmnt", UnknownName, "did you mean 'assignment'"),
        ("", AgentError, "the agent's name is empty"),
        ("  ", AgentError, "the agent's name is empty"),
        ("missing.onnx", AgentError, "no file 'missing.onnx'; .*spelled onnx:missing.onnx"),
        ("runs/missing.zip", AgentError, "no file .*spelled sb3:runs/missing.zip"),
    ],
)
def test_an_unknown_spelling_is_one_helpful_line(
    spelling: str, error: type[PkubenchError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        resolve_agent(spelling, SPREAD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "meant"),
    [
        ("policy.onnx", "onnx:{folder}/policy.onnx"),
        ("model.zip", r"sb3:{folder}/model.zip \(with --trust\)"),
        ("team/team.json", "onnx:{folder}/team"),
        ("run/config.json", "{folder}/run"),
        ("run/weights.safetensors", "{folder}/run"),
        ("mine.py", "mine:FACTORY"),
    ],
)
def test_a_file_without_what_says_its_kind_names_the_right_spelling(
    file: str, meant: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    message = f"'{path}' is .*; did you mean {meant.format(folder=tmp_path)}\\?$"
    with pytest.raises(AgentError, match=message):
        resolve_agent(str(path), SPREAD)
    if file == "team/team.json":
        with pytest.raises(AgentError, match=f"did you mean onnx:{path.parent}"):
            resolve_agent(str(path.parent), SPREAD)


def test_a_torch_file_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "actor.pth"
    path.write_bytes(b"")
    with pytest.raises(AgentError, match=r"export it as ONNX \(onnx:FILE\)"):
        resolve_agent(str(path), SPREAD)


def test_random_has_no_training_seeds_to_choose() -> None:
    with pytest.raises(AgentError, match="random is not trained"):
        resolve_agent("random@3", SPREAD)


def test_random_needs_to_know_the_task() -> None:
    with pytest.raises(AgentError, match="name one"):
        resolve_agent("random")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0]}))


def _header(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def _nan(path: Path) -> None:
    saved = load_saved(path.parent)
    config, tensors = saved.config, saved.tensors
    name = next(iter(tensors))
    save_agent(path.parent, config, {**tensors, name: np.full_like(tensors[name], np.nan)})


def _changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("weights.safetensors", _truncate, "corrupt or truncated"),
        ("weights.safetensors", _header, "corrupt or truncated"),
        ("weights.safetensors", _pickle, "is a pickle"),
        ("weights.safetensors", _nan, "NaN or infinity"),
        ("weights.safetensors", _changed, "not the file that was saved with config.json"),
        ("weights.safetensors", Path.unlink, "has no weights.safetensors"),
        ("config.json", _truncate, "not valid JSON"),
        ("config.json", lambda p: p.write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
        ("config.json", lambda p: p.write_text("[]"), "does not describe"),
        ("config.json", lambda p: p.write_text('{"format": 9, "kind": "x"}'), "has format 9"),
        ("config.json", lambda p: p.write_text('{"format": 1, "kind": "x"}'), "of kind 'x'"),
        ("config.json", Path.unlink, "has not finished its training"),
    ],
)
def test_damaged_files_of_a_saved_agent_are_named(
    seed_folder: Path, file: str, damage: Any, message: str
) -> None:
    damage(seed_folder / file)
    with pytest.raises(WeightsError, match=message) as caught:
        evaluate(resolve_agent(str(seed_folder), SPREAD), SPREAD, episodes=1, workers=0)
    assert "\n" not in str(caught.value)


def test_damage_reaches_the_caller_from_a_worker_as_the_same_error(seed_folder: Path) -> None:
    _pickle(seed_folder / "weights.safetensors")
    with pytest.raises(WeightsError, match="is a pickle"):
        evaluate(resolve_agent(str(seed_folder), SPREAD), SPREAD, episodes=1, workers=1)


class Bomb:
    """What a hostile zip might hold: unpickling it leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


def test_a_pickle_renamed_to_safetensors_is_never_opened(seed_folder: Path) -> None:
    mark = seed_folder / "exploded"
    (seed_folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb(str(mark))))
    with pytest.raises(WeightsError):
        resolve_agent(str(seed_folder), SPREAD).runs[0].load()
    assert not mark.exists()


def test_an_sb3_zip_is_refused_without_trust(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"PK\x03\x04 anything")
    task = make_task("HalfCheetahVelocity-v0")
    with pytest.raises(RefusedError, match="--trust"):
        resolve_agent(f"sb3:{path}", task)
    with pytest.raises(WeightsError, match="not a Stable-Baselines3 model: it is not a zip file"):
        resolve_agent(f"sb3:{path}", task, trust=True)


def test_changed_weights_are_another_evaluation(seed_folder: Path, tmp_path: Path) -> None:
    def again() -> None:
        source = resolve_agent(str(seed_folder), SPREAD)
        evaluate(source, SPREAD, episodes=2, workers=0, out=tmp_path / "out")

    again()
    config = json.loads((seed_folder / "config.json").read_text())
    (seed_folder / "config.json").write_text(json.dumps({**config, "note": "retrained"}))
    with pytest.raises(PkubenchError, match=r"called 'mine' too \(config.json there"):
        again()


def test_weights_that_are_not_shipped_come_with_a_training_only_if_the_agent_learns_the_task() -> (
    None
):
    with pytest.raises(AgentError, match="train ippo SimpleSpreadContinuous-v0` makes some"):
        resolve_agent("ippo", make_task("SimpleSpreadContinuous-v0"))
    with pytest.raises(AgentError, match="train ppo PointGoal0-v0` makes some"):
        resolve_agent("ppo", make_task("PointGoal0-v0"))
    for agent, task in (
        ("mappo", "HopperVelocity-v0"),
        ("cpo", "PointGoal0-v0"),
        ("td3-lag", "PointGoal0-v0"),
    ):
        with pytest.raises(AgentError, match="no weights") as refused:
            resolve_agent(agent, make_task(task))
        assert "pkubench train" not in str(refused.value)


def test_a_report_never_mixes_the_runs_of_two_agents(seed_folder: Path, tmp_path: Path) -> None:
    mine, out = resolve_agent(str(seed_folder), SPREAD), tmp_path / "out"
    evaluate(mine, SPREAD, episodes=2, workers=0, out=out)
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    other = tmp_path / "elsewhere" / seed_folder.name
    shutil.copytree(seed_folder, other / "seed7")
    with pytest.raises(PkubenchError, match=r"among those of 'mine' to evaluate now \(run\)"):
        evaluate(resolve_agent(str(other), SPREAD), SPREAD, episodes=2, out=tmp_path / "out")
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_an_interrupted_training_is_named_with_its_resume_command(
    tmp_path: Path,
) -> None:
    begin_training(tmp_path, {"agent": "happo"}, "pkubench train happo T --seed 0", resume=False)
    command = f"pkubench train happo T --seed 0 --out {tmp_path} --resume"
    with pytest.raises(AgentError, match=f"before its first report.; to resume: {command}$"):
        resolve_agent(str(tmp_path), SPREAD)
