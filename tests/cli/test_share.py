"""From an evaluation to a board: verify, export, bundle, submit, leaderboard, reproduce, watch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pkubench.cli.main import main
from pkubench.cli.submit import board_place
from tests.cli.conftest import Command
from tests.conftest import play_in_process

KUHN = "KuhnPoker-v0"
SPREAD = "SimpleSpread-v0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five runs of a game learner and their evaluation, and one of random."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        play_in_process(patch)
        assert main(["train", "psro", KUHN, "--seeds", "0-4", "--out", "mine", "-q"]) == 0
        assert main(["evaluate", "mine", "--out", "results", "-q"]) == 0
        words = ["evaluate", "random", SPREAD, "--episodes", "20", "--out", "results", "-q"]
        assert main(words) == 0
    return folder


@pytest.fixture
def here(made: Path, pkubench: Command, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.usefixtures("in_process")
def test_results_that_were_not_touched_are_verified_and_run_again(
    pkubench: Command, here: Path
) -> None:
    said = pkubench("verify", "results", "--rerun", 1, "--agent", "mine", "--json")
    assert said.code == 0, said.err  # --agent applies to its own entry; random is found by name
    assert "again came out as the same bytes" in said.json["checked"][1]["found"][1]
    said = pkubench("verify", "results/random", "--rerun", 1, "--agent", "mine")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    said = pkubench("verify", "results/random", "--rerun", 20, "--json")
    assert said.code == 0, said.err
    [row] = said.json["checked"]
    assert row["found"][1] == "20 of 20 episodes played again came out as the same bytes"
    said = pkubench("verify", "results/mine", "--rerun", 1, "--agent", "mine")
    assert said.code == 0, said.err
    assert "5 of 5 scores computed again came out as the same bytes" in said.out


def test_a_changed_line_is_found(pkubench: Command, here: Path) -> None:
    lines = Path(f"results/random/{SPREAD}/run/episodes.jsonl")
    first, *rest = lines.read_text().splitlines(keepends=True)
    record = json.loads(first)
    record["return"] += 1.0
    lines.write_text(json.dumps(record) + "\n" + "".join(rest))
    said = pkubench("verify", "results")
    assert said.code == 1
    assert "wrong" in said.out
    assert "the lines give" in said.out


def test_a_torn_file_is_found(pkubench: Command, here: Path) -> None:
    lines = Path(f"results/random/{SPREAD}/run/episodes.jsonl")
    lines.write_bytes(lines.read_bytes()[:-10])
    said = pkubench("verify", "results", "--json")
    assert said.code == 1
    [row] = [row for row in said.json["checked"] if not row["ok"]]
    assert "torn line" in row["found"][0]


def test_a_bundle_goes_to_a_board_and_the_board_to_a_site(pkubench: Command, here: Path) -> None:
    said = pkubench(
        "bundle", "results/mine", "mine", "--out", "mine.zip", "--name", "Mine", "--json"
    )
    assert said.code == 0, said.err
    digest = said.json["digest"]
    assert "report, records and weights agree" in pkubench("verify", "mine.zip").out

    said = pkubench("submit", "mine.zip", "--board", "board", "--json")
    assert said.code == 0, said.err
    assert said.json["submission"] == digest
    assert said.json["tasks"]["pkubench/KuhnPoker-v0"]["tier"] == "verified-weights"
    assert Path("board/board.sqlite").is_file()
    assert "was already on" in pkubench("submit", "mine.zip", "--board", "board", "--no-rerun").out
    assert "5 of 5 scores computed again" in said.json["tasks"]["pkubench/KuhnPoker-v0"]["reason"]

    said = pkubench("leaderboard", "show", "--board", "board", "--json")
    [task] = said.json["tasks"]
    [standing] = task["standings"]
    assert (standing["name"], standing["rank"], standing["seeds"]) == ("Mine", 1, 5)
    assert "verified-weights" in pkubench("leaderboard", "show", KUHN, "--board", "board").out

    assert pkubench("leaderboard", "export", "site", "--board", "board").code == 0
    assert "Mine" in Path("site/index.html").read_text()


def test_a_bundle_that_is_verified_already_is_not_run_again(
    pkubench: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkubench.leaderboard.submissions import verify

    pkubench("bundle", "results/mine", "mine", "--out", "mine.zip")
    assert pkubench("submit", "mine.zip", "--no-rerun").code == 0
    said = pkubench("submit", "mine.zip")  # it was not run yet
    assert "the same bytes were on board.sqlite already: it was run again" in said.err
    assert (
        "verified-weights" in said.out
        and "5 scores of 5 runs of mine on pkubench/KuhnPoker-v0, computed again" in said.err
    )
    monkeypatch.setattr(verify, "verify_bundle", None)
    for words in ((), ("--no-rerun",)):
        said = pkubench("submit", "mine.zip", *words)
        assert (said.code, "running" in said.err) == (0, False)
        assert "the same bytes were on board.sqlite already: nothing was run again" in said.err
        assert "was already on board.sqlite" in said.out and "verified-weights" in said.out


def test_a_board_can_be_made_of_results(pkubench: Command, here: Path) -> None:
    said = pkubench("leaderboard", "show", "--results", "results", "--weights", "mine")
    assert said.code == 0, said.err
    assert "a baseline that is not trained" in said.out
    assert pkubench("leaderboard", "export", "site", "--results", "results").code == 0


def test_a_forged_bundle_is_refused(pkubench: Command, here: Path) -> None:
    Path("mine.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for verb in ("submit", "verify"):
        said = pkubench(verb, "mine.zip")
        assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
        assert "not a zip file" in said.err
    assert not Path("board.sqlite").exists()


def test_weights_that_do_something_else_are_refused_with_exit_code_1(
    pkubench: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
    from pkubench.leaderboard.submissions import verify

    contradicted = Verdict(Tier.SELF_REPORTED, "produced different episodes", is_contradicted=True)
    monkeypatch.setattr(
        verify, "verify_bundle", lambda bundle, **_: Verification({"pkubench/x": contradicted})
    )
    assert pkubench("bundle", "results/mine", "mine", "--out", "mine.zip").code == 0
    said = pkubench("submit", "mine.zip")
    assert said.code == 1
    assert "is refused: produced different episodes" in said.err
    assert not Path("board.sqlite").exists()


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, "board.sqlite"),
        ("boards", "boards/board.sqlite"),
        ("my.db", "my.db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_a_board_is_a_file_a_folder_or_a_url(
    given: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PKUBENCH_BOARD", raising=False)
    assert board_place(given) == place


def test_the_environment_names_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKUBENCH_BOARD", "sqlite:///shared.db")
    assert board_place(None) == "sqlite:///shared.db"


def test_reproduce_prints_and_repeats_the_command(pkubench: Command, here: Path) -> None:
    command = "pkubench train psro pkubench/KuhnPoker-v0 --steps 300 --seed 3"
    said = pkubench("reproduce", "mine/seed3")
    assert said.out == f"{command}\n"
    said = pkubench("reproduce", "mine/seed3", "--run", "--json", "--quiet")
    assert said.code == 0, said.err
    assert said.json["commands"][0]["result"] == "the same weights, byte for byte"


def test_reproduce_runs_no_foreign_command(pkubench: Command) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text('{"command": "touch ran"}')
    said = pkubench("reproduce", "run", "--run")
    assert said.code == 2
    assert "only run by hand" in said.err
    assert not Path("ran").exists()


def test_watch_films_environments_and_games(pkubench: Command, here: Path) -> None:
    said = pkubench("watch", "random", SPREAD, "--out", "film.mp4", "--json")
    assert said.code == 0, said.err
    first = Path(f"results/random/{SPREAD}/run/episodes.jsonl").read_text().splitlines()[0]
    assert said.json["episodes"][0]["seed"] == json.loads(first)["seed"]
    assert said.json["episodes"][0]["return"] == pytest.approx(json.loads(first)["return"])
    assert Path("film.mp4").read_bytes()[4:8] == b"ftyp"
    said = pkubench("watch", "mine", KUHN, "--out", "game.gif", "--episodes", 2)
    assert said.code == 0, said.err
    assert Path("game.gif").read_bytes().startswith(b"GIF89a")
    assert not list(Path().glob(".partial*"))


def test_a_film_that_the_disk_cut_short_is_no_success(
    pkubench: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import imageio_ffmpeg

    def unreadable(path: str) -> None:
        raise RuntimeError("moov atom not found")

    monkeypatch.setattr(imageio_ffmpeg, "count_frames_and_secs", unreadable)
    said = pkubench("watch", "random", "KuhnPoker-v0", "--out", "cut.mp4")
    assert said.code == 2
    assert "cannot write cut.mp4: the film broke off" in said.err
    assert not list(here.glob("*cut.mp4"))


def test_a_film_that_fails_leaves_nothing(
    pkubench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pkubench.cli.filming.Reel.hold", fail)
    assert pkubench("watch", "random", SPREAD, "--out", "film.mp4").code == 130
    assert not list(Path().glob("*film*"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("watch", "random", SPREAD, "--out", "film.avi"), ".mp4 or .gif"),
        (("bundle", "mine", "--out", "x.zip"), "runs without records"),
        (("bundle", "nowhere", "--out", "x.zip"), "there are no records in nowhere"),
        (("bundle", "results/mine", "--out", "x.zip"), "name their folder with --weights"),
        (("bundle", "results"), "--out"),
        (("leaderboard", "show"), "there is no board at board.sqlite"),
        (("leaderboard", "show", "--weights", "mine"), "--weights belongs to --results"),
        (("leaderboard", "shwo"), "Did you mean 'show'"),
        (("verify", "nowhere"), "there is nothing at nowhere"),
        (("verify", "mine"), "holds no records"),
        (("verify", "results", "--agent", "mine"), "add --rerun N"),
        (("reproduce", "hapo"), "did you mean 'happo'"),
        (("export", "random", SPREAD, "--onnx", "mine"), "--overwrite replaces it"),
        (("export", "random", SPREAD), "--onnx"),
    ],
    ids=" ".join,
)
def test_misuse_is_one_line_and_exit_code_2(
    pkubench: Command,
    here: Path,
    words: tuple[str, ...],
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PKUBENCH_BOARD", raising=False)
    said = pkubench(*words)
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert part in said.err
