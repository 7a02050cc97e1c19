"""Populations as files: written, read, refused with the first wrong state, scored, submitted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyspiel
import pytest

import pkubench
from pkubench.agents.contract import Population
from pkubench.agents.resolve.loading import load_agent, resolve_agent
from pkubench.agents.saved import population_content
from pkubench.agents.saved.population_file import (
    read_population,
    read_unbuilt_population,
    write_population,
)
from pkubench.envs.games.spelling import is_same_game
from pkubench.envs.games.tree import GameTree
from pkubench.envs.games.trees import game_tree, registered_game
from pkubench.errors import AgentError, BundleError, StorageError, WeightsError
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle, rank_task, read_bundle, verify_bundle
from pkubench.leaderboard.board.tiers import Tier, Verification
from pkubench.leaderboard.submissions.weights import check_weights
from pkubench.tasks.registry import make_task
from pkubench.training.session import train

TREE, TASK = game_tree("kuhn_poker"), make_task("KuhnPoker-v0")
KUHN = "pkubench/KuhnPoker-v0"


def population() -> Population:
    rng = np.random.default_rng(0)
    members = [
        [TREE.behaviour(TREE.random_plan(player, rng), player) for _ in range(count)]
        for player, count in ((0, 3), (1, 2))
    ]
    return Population(
        (members[0], members[1]), (np.array([0.5, 0.125, 0.375]), np.array([0.25, 0.75]))
    )


def plans(entrant: Population) -> list[np.ndarray]:
    return [
        np.stack([TREE.realization_plan(policy, player) for policy in entrant.policies[player]])
        for player in (0, 1)
    ]


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_population_survives_its_file(tmp_path: Path, suffix: str) -> None:
    path, again = tmp_path / f"mine.{suffix}", tmp_path / f"again.{suffix}"
    write_population(path, population(), TASK)
    read = read_population(path, TASK)
    for ours, theirs in zip(plans(population()), plans(read), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    for mine, its in zip(population().meta_strategy, read.meta_strategy, strict=True):
        np.testing.assert_array_equal(mine, its)
    write_population(again, population(), TASK)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_population_file_is_scored_like_any_agent(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine.{suffix}"
    write_population(path, population(), TASK)
    report = pkubench.evaluate(str(path), TASK, workers=0)
    rows = plans(population())
    x, y = (TREE.mix(rows[player], population().meta_strategy[player]) for player in (0, 1))
    found = {name: value.mean for name, value in report.metrics.items()}
    assert found["nash_conv"] == pytest.approx(TREE.nash_conv(x, y))
    assert found["exploitability"] == pytest.approx(TREE.nash_conv(x, y) / 2)
    wanted = TREE.population_exploitability(*rows)
    assert found["population_exploitability"] == pytest.approx(wanted, abs=1e-9)
    assert 0.0 < wanted < TREE.nash_conv(x, y)
    assert report.agent == "mine" and report.label == "population"


def test_population_exploitability_of_a_single_policy_is_its_nash_conv() -> None:
    report = evaluate(load_agent("random", TASK), TASK, workers=0)
    found = {name: value.mean for name, value in report.metrics.items()}
    assert found["population_exploitability"] == found["nash_conv"] == pytest.approx(0.916667)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as read:
        return dict(read)


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = tmp_path / "mine.npz"
    write_population(path, population(), TASK)
    arrays: dict[str, Any] = arrays_of(path)
    change(arrays)
    np.savez(path, **arrays)
    return path


def drop_state(arrays: dict[str, Any]) -> None:
    keep = arrays["states_1"] != "0b"
    arrays["states_1"] = arrays["states_1"][keep]
    arrays["probabilities_1"] = arrays["probabilities_1"][:, keep]


def set_row(policy: int, state: str, row: list[float]) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays["probabilities_0"][policy, arrays["states_0"].tolist().index(state)] = row

    return change


def set_state(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        states = arrays["states_0"]
        arrays["states_0"] = np.array([new if text == old else text for text in states.tolist()])

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            drop_state,
            "states_1 has no row for 1 of 6 information states, the first being '0b'.*add a row",
        ),
        (set_row(2, "1pb", [0.5, 0.4]), "policy 2: .*'1pb'.*sum to 0.9, not to 1; divide"),
        (set_row(1, "0", [1.5, -0.5]), "policy 1: .*'0'.*negative"),
        (set_row(0, "2", [np.nan, 1.0]), "policy 0: .*'2'.*NaN"),
        (
            lambda a: a.update(game=np.array("leduc_poker()")),
            r"of 'leduc_poker\(\)', .* not the game 'KuhnPoker-v0'; write 'KuhnPoker-v0'",
        ),
        (lambda a: a.update(game=np.array("a(g=" * 20_000 + ")" * 20_000)), "is not the game"),
        (lambda a: a.update(game=np.array("kuhn_poker(players=3)")), "is not the game"),
        (lambda a: a.update(game=np.array("payoff:\0.npy")), "is not the game"),
        (lambda a: a.update(meta_0=np.array([0.5, 0.5, 0.5])), "player 0.*sums to 1.5.*sum 1"),
        (lambda a: a.update(meta_0=np.array([1.5, -0.5, 0.0])), "player 0.*negative"),
        (lambda a: a.update(meta_1=np.ones(3) / 3), "is of 2 policies, but meta_1 has 3.*equal"),
        (lambda a: a.update(states_1=a["states_1"][:5]), "is of 6 states, but states_1 has 5"),
        (set_state("0", "1"), "states_0 has '1' 2 times; give each .* one row"),
        (set_state("0", "0pb!"), "states_0 has 1 .* does not have, .*'0pb!' .*'0pb'"),
        (lambda a: a.update(probabilities_0=a["probabilities_0"][:, :, :1]), "must have shape"),
        (lambda a: a.update(states_0=np.arange(6)), "'states_0' of mine.npz has shape"),
        (lambda a: a.pop("meta_0"), "'meta_0' is missing"),
        (lambda a: a.update(more=np.ones(2)), "has further ones"),
        (lambda a: a.update(meta_0=np.array([{}], dtype=object)), "pickled objects are refused"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_the_fix(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with pytest.raises(AgentError, match=says):
        read_population(changed(tmp_path, change), TASK)


def test_states_may_come_in_any_order_and_probabilities_within_the_tolerance(
    tmp_path: Path,
) -> None:
    def change(arrays: dict[str, Any]) -> None:
        order = np.random.default_rng(1).permutation(6)
        arrays["states_0"] = arrays["states_0"][order]
        arrays["probabilities_0"] = arrays["probabilities_0"][:, order].astype(np.float32)
        arrays["game"] = np.array("KuhnPoker-v0")

    read = read_population(changed(tmp_path, change), TASK)
    for ours, theirs in zip(plans(population()), plans(read), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_illegal_action_is_named(tmp_path: Path) -> None:
    leduc = make_task("LeducPoker-v0")
    uniform = load_agent("psro", leduc)
    assert isinstance(uniform, Population)
    path = tmp_path / "leduc.npz"
    one = Population((uniform.policies[0][:1], uniform.policies[1][:1]), (np.ones(1), np.ones(1)))
    write_population(path, one, leduc)
    arrays = arrays_of(path)
    arrays["probabilities_0"][0, 0] = [1.0, 0.0, 0.0]
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(
        AgentError, match=r"action 0 has probability 1.0 but only \[1, 2\] are legal"
    ):
        read_population(path, leduc)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["players"][0]["policies"][1].pop("1"), "policy 1: .*lacks 1 of 6.*'1'"),
        (lambda d: d["players"][1]["policies"][0]["0p"].update({"1": 9}), "policy 0: .*'0p'.*sum"),
        (lambda d: d["players"][1]["policies"][0]["0p"].update({"7": 0.5}), "'0p': action 7"),
        (lambda d: d["players"][1]["policies"][0].update({"0p": [1, 0]}), "'0p': expected a map"),
        (
            lambda d: d["players"][1]["policies"][0].update({"0p": {"a": 1}}),
            "'0p': 'a' is not an act",
        ),
        (
            lambda d: d["players"][1]["policies"][0].update({"0p": {"00": 1}}),
            "'00' is not an action",
        ),
        (
            lambda d: d["players"][1]["policies"][0].update({"0p": {"fold": 1}}),
            "'fold' is not an act",
        ),
        (lambda d: d["players"][1]["policies"][0]["0p"].update({"0": "1"}), "'1' of action 0 is n"),
        (lambda d: d["players"][1]["policies"][0]["0p"].update({"0": True}), "True of action 0 is"),
        (lambda d: d["players"][1]["policies"][0]["0p"].update({"0": 10**400}), "is not a number"),
        (
            lambda d: d["players"][1]["policies"][0].update({"9p": {"0": 1}}),
            "0 has 1 .*'9p'",
        ),
        (lambda d: d["players"][0]["meta_strategy"].append(10**400), "a list of numbers"),
        (lambda d: d["players"][0].update(meta_strategy=[True, False, False]), "a list of numbers"),
        (lambda d: d["players"][0].update(meta_strategy=["1", 0, 0]), "a list of numbers"),
        (lambda d: d["players"][0].update(policies=[3]), "policy 0: a policy is an object"),
        (lambda d: d["players"][0].update(meta_strategy="all"), "meta-strategy of player 0"),
        (lambda d: d.pop("game"), "is not a population: .* an object without 'game'"),
        (lambda d: d.update(game=3), "does not name its game"),
        (lambda d: d["players"].pop(), "two players"),
        (lambda d: d.update(players={"a": 1, "b": 2}), "two players in the list"),
        (lambda d: d.update(players=["a", []]), "is not a population: .* has 'a' where 'policies'"),
        (lambda d: d["players"][0].update(policies={"0": {}}), "policies of player 0 must be a li"),
        (
            lambda d: d["players"][1].update(policies=[], meta_strategy=[]),
            "no policy of player 1; submit at least one",
        ),
    ],
)
def test_what_is_wrong_with_json_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    path = tmp_path / "mine.json"
    write_population(path, population(), TASK)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(AgentError, match=says):
        read_population(path, TASK)


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null"])
def test_json_of_something_else_is_refused_in_terms_of_the_format(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(
        WeightsError, match=r"is not a population: it must be .*'game' bel"
    ) as caught:
        read_population(path, TASK)
    assert "Error(" not in str(caught.value)


@pytest.mark.parametrize(
    "named",
    [
        "KuhnPoker-v0",
        "pkubench/KuhnPoker-v0",
        "kuhn_poker",
        "kuhn_poker()",
        "openspiel:kuhn_poker",
        "openspiel:kuhn_poker(players=2)",
    ],
)
@pytest.mark.parametrize("task", ["KuhnPoker-v0", "openspiel:kuhn_poker"])
def test_a_file_may_name_its_game_by_any_spelling(tmp_path: Path, named: str, task: str) -> None:
    path = changed(tmp_path, lambda a: a.update(game=np.array(named)))
    read = read_population(path, make_task(task))
    np.testing.assert_array_equal(plans(read)[0], plans(population())[0])
    assert len(read_unbuilt_population(path, "kuhn_poker").policies[0]) == 3


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Goofspiel4-v0", registered_game("Goofspiel4-v0").name, True),
        ("Goofspiel4-v0", "Goofspiel5-v0", False),
        ("LiarsDice4-v0", "openspiel:liars_dice(dice_sides=4,numdice=1)", True),
        ("LiarsDice6-v0", "liars_dice", True),
        ("openspiel:misere(game=tic_tac_toe())", "misere(game=tic_tac_toe)", True),
        ("openspiel:misere(game=tic_tac_toe())", "tic_tac_toe", False),
        ("matrix:blotto(5,3)", "matrix:blotto(fields=3,coins=5)", True),
        ("matrix:blotto(5,3)", "matrix:blotto(5,4)", False),
        ("payoff:a.npy", "payoff:./a.npy", True),
        ("payoff:a.npy", "payoff:b.npy", False),
        ("SimpleSpread-v0", "SimpleSpread-v0", False),
        ("openspiel:rubbish", "openspiel:rubbish", False),
        ("matrix:rubbish", "matrix:rubbish", False),
    ],
)
def test_two_spellings_are_compared_and_no_game_is_made(
    first: str, second: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GameTree, "from_openspiel", None)
    monkeypatch.setattr(pyspiel, "load_game", None)
    assert is_same_game(first, second) is same is is_same_game(second, first)


def test_a_trained_population_knows_its_payoffs_and_not_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", [[0, 1, -1], [-1, 0, 2], [1, -2, 0]])
    np.save("copy.npy", [[0, 1, -1], [-1, 0, 2], [1, -2, 0]])
    np.save("other.npy", [[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    task = make_task("payoff:a.npy")
    list(train("psro", task, steps=9, seed=0, settings={}, out=tmp_path / "run"))
    for same in ("payoff:a.npy", "payoff:copy.npy"):
        assert pkubench.evaluate("./run", same).score == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(AgentError, match=r"plays payoff:a.npy, and the payoffs of payoff:other"):
        load_agent("./run", make_task("payoff:other.npy"))
    with pytest.raises(AgentError, match=r"KuhnPoker-v0 is another game"):
        load_agent("./run", TASK)


@pytest.mark.parametrize("action", ["fold", "00", "-1", "1" * 5000])
def test_without_a_tree_actions_of_json_are_checked_too(tmp_path: Path, action: str) -> None:
    path = tmp_path / "mine.json"
    write_population(path, population(), TASK)
    document = json.loads(path.read_text())
    document["players"][1]["policies"][0]["0p"] = {action: 1.0}
    path.write_text(json.dumps(document))
    with pytest.raises(AgentError, match=r"mine.json, policy 0: .*'0p'.*is not an action; write"):
        read_unbuilt_population(path, "kuhn_poker")


def test_without_a_tree_tables_have_the_games_actions(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda a: a.update(probabilities_0=np.ones((3, 6, 7)) / 7))
    with pytest.raises(AgentError, match=r"\(policies, 6, 2\), got \(3, 6, 7\)"):
        read_unbuilt_population(path, "kuhn_poker")


def test_a_duplicate_state_in_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    write_population(path, population(), TASK)
    path.write_text(path.read_text().replace('"0p": {', '"0p": {"0": 1.0}, "0p": {', 1))
    with pytest.raises(WeightsError, match="'0p' occurs twice"):
        read_population(path, TASK)


def header(kind: str, shape: tuple[int, ...]) -> bytes:
    """What an array's file begins with; its elements are left out."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"states_0": ("<U0", (2 * 10**9,))}, "'states_0' of mine.npz has shape .*at least one"),
        ({"probabilities_0": ("<f8", (2 * 10**9, 0, 2))}, "'probabilities_0' .*at least one of"),
        ({"meta_0": ("<f8", (10**12,))}, "'meta_0' has shape .* but 0 bytes"),
        ({"meta_0": ("<f8", (-1,))}, "'meta_0' has shape .* but 0 bytes"),
        ({"game": ("|O", ())}, "'game' contains Python objects"),
    ],
)
def test_sizes_are_checked_before_there_are_arrays(
    tmp_path: Path, arrays: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.npz"
    write_population(path, population(), TASK)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            changed_header = arrays.get(name.removesuffix(".npy"))
            archive.writestr(name, header(*changed_header) if changed_header else data)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(WeightsError, match=says):
        read_population(path, TASK)


def test_the_numbers_of_policies_and_states_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "mine.npz", tmp_path / "mine.json"]
    for path in paths:
        write_population(path, population(), TASK)
    monkeypatch.setattr(np, "load", None)
    monkeypatch.setattr(population_content, "MAX_POLICIES", 2)
    for path in paths:
        with pytest.raises(WeightsError, match="3 policies of player 0, at most 2"):
            read_population(path, TASK)
    monkeypatch.setattr(population_content, "MAX_POLICIES", 3)
    monkeypatch.setattr(population_content, "MAX_STATES", 5)
    with pytest.raises(WeightsError, match="6 information states of player 0, at most 5"):
        read_population(paths[0], TASK)


def test_damaged_and_too_large_files_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.npz"
    write_population(path, population(), TASK)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        read_population(path, TASK)
    path.write_bytes(b"not a zip")
    with pytest.raises(WeightsError, match="damaged"):
        read_population(path, TASK)
    # Ten MiB of zeros in ten KiB.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("game.npy", bytes(10 << 20))
    path.write_bytes(buffer.getvalue())
    monkeypatch.setattr(population_content, "MAX_BYTES", 1 << 20)
    with pytest.raises(WeightsError, match="larger than 1 MiB"):
        read_population(path, TASK)
    path.write_bytes(bytes(2 << 20))
    with pytest.raises(WeightsError, match="larger than 1 MiB"):
        read_population(path, TASK)
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    with pytest.raises(WeightsError, match="not valid JSON"):
        read_population(deep, TASK)


def test_names_that_are_not_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no population file"):
        resolve_agent(str(tmp_path / "none.npz"), TASK)
    path = tmp_path / "mine.npz"
    write_population(path, population(), TASK)
    with pytest.raises(AgentError, match="depends on the task"):
        resolve_agent(str(path))
    with pytest.raises(AgentError, match=r"\*\.npz or \*\.json"):
        write_population(tmp_path / "mine.txt", population(), TASK)
    with pytest.raises(StorageError):
        write_population(path / "below.npz", population(), TASK)


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_a_population_is_bundled_and_verified(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "weights" / f"mine.{suffix}"
    write_population(path, population(), TASK)
    evaluate(resolve_agent(str(path), TASK), TASK, workers=0, out=tmp_path / "results")
    bundle = create_bundle(
        tmp_path / "results" / "mine", tmp_path / "mine.zip", weights=tmp_path / "weights"
    )
    assert bundle.manifest.kind == "population"
    verdict = verify_bundle(read_bundle(tmp_path / "mine.zip"), workers=0).verdict(KUHN)
    assert verdict.tier is Tier.VERIFIED_WEIGHTS
    assert verdict.reason == "1 of 1 score computed again came out as the same bytes"
    with Board.open() as board:
        board.submit(bundle, Verification({KUHN: verdict}))
        (standing,) = rank_task(TASK, board.entries(KUHN))
    assert standing.unranked == "a population file does not record training seeds; a rank needs 5"


def test_a_bundle_with_something_else_for_a_population_is_refused() -> None:
    with pytest.raises(BundleError, match="damaged"):
        check_weights("weights/mine.npz", b"\x80\x04\x95 a pickle")
    with pytest.raises(BundleError, match="not a population"):
        check_weights("weights/mine.json", b"{}")
    with pytest.raises(BundleError, match="not a weights file"):
        check_weights("weights/mine.pt", b"")
