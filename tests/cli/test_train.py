"""``pkubench train`` around a learner that only counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pkubench.agents.saved.runs import begin_training, has_checkpoint
from pkubench.training.progress import Progress
from tests.cli.conftest import Command, Tiny

TASK = "SimpleSpread-v0"
ROOT = Path(__file__).parents[2]


STEPS = ("--steps", 40)


def steps_of(folder: str) -> int:
    steps: int = json.loads(Path(folder, "config.json").read_text())["steps"]
    return steps


def test_a_run_goes_to_its_own_folder_and_names_the_next_command(
    pkubench: Command, tiny: list[Mapping[str, Any]]
) -> None:
    said = pkubench("train", "tiny", TASK, "--seed", 3, "--set", "gamma=0.9", *STEPS)
    assert said.code == 0, said.err
    assert steps_of("runs/tiny-SimpleSpread-v0-seed3") == 40
    assert "pkubench evaluate runs/tiny-SimpleSpread-v0-seed3 SimpleSpread-v0" in said.err
    assert tiny == [{"steps": 40, "seed": 3, "gamma": 0.9}]


def test_json_is_one_document_about_every_run(
    pkubench: Command, tiny: list[Mapping[str, Any]]
) -> None:
    words = ("--seeds", "0-1,5", "--out", "many", "--json", *STEPS)
    said = pkubench("train", "tiny", TASK, *words)
    runs = said.json["runs"]
    assert [run["seed"] for run in runs] == [0, 1, 5]
    assert [run["out"] for run in runs] == ["many/seed0", "many/seed1", "many/seed5"]
    assert runs[0]["steps"] == 40
    assert runs[0]["metrics"]["return"] == 20
    assert "tiny SimpleSpread-v0 seed 5  100 %  40/40 steps  return 20" in said.err


def test_a_folder_in_use_is_never_written_over(
    pkubench: Command, tiny: list[Mapping[str, Any]]
) -> None:
    assert pkubench("train", "tiny", TASK, "--out", "run", *STEPS).code == 0
    said = pkubench("train", "tiny", TASK, "--out", "run", "--steps", 10)
    assert said.code == 2
    assert "--resume" in said.err
    assert steps_of("run") == 40


def test_resume_needs_something_to_resume(pkubench: Command, tiny: list[Any]) -> None:
    said = pkubench("train", "tiny", TASK, "--out", "run", "--resume")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "no run to resume in run" in said.err


def signalled(monkeypatch: pytest.MonkeyPatch, at: int, *numbers: int) -> None:
    """Let ``tiny`` get signals in the update after which ``at`` steps are done."""
    iterate = Tiny.iterate

    def interrupted(self: Tiny) -> Mapping[str, float]:
        figures = iterate(self)
        if self.counters.environment_steps == at:
            for number in numbers:
                os.kill(os.getpid(), number)
        return figures

    monkeypatch.setattr(Tiny, "iterate", interrupted)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize("names_all", [True, False])
def test_a_signal_leaves_a_run_that_resume_finishes(
    pkubench: Command,
    tiny: list[Mapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: int,
    names_all: bool,
) -> None:
    with monkeypatch.context() as patch:
        signalled(patch, 20, number)
        said = pkubench("train", "tiny", TASK, "--out", "run", *STEPS)
    assert said.code == code
    resume = "pkubench train tiny SimpleSpread-v0 --out run --steps 40 --resume"
    assert (
        said.err.splitlines()[-1] == f"stopped at step 20 of 40, saved in run; to resume: {resume}"
    )
    assert "Traceback" not in said.err
    assert has_checkpoint(Path("run")) and not Path("run/config.json").exists()
    words = resume.split()[1:] if names_all else ["train", "--resume", "--out", "run", "--json"]
    said = pkubench(*words)
    assert said.code == 0, said.err
    assert names_all or said.json["runs"][0]["steps"] == 40
    assert steps_of("run") == 40 and not has_checkpoint(Path("run"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_folder_alone_is_resumed_if_it_says_one_command(
    pkubench: Command, tiny: list[Any]
) -> None:
    for words, part in [
        (("--out", "run"), "name an AGENT and a TASK"),
        (("tiny", "--out", "run", "--resume"), "name an AGENT and a TASK"),
        (("--resume",), "name an AGENT and a TASK"),
        (("--out", "run", "--resume"), "run holds no run that records which command"),
        (("--out", "many", "--resume"), "many holds several runs: name one of them, such as many/"),
    ]:
        if "many" in words:
            pkubench("train", "tiny", TASK, "--seeds", "0-1", "--out", "many", *STEPS)
        said = pkubench("train", *words)
        assert (said.code, len(said.err.splitlines())) == (2, 1)
        assert part in said.err


def test_a_second_ctrl_c_stops_at_once(
    pkubench: Command, tiny: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, 20, signal.SIGINT, signal.SIGINT)
    said = pkubench("train", "tiny", TASK, "--out", "run", *STEPS)
    assert said.code == 130
    assert "stopped immediately" in said.err
    assert "--resume" in said.err
    assert not has_checkpoint(Path("run"))


def test_a_run_killed_before_its_first_checkpoint_starts_from_scratch(
    pkubench: Command, tiny: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signalled(patch, 10, signal.SIGINT, signal.SIGINT)
        pkubench("train", "tiny", TASK, "--out", "run", *STEPS)
    said = pkubench("train", "tiny", TASK, "--out", "run", *STEPS, "--resume")
    assert said.code == 0
    assert "stopped before its first checkpoint: it starts from scratch" in said.err
    assert steps_of("run") == 40


def test_every_verb_knows_a_stopped_run_and_how_to_resume_it(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_run("run")
    command = f"pkubench train happo pkubench/{TASK} --steps 400 --seed 3"
    resume_command = f"{command} --out run --resume"
    for words in (("evaluate", "run"), ("evaluate", "run", TASK), ("reproduce", "run")):
        said = pkubench(*words)
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            "error: run has not finished its training (step 20 of 400); to resume: "
            f"{resume_command}\n"
        )
    said = pkubench("show", "run")
    assert said.code == 0
    assert "step 20 of 400" in said.out
    assert "gamma=0.9" in said.out
    assert f"next: {resume_command}" in said.err
    assert pkubench("show", "run", "--json").json["command"] == command
    assert pkubench("plot", "run", "--json").json["figures"] == [f"plots/{TASK}-return-curve.svg"]
    said = pkubench("train", "happo", TASK, "--steps", 60, "--out", "run", "--resume")
    assert said.code == 2
    assert f"another seed (3, not 0); resume it with its original settings: {resume_command}" in (
        said.err
    )
    Path("many/seed2").mkdir(parents=True)
    Path("many/seed2/config.json").write_text(json.dumps({"agent": "happo", "task": TASK}))
    Path("run").rename("many/seed3")
    said = pkubench("show", "many")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert f"seed2 happo {TASK} finished" in lines
    assert f"seed3 happo {TASK} not finished: step 20 of 400" in lines
    assert len(pkubench("show", "many", "--json").json["runs"]) == 2
    assert "many/seed2 does not hold the command" in pkubench("reproduce", "many").err
    assert "many/seed3 --resume" in pkubench("reproduce", "many/seed3").err


def stopped_run(folder: str) -> None:
    identity = {"agent": "happo", "task": f"pkubench/{TASK}", "seed": 3, "total_steps": 400}
    identity["settings"] = {"gamma": 0.9}
    command = f"pkubench train happo pkubench/{TASK} --steps 400 --seed 3"
    begin_training(Path(folder), identity, command, resume=False)
    lines = [json.dumps({"steps": n, "return": n}) for n in (10, 20)]
    Path(folder, "training.jsonl").write_text("\n".join(lines) + '\n{"ste')


def test_a_finished_run_is_not_trained_again(pkubench: Command, tiny: list[Any]) -> None:
    words = ("train", "tiny", TASK, "--out", "run", *STEPS)
    assert pkubench(*words).code == 0
    said = pkubench(*words, "--resume")
    assert (said.code, said.out) == (0, "")
    assert "run is finished: nothing was left to train" in said.err
    [run] = pkubench(*words, "--resume", "--json").json["runs"]
    assert (run["steps"], run["metrics"]["return"]) == (40, 20.0)


def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training be over immediately."""

    def over(asked: Any, outs: Any, **how: Any) -> Iterator[list[Progress]]:
        yield [Progress(asked.total, asked.total, {"return": 1.0}) for _ in outs]

    monkeypatch.setattr("pkubench.cli.train.run_request", over)


def test_what_is_allowed_but_rarely_intended_is_noted(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained(monkeypatch)
    words = ("--out", "run", "--steps", 8192)
    said = pkubench("train", "happo", "HalfCheetahVelocity-v0", *words)
    assert "happo is unconstrained: it ignores the cost, which HalfCheetahVelocity" in said.err
    assert "limits to 25" in said.err
    assert "HalfCheetahVelocity-v0 has one agent, but happo is a multi-agent learner" in said.err
    said = pkubench("train", "ppo-lag", "HalfCheetahVelocity-v0", "--out", "run2", "--steps", 4096)
    assert "note:" not in said.err
    said = pkubench("train", "happo-lag", "HalfCheetahVelocity-v0", "--out", "r8", *words[2:])
    assert "HalfCheetahVelocity-v0 has one agent, but happo-lag is" in said.err
    assert "note:" not in pkubench("train", "happo", TASK, "--out", "run3", "--steps", 4000).err
    limited = ("HalfCheetahVelocity-v0", "--steps", 5000, "--out")
    said = pkubench("train", "ppo-lag", *limited, "run4", "--set", "cost_limit=10")
    assert "training uses a cost limit of 10; HalfCheetahVelocity-v0 scores" in said.err
    assert "at its own limit of 25" in said.err
    assert "note:" not in pkubench("train", "ppo-lag", *limited, "r5", "--set", "cost_limit=25").err
    said = pkubench("train", "ppo-lag", "HalfCheetahVelocity-v0", "--out", "r6", "--steps", 4095)
    assert "note: it trains 4,096 steps at a time, so --steps 4095 trains as many" in said.err
    said = pkubench("train", "sac-lag", "HalfCheetahVelocity-v0", "--out", "r7", "--steps", 399)
    assert "note: it trains 400 steps at a time, so --steps 399 trains as many" in said.err


def test_a_setting_without_effect_is_refused_or_named(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained(monkeypatch)

    def notes(agent: str, task: str, *pairs: str) -> list[str]:
        changes = [word for pair in pairs for word in ("--set", pair)]
        out = f"run-{agent}-{'-'.join(pairs)}"
        said = pkubench("train", agent, task, "--steps", 8192, *changes, "--out", out)
        return [line for line in said.err.splitlines() if "no effect" in line]

    limited = "PointGoal1-v0"
    assert notes("ppo-lag", limited, "kappa=3", "lambda_lr=0.1") == [
        "error: kappa has no effect here: it is a setting of constraint=p3o, and this is "
        "constraint=lagrangian"
    ]
    assert not notes("ppo-lag", limited, "kappa=3", "constraint=p3o")
    assert notes("sac", limited, "alpha_auto=false", "alpha_lr=0.1") == [
        "note: alpha_lr has no effect here; used only with alpha_auto=true"
    ]
    assert notes("psro", "KuhnPoker-v0", "updates=3") == [
        "error: updates has no effect here: it is a setting of oracle=dqn or oracle=softmax, and "
        "this is oracle=exact"
    ]


def test_a_training_without_a_whole_episode_says_why_it_has_no_return(pkubench: Command) -> None:
    words = ("train", "ppo-lag", "PointGoal1-v0", "--steps", 64, "--set", "rollout_steps=4")
    words = (*words, "--validate", 0)
    said = pkubench(*words, "--set", "minibatches=1", "--out", "run")
    assert said.code == 0, said.err
    assert "no episode ended in 64 steps, so no return was measured" in said.err
    assert "pkubench evaluate run PointGoal1-v0" in said.err
    assert "pkubench plot" not in said.err
    said = pkubench(*words, "--set", "minibatches=1", "--steps", 65, "--out", "longer")
    assert "no episode ended in 128 steps" in said.err  # whole updates
    Path("file").touch()
    for more in ((), ("--resume",)):
        said = pkubench(*words, "--out", "file", *more)
        assert said.code == 2 and "file is a file; --out names the folder of a run" in said.err
    assert "no episode had ended yet" in pkubench("plot", "run").err
    said = pkubench("plot", "run", "--kind", "cost")
    assert "from results, and here are runs; first: pkubench evaluate RUN PointGoal1" in said.err


def test_steps_may_be_written_with_an_exponent(pkubench: Command, tiny: list[Any]) -> None:
    assert pkubench("train", "tiny", TASK, "--out", "run", "--steps", "1e2").code == 0
    assert tiny[0]["steps"] == 100


def test_ctrl_c_in_a_shell_leaves_a_run_that_resume_finishes(
    tmp_path: Path, endless: Callable[..., subprocess.Popen[str]]
) -> None:
    process = endless("--out", "run", writes="run")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("--resume")
    assert has_checkpoint(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("train", "hapo", TASK), "did you mean 'happo'"),
        (("train", "tiny", "SimpleSpred"), "did you mean 'pkubench/SimpleSpread-v0'"),
        (("train", "random", TASK), "these are: happo, mappo, ippo, hatrpo, haa2c, and more in"),
        (
            ("train", "ppo", TASK),
            "diagnostics, alignment and grasp tasks, and this is one of marl",
        ),
        (("train", "ppo", TASK), "agents for it: happo, mappo, ippo, hatrpo, haa2c; `pkubench"),
        (("train", "hasac-lag", "MultiHalfCheetah2x3-v1"), "'MultiHalfCheetah2x3Velocity-v1'? ag"),
        (("train", "tiny", TASK, "--seed", "3", "--seeds", "0-4"), "--seed and --seeds both"),
        (("train", "tiny", TASK, "--seed", str(2**63)), "does not lie in 0..2**63 - 1"),
        (("train", "tiny", TASK, "--seeds", f"1,{2**63}"), "seed must lie in 0..2**63 - 1"),
        (("train", "tiny", TASK, "--seeds", "0-1000"), "more than 1,000 seeds"),
        (("train", "tiny", TASK, "--steps", "1e5x"), "'1e5x' is not a whole number such as"),
        (("train", "tiny", TASK, "--steps", "0.5"), "is not a whole number such as 100000 or 1e5"),
        (("train", "tiny", TASK, "--steps", "1e999999999"), "does not lie in 1..2**63 - 1"),
        (("train", "tiny", TASK, "--set", "gamma"), "--set 'gamma' is not KEY=VALUE"),
        (("train", "tiny", TASK, "--set", "a=1", "--set", "a=2"), "--set a is given twice"),
        (("train", "tiny", TASK, "--seeds", "4-x"), "is not a list of seeds"),
        (("train", "tiny", TASK, "--seeds", "4-2"), "names no seed"),
        (("train", "tiny", TASK, "--device", "tpu"), "choose cpu or cuda"),
        (("train", "tiny", TASK, "--steps", "0"), "--steps"),
        (("train", "tiny"), "TASK"),
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_code_2(
    pkubench: Command, tiny: list[Any], words: tuple[str, ...], part: str
) -> None:
    said = pkubench(*words)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert part in said.err
    assert said.out == ""
    assert not tiny


@pytest.mark.parametrize("flag", ["--batch-seeds", "--together"])
def test_seeds_trained_side_by_side_are_ordinary_runs(pkubench: Command, flag: str) -> None:
    tiny = ["num_envs=2", "train_interval=5", "warmup_steps=20", "hidden=[8]", "batch_size=8"]
    changes = [word for setting in tiny for word in ("--set", setting)]
    words = ("train", "hatd3", "SimpleSpreadContinuous-v0", "--seeds", "4,9", flag)
    said = pkubench(*words, "--steps", 60, "--out", "many", "--json", *changes)
    assert said.code == 0, said.err
    assert ("--together is called --batch-seeds now" in said.err) == (flag == "--together")
    assert [(run["seed"], run["steps"]) for run in said.json["runs"]] == [(4, 60), (9, 60)]
    for seed in (4, 9):
        config = json.loads(Path(f"many/seed{seed}/config.json").read_text())
        assert config["seed"] == seed
        assert "--seeds 4,9 --batch-seeds" in config["command"]
        assert len(config["validation"]["points"]) == 6
    said = pkubench("train", "happo", TASK, "--seeds", "0-1", flag)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "one seed at a time" in said.err
    said = pkubench("train", "--resume", "--out", "many")
    assert "many/seed4 is finished" in said.err and "many/seed9 is finished" in said.err


def test_validation_is_set_by_flags_and_said_by_the_command(pkubench: Command) -> None:
    words = ["train", "happo", TASK, "--steps", 64, "--out", "run", "--json"]
    for setting in ("num_envs=2", "rollout_steps=8", "hidden=[8]"):
        words += ["--set", setting]
    flags = ["--validate", 2, "--validation-episodes", 3, "--window", 1, "--keep", "best"]
    said = pkubench(*words, *flags, "--track", "tensorboard")
    assert said.code == 0, said.err
    assert "validation_return" in said.json["runs"][0]["metrics"]
    config = json.loads(Path("run/config.json").read_text())
    assert [point["at"] for point in config["validation"]["points"]] == [32, 64]
    assert (config["validation"]["episodes"], config["saved"]["rule"]) == (3, "best")
    assert config["command"].endswith(" ".join(map(str, flags)))
    assert list(Path("run/tensorboard").iterdir())
    for more, part in (
        (("--validate", 0, "--keep", "best"), "needs validation"),
        (("--validate", 2, "--window", 3), "a window of 3 needs as many points"),
        (("--keep", "first"), "must be last or best"),
        (("--track", "tensorbord"), "did you mean 'tensorboard'"),
        (("--input", "teacher"), "--input 'teacher' is not KEY=VALUE"),
        (("--input", "teacher=x"), "happo has no input 'teacher'"),
    ):
        said = pkubench(*words[:4], 64, "--out", "other", *more)
        assert (said.code, len(said.err.splitlines())) == (2, 1)
        assert part in said.err
    assert not Path("other").exists()


ENDLESS = """
import sys, time
from pkubench.agents.registry import families
from pkubench.cli import main
from tests.cli.conftest import Tiny, register_tiny

def iterate(self):
    time.sleep(0.05)
    return Tiny_iterate(self)

register_tiny()
Tiny_iterate, Tiny.iterate = Tiny.iterate, iterate
sys.exit(main.main(sys.argv[1:]))
"""
"""A pkubench whose agent ``tiny`` trains until it is killed."""


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a training that never ends, in the test's folder, once it has written its files."""
    running = []

    def start(*words: str, writes: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-c", ENDLESS, "train", "tiny", TASK, *words]
        program += ["--steps", "1000000"]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths}
        process = subprocess.Popen(
            program, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
        )
        running.append(process)
        deadline = time.monotonic() + 60
        while not (tmp_path / writes / "training.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_nobody_else_trains_into_the_folders_of_a_training_until_it_ends_or_is_killed(
    pkubench: Command, tiny: list[Any], endless: Callable[..., subprocess.Popen[str]]
) -> None:
    first = endless("--seeds", "0-1", "--batch-seeds", "--out", "many", writes="many/seed1")
    for words, held in [
        (("--seeds", "0-1", "--resume"), "seed0"),
        (("--seeds", "0-1"), "seed0"),
        (("--seed", "1", "--out", "many/seed1", "--resume"), "seed1"),
        (("--seed", "1", "--out", "many/seed1"), "seed1"),
        (("--seeds", "2,1", "--resume"), "seed1"),  # the first of these two is free
    ]:
        said = pkubench("train", "tiny", TASK, "--out", "many", *words)
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            f"error: another process is training into many/{held}; wait until it ends, stop it, "
            "or choose another --out\n"
        )
    assert not tiny and not Path("many/seed2").exists() and first.poll() is None
    first.kill()
    first.wait()
    assert "is not empty" in pkubench("train", "tiny", TASK, "--out", "many/seed0").err
    words = ("--seeds", "0-1", "--out", "many", "--resume", "--steps", 1000000)
    said = pkubench("train", "tiny", TASK, *words, "--set", "stride=500000")
    assert "another process" not in said.err and "other settings: stride" in said.err


def test_seeds_that_wait_for_their_turn_are_held_too(
    pkubench: Command, tiny: list[Any], endless: Callable[..., subprocess.Popen[str]]
) -> None:
    endless("--seeds", "0-1", "--out", "many", writes="many/seed0")
    said = pkubench("train", "tiny", TASK, "--seed", "1", "--out", "many/seed1")
    assert "another process is training into many/seed1" in said.err
    said = pkubench("train", "tiny", TASK, "--seed", "7", "--out", "many/seed7", *STEPS)
    assert said.code == 0


def test_what_a_stopped_command_did_not_get_to_leaves_no_folder(
    pkubench: Command, tiny: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, 10, signal.SIGINT)
    words = ("--seeds", "0-2", "--out", "many", *STEPS)
    assert pkubench("train", "tiny", TASK, *words).code == 130
    assert [path.name for path in Path("many").iterdir()] == ["seed0"]


def test_a_bad_setting_is_reported_before_a_folder_in_use(pkubench: Command) -> None:
    stopped_run("run")
    for agent, task, words, part in [
        ("happo", TASK, ("--set", "gama=1"), "happo has no setting 'gama'; did you mean 'gamma'?"),
        ("happo", TASK, ("--set", "gamma=hot"), "gamma='hot' does not fit: it must be a number"),
        ("happo", TASK, ("--set", "gamma=2"), "gamma"),
        ("psro", "KuhnPoker-v0", ("--set", "iterations=x"), "iterations='x' does not fit"),
    ]:
        for more in ((), ("--quiet",)):
            said = pkubench("train", agent, task, *words, *more, "--out", "run")
            assert (said.code, len(said.err.splitlines())) == (2, 1)
            assert part in said.err and "--resume" not in said.err
