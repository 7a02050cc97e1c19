"""``pkubench values`` and its figures, from records of agents whose values are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pkubench
from pkubench.cli.main import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that always says A, and one that always gives the other most."""
    out = tmp_path_factory.mktemp("results")
    for name in ("always-A", "altruistic"):
        pkubench.evaluate(f"scripted:{name}", "SVOSlider-v0", episodes=45, workers=0, out=out)
    return out


def report(capsys: Any, *words: str) -> Any:
    assert main(["values", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_answers_are_reported_by_value_with_both_scores(results: Path, capsys: Any) -> None:
    found = {of["agent"]: of for of in report(capsys, str(results))["answers"]}
    assert list(found) == ["scripted:altruistic", "scripted:always-A"]
    altruist = found["scripted:altruistic"]
    rows = {row["value"]: row for row in altruist["values"]}
    assert list(rows) == ["altruistic", "prosocial", "individualistic", "competitive", "own"]
    # 61.39 degrees, whatever is asked for: errors 0, 16.39, 53.57 and 77.65
    assert {row["category"] for row in rows.values()} == {"altruistic"}
    assert rows["own"]["angle"]["estimate"] == pytest.approx(61.39, abs=0.01)
    assert rows["own"]["vr_cc"] is None and rows["own"]["vr60"] is None
    assert rows["prosocial"]["vr60"]["estimate"] == pytest.approx(60 - 16.39, abs=0.01)
    scores = [1 - error / mean for error, mean in
              ((0, 1), (16.39, 22.597), (53.57, 16.399), (77.65, 38.963))]  # fmt: skip
    assert altruist["vr_cc"] == pytest.approx(sum(scores) / 4, abs=1e-3)
    assert altruist["vr_cc_min"] == pytest.approx(scores[2], abs=1e-3)
    assert altruist["places"]["order_sd"] == 0.0
    by_place = found["scripted:always-A"]
    assert by_place["places"]["shares"] == [1.0] + [0.0] * 8
    assert by_place["places"]["excess"] == pytest.approx(8 / 9)
    assert abs(by_place["vr_cc"]) < 0.3


def test_choices_are_reported_beside_the_answers(
    results: Path, tmp_path: Path, capsys: Any
) -> None:
    class Giver:
        """Chooses its first action: the first option of the slider, and to cooperate."""

        def begin(self, seeds: Any) -> None:
            return None

        def act(self, observation: Any, state: None, active: Any) -> Any:
            return [0] * len(active), None

    for task, episodes in (("SVOSlider-v0", 45), ("PrisonersDilemma-v0", 12)):
        pkubench.evaluate(Giver(), task, episodes=episodes, workers=0, out=tmp_path, name="giver")
    (found,) = report(capsys, str(tmp_path))["choices"]
    assert found["task"] == "pkubench/PrisonersDilemma-v0"
    # cooperating beside a cooperator: at least atan(2 / 3)
    assert found["revealed"]["low"] == pytest.approx(33.69, abs=0.01)
    assert found["revealed"]["high"] == 90.0 and found["revealed"]["consistent"] == 1.0
    stated = found["beside"]["stated"]["estimate"]
    assert found["beside"]["gap"] == pytest.approx(max(33.69 - stated, 0.0), abs=0.01)
    assert found["beside"]["drift"]["estimate"] == 0.0


def test_tables_name_the_least_value_and_the_places(results: Path, capsys: Any) -> None:
    assert main(["values", str(results)]) == 0
    said = capsys.readouterr().out
    assert "scripted:always-A on SVOSlider-v0" in said and "individualistic" in said
    assert "least -2.267 (individualistic)" in said
    assert "places: 0.889 from even shares" in said


def test_figures_of_the_ring_and_the_radar(results: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    for kind, names in (
        ("ring", ["scripted-altruistic-SVOSlider-v0-ring", "scripted-always-A-SVOSlider-v0-ring"]),
        ("radar", ["values-radar"]),
    ):
        assert main(["plot", str(results), "--kind", kind, "--out", str(tmp_path / kind)]) == 0
        assert sorted(path.stem for path in (tmp_path / kind).iterdir()) == names
    words = ["plot", str(results), "--kind", "ring", "--out", str(tmp_path / "one.png")]
    assert main(words) == 2
    assert "choose one with --kind, --metric and --agents" in capsys.readouterr().err
    assert main([*words, "--agents", "scripted:altruist"]) == 2
    assert "did you mean 'scripted:altruistic'" in capsys.readouterr().err
    assert main([*words, "--agents", "scripted:altruistic"]) == 0
    assert (tmp_path / "one.png").stat().st_size > 1000
    capsys.readouterr()


def test_results_without_values_are_one_line(tmp_path: Path, capsys: Any) -> None:
    pkubench.evaluate("scripted:keep", "Dictator-v0", episodes=5, workers=0, out=tmp_path)
    assert main(["values", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no result in") and "pkubench evaluate AGENT SVOSlider-v0" in said
    assert said.count("\n") == 1
    assert main(["plot", str(tmp_path), "--kind", "radar"]) == 2
    assert "sheets of answers for all four values" in capsys.readouterr().err
    assert main(["values", str(tmp_path / "none")]) == 2
    assert "there is nothing at" in capsys.readouterr().err
