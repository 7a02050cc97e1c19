"""Claims are about what exists, and their page and evidence are what the records give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.results import claims as command
from benchmarks.results.claims_page import page_of
from pkubench.agents.components import with_settings
from pkubench.agents.registry import family_of, preset, presets
from pkubench.agents.suitability import why_not
from pkubench.evaluation.evidence import parse, shipped
from pkubench.tasks.claim import LIMIT, RECORDED, UNITS, Claim
from pkubench.tasks.registry import claims, make_task

EVERY = [pytest.param(claim, id=name) for name, (_, claim) in claims().items()]


@pytest.mark.parametrize("claim", EVERY)
def test_a_claim_names_what_exists(claim: Claim) -> None:
    for pair in claim.pairs:
        for name in pair.tasks:
            task = make_task(name)
            metric = claim.metric_of(task)
            assert pair.other != LIMIT or (task.cost_limit is not None and metric.name == "cost")
            for spelling in {pair.better, pair.other} - {LIMIT}:
                if not claim.trained:
                    continue
                agent, _, changes = spelling.partition(" with ")
                assert agent in presets(), agent
                assert not why_not(preset(agent), task), (agent, name)
                settings = dict(text.split("=") for text in changes.split(", ") if text)
                assert ("data" in settings) == (claim.equal == RECORDED)
                for given in family_of(preset(agent)).inputs:
                    settings.pop(given.name, None)
                with_settings(preset(agent).config(task), settings)
    assert claim.published and claim.text.endswith(".")
    assert claim.ablation in ("", *claims()) and claim.ablation != claim.name
    assert set(claim.budget) <= {"", *claim.tasks}


def test_every_paper_has_claims() -> None:
    papers = {claim.paper for _, claim in claims().values()}
    assert papers == {
        *("HARL", "HASAC", "QMIX", "MAPPO", "OmniSafe", "PSD-PSRO", "STAS", "TAR2"),
        *("Anytime PSRO", "SP-PSRO", "XDO"),
        *("DT", "Online DT", "TT", "ESPER", "IQL", "GTrXL", "MAT", "Sable"),
        *("HVAE", "BeaverTails", "Safe RLHF", "RePO", "Task-adaptive retrieval", "UniDexGrasp++"),
    }


def test_the_diversity_claims_are_read_with_the_terms_own() -> None:
    wanted = [claim for _, claim in claims().values() if claim.name.startswith("psd-")]
    assert {claim.equal for claim in wanted} == set(UNITS) - {"steps", RECORDED}
    assert {claim.ablation for claim in wanted} == {"diversity-term"}


def test_the_page_is_what_the_command_writes() -> None:
    """To the last word, and to the digits that another processor may round apart."""
    made, kept = page_of(), command.PAGE.read_text()
    number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")
    assert number.sub("#", made) == number.sub("#", kept)
    same = sum(a == b for a, b in zip(number.findall(made), number.findall(kept), strict=True))
    assert same >= 0.99 * len(number.findall(kept))
    for name in claims():
        assert f"### {name}\n" in kept


@pytest.mark.slow
def test_the_evidence_is_what_the_records_give(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    command.save(command.gathered(), path)
    assert path.read_text() == command.FILE.read_text()


def test_evidence_is_small_and_of_recorded_runs() -> None:
    assert command.FILE.stat().st_size < 500_000
    assert parse(command.FILE.read_text()) == shipped()
    keys = [(s.agent, s.task, s.unit, s.budget) for s in shipped()]
    assert len(set(keys)) == len(keys)
    found = next(
        s for s in shipped() if (s.agent, s.task) == ("happo", "pkubench/SimpleSpreadContinuous-v0")
    )
    record = Path(command.__file__).parent / "records/marl/happo/SimpleSpreadContinuous-v0"
    run = json.loads((record / "seed0.json").read_text())
    assert found.metrics["return"][0] == run["report"]["metrics"]["return"]["mean"]
    assert (found.unit, found.budget) == ("steps", float(run["budget"]))


def test_population_scores_are_in_the_tasks_units() -> None:
    """Records of matrix games are in units of the largest payoff; a record's PE is of one side."""
    game = "matrix:game_of_skill(888,0)"
    found = next(
        s for s in shipped() if (s.agent, s.task, s.unit) == ("psro-paper", game, "iterations")
    )
    folder = Path(command.__file__).parent / "records/games/matrix-game-of-skill-888-0"
    curve = json.loads((folder / "psro-paper.json").read_text())["runs"][0]["curve"]
    ratio = found.metrics["exploitability"][0] / curve["exploitability"][-1]
    assert ratio > 1.0
    assert found.metrics["population_exploitability"][0] == pytest.approx(
        2.0 * ratio * curve["pe"][-1], rel=1e-4
    )
