"""``pkubench credit``, and the credit that ``pkubench watch`` shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pkubench.tasks.registry import make_task
from pkubench.training.session import train
from tests.cli.conftest import Command

TASK = "AliceAndBob-v0"
SMALL = {
    **{"num_envs": "4", "minibatches": "1", "epochs": "1", "critic_epochs": "1"},
    **{"fit_every": "4", "fit_episodes": "4", "warmup_episodes": "4", "buffer": "16"},
    **{"width": "8", "coalitions": "2", "encoder.hidden": "[8]"},
}
SCORES = ("return_rmse", "return_r2", "time", "agents", "value", "value_rmse", "spread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    for _ in train("stas", make_task(TASK), seed=0, out=folder, steps=160, settings=SMALL):
        pass
    return folder


def test_it_prints_a_table_of_80_columns_and_draws_an_episode(
    pkubench: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = pkubench("credit", str(run), "--episodes", "3", "--out", "map.svg")
    assert said.code == 0, said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())
    for word in ("own", "random", "scripted:optimum", "RMSE", "spread", "3 episodes"):
        assert word in said.out
    assert said.out.rstrip().endswith("map.svg") and Path("map.svg").stat().st_size > 1000


def test_scores_are_shown_where_the_figure_cannot_be_written(pkubench: Command, run: Path) -> None:
    Path("file").write_text("no folder")
    words = ("--episodes", "2", "--policies", "own", "--out", "file/map.svg")
    said = pkubench("credit", str(run), *words)
    assert said.code == 2 and "spread" in said.out
    assert "error: cannot write the figure file/map.svg" in said.err
    assert "Traceback" not in said.err


def test_json_has_the_scores_of_every_run_and_policy(pkubench: Command, run: Path) -> None:
    words = ("credit", str(run), TASK, "--policies", "scripted:optimum,own", "--episodes", "2")
    found = pkubench(*words, "--json").json
    assert (found["schema"], found["task"]) == (1, f"pkubench/{TASK}")
    assert list(found["policies"]) == ["scripted:optimum", "own"]
    assert [(of["run"], of["policy"]) for of in found["runs"]] == [
        ("run", "scripted:optimum"),
        ("run", "own"),
    ]
    optimum = found["policies"]["scripted:optimum"]
    assert set(optimum) == {"episodes", *SCORES} and optimum["episodes"] == 2
    # Its episodes are all alike: no variance to explain. Corrected models repeat themselves.
    assert optimum["return_r2"] is None and optimum["spread"] == 0.0
    assert pkubench(*words, "--json").json == found
    # Other seeds are other episodes of the policy itself.
    assert pkubench(*words, "--json", "--seed", "1").json["policies"]["own"] != found["policies"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("random", TASK), "random is not a saved agent"),
        (("random",), "name one, as in `pkubench credit random TASK`"),
        ((TASK,), f"{TASK} is a task; the agent comes first: pkubench credit AGENT {TASK}"),
        (("runs/nowhere",), "there is no run folder runs/nowhere"),
        (("RUN", "--out", "map.pdf"), "figures are .svg or .png files"),
        (("RUN", "--policies", ","), "--policies names none"),
        (("RUN", "--policies", "nobody"), "nobody"),
        (("RUN", "Navigation3-v0"), "was trained on"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(
    pkubench: Command, run: Path, words: tuple[str, ...], line: str
) -> None:
    said = pkubench("credit", *(str(run) if word == "RUN" else word for word in words))
    assert said.code == 2 and said.out == ""
    assert line in said.err.splitlines()[-1] and said.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("verb", ["watch", "export"])
def test_a_verb_without_a_task_asks_for_one_unless_a_run_folder_has_it(
    pkubench: Command, run: Path, verb: str
) -> None:
    said = pkubench(verb, "random")
    assert said.code == 2 and f"as in `pkubench {verb} random TASK`" in said.err
    said = pkubench(verb, str(run), "--out" if verb == "watch" else "--onnx", "x.bad")
    assert "no task given" not in said.err


def test_a_film_shows_the_credit_below_where_the_run_folder_has_it(
    pkubench: Command, run: Path
) -> None:
    from PIL import Image

    heights = {}
    shutil.copytree(run, "bare")
    Path("bare/credit.safetensors").unlink()
    for name, folder in (("with", str(run)), ("without", "bare")):
        said = pkubench("watch", folder, "--out", f"{name}.gif", "--speed", "8", "-q")
        assert said.code == 0, said.err
        with Image.open(f"{name}.gif") as film:
            heights[name] = film.size[1]
    # A line of text above two rows of 22 pixels, one below, and margins.
    assert heights == {"without": 432, "with": 432 + 2 * 6 + 2 * 18 + 2 * 22}
