"""The page of credit assignment: figures of sampled policies, in rows on equal terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import claims, credit, credit_page, records
from benchmarks.results.credit_page import ALICE, LANES, STANDARDISED, name_at, sampled
from benchmarks.results.records import Scored
from benchmarks.results.rows import Row, config_of
from pkubench.agents.components import as_plain
from pkubench.agents.families.on_policy.credit import METHODS
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.envs.core.registry import make_batch
from pkubench.tasks.registry import claims as every_claim
from pkubench.tasks.registry import make_task


def config(row: Row) -> Any:
    return config_of(row.agent, row.task, dict(row.changes))


def test_the_rows_of_a_task_differ_in_credit_and_in_what_they_say() -> None:
    for task in {row.task for row in credit.ROWS}:
        for lanes in LANES if task == ALICE else (None,):
            rows = [
                row
                for row in credit.ROWS
                if row.task == task and not row.name.endswith(STANDARDISED)
                if lanes is None or config(row).num_envs == lanes
            ]
            policies = []
            for row in rows:
                plain = as_plain(config(row))
                plain.pop("credit")
                policies.append({k: v for k, v in plain.items() if not k.startswith("credit")})
            assert len(rows) >= 2 and all(policy == policies[0] for policy in policies), task
            assert len({(row.steps, row.seeds) for row in rows}) == 1


@pytest.mark.parametrize("row", credit.ROWS, ids=lambda row: f"{row.name}-{row.task}")
def test_minibatches_are_of_equal_size(row: Row) -> None:
    found = config(row)
    agents = len(make_batch(make_task(row.task).id, 1).agents)
    samples = found.batch_steps * agents / found.minibatches
    assert 0.9 * credit.MINIBATCH < samples <= credit.MINIBATCH


def test_standardised_rows_differ_in_that_alone() -> None:
    known = {row.name: row for row in credit.ROWS if row.task == ALICE}
    rows = [row for name, row in known.items() if name.endswith(STANDARDISED)]
    assert {row.agent for row in rows} == set(credit.METHODS)
    assert [row.name for row in rows[-2:]] == [
        f"{agent}-512{STANDARDISED}" for agent in ("stas", "undecomposed")
    ]
    for row in rows:
        other = known[row.name.removesuffix(STANDARDISED)]
        here, there = as_plain(config(row)), as_plain(config(other))
        assert {k for k in here if here[k] != there[k]} == {"advantage_epsilon"}
        assert (here["advantage_epsilon"], there["advantage_epsilon"]) == (1e-5, 1.0)


def test_methods_that_learn_have_the_same_replay() -> None:
    replays = ("buffer", "success_share", "fit_every", "fit_steps", "fit_episodes")
    for task in (ALICE, "Navigation3-v0"):
        found = [config_of(name, task).credit for name in METHODS]
        held = [{k: getattr(c, k) for k in replays} for c in found if hasattr(c, "buffer")]
        assert len(held) >= 5 and all(one == held[0] for one in held)


def validated(*runs: dict[str, float]) -> Scored:
    metrics: Any = {"return": (1.0, 0.0, 2.0, len(runs)), "success": (1.0, 1.0, 1.0, len(runs))}
    return Scored("stas", "-", "runs", metrics, [{}] * len(runs), validated=runs, seconds=12.3)


def test_a_line_has_the_sampled_policys_last_evaluations_and_not_the_modes() -> None:
    line = sampled(
        validated(
            {"mode": 9.0, "sampled": 40.0, "sampled_success": 0.4, "best": 99.0},
            {"mode": 9.0, "sampled": 60.0, "sampled_success": 0.6, "best": 99.0},
        )
    )
    mean, low, high, n = line.metrics["success"]
    # Student's t with one degree of freedom: 0.5 +- 12.706 * 0.1
    assert (mean, n) == (0.5, 2) and (low, high) == pytest.approx((-0.7706, 1.7706), abs=1e-4)
    assert line.mean("return") == 50.0 and line.runs[1]["success"] == 0.6
    assert credit_page._percent(line) == "50 [0, 100], n = 2"
    alone = sampled(validated({"sampled": -3.0}))
    assert alone.metrics == {"return": (-3.0, None, None, 1)}
    with pytest.raises(ValueError, match="stas has runs without sampled evaluations"):
        sampled(validated({"mode": 1.0}))


def test_a_page_says_which_agents_are_above_the_dense_reward() -> None:
    """On Navigation3 two agents exceed the dense reward, so the sentence is computed."""

    def line(name: str, found: float) -> Scored:
        return Scored(name, "-", "runs", {}, [{}], validated=({"sampled": found},), seconds=1.0)

    lines = {name: line(name, x) for name, x in (("stas", -1.0), ("arel", -3.0), ("dense", -2.0))}
    above = "Higher in the mean than"
    assert "".join(credit_page._above_dense(lines)) == f"{above} `dense`: `stas`.\n\n"
    alone = {name: lines[name] for name in ("arel", "dense")}
    assert "".join(credit_page._above_dense(alone)) == f"{above} `dense`: none.\n\n"
    assert not list(credit_page._above_dense({"stas": lines["stas"]}))


def test_the_table_has_agents_down_and_lanes_across() -> None:
    cells = {"undecomposed-sil": "a", "undecomposed-sil-512": "b", "stas-1024": "c", "stas": "d"}
    cells["arel-standardised"] = "e"
    text = "".join(credit_page._grid(cells))
    assert "| undecomposed-sil | a | - | b | - |\n| stas | d | - | - | c |\n" in text
    assert "e" not in text.split() and "standardised" not in text
    assert [name_at("stas", lanes) for lanes in LANES][:2] == ["stas", "stas-256"]


def test_a_row_says_how_it_is_evaluated_and_others_are_not_its_runs() -> None:
    row = next(row for row in credit.ROWS if row.name == "stas-256")
    command = f"pkubench train stas {ALICE} --steps {row.steps} --seed 0 {' '.join(row.flags())}"
    assert "--validation-episodes 50 --window 10 --keep last --validate-sampled" in command
    facts = {"command": command}
    assert row.is_made_by(facts, row.steps) and not row.is_made_by(facts, 7)
    assert not row.is_made_by({"command": command.replace("episodes 50", "episodes 8")}, row.steps)


def test_the_last_ten_sampled_points_are_recorded() -> None:
    points = [{"at": k, "return": float(k), "success": k / 20} for k in range(1, 21)]
    found = records.validated({"points": points, "sampled_points": [*points[:-1], points[0]]})
    # of 11 to 19 and 1
    assert found["sampled"] == pytest.approx(13.6)
    assert found["sampled_success"] == pytest.approx(0.68) and found["mode"] == 15.5


def test_claims_are_judged_by_the_sampled_figures_of_the_table() -> None:
    row = next(row for row in credit.ROWS if row.name == f"stas{STANDARDISED}")
    late = [{"sampled": 60.0 + k, "sampled_success": 0.6, "mode": 0.0} for k in range(3)]
    mode = {"metrics": {"return": {"mean": 100.0}, "success": {"mean": 1.0}}}
    found = claims._of_row(
        row, [{"seed": k, "report": mode, "validation": run} for k, run in enumerate(late)]
    )
    assert found.agent == "stas with advantage_epsilon=1e-05" and found.budget == 1_700_000
    assert found.metrics == {"return": (60.0, 61.0, 62.0), "success": (0.6, 0.6, 0.6)}
    spelt = {a for _, c in every_claim().values() for p in c.pairs for a in (p.better, p.other)}
    assert found.agent in spelt


def success(learner: OnPolicyTraining, updates: int) -> float:
    for _ in range(updates):
        learner.iterate()
    return sum(total > 50.0 for total in learner.collector.window.returns) / 100


@pytest.mark.slow
def test_large_updates_learn_alice_and_bob_without_decomposition() -> None:
    """A successful trial had 97 % in 0.5 M steps."""
    row = next(row for row in credit.ROWS if row.name == "undecomposed-512")
    learner = OnPolicyTraining(
        Context(
            agent=row.agent,
            task=make_task(ALICE),
            settings=config_of(row.agent, ALICE, dict(row.changes)),
            seed=1000,
            total=1_000_000,
        )
    )
    assert success(learner, 17) >= 0.5
    learner.close()


def test_records_are_of_their_rows() -> None:
    for row in credit.ROWS:
        for seed in range(row.seeds):
            path: Path = records.path_of(row, seed, row.steps)
            if path.exists():
                record = json.loads(path.read_text())
                assert records.read(row, seed, row.steps) == record
                assert (record["agent"], record["seed"]) == (row.agent, seed)
                assert {"sampled", "mode"} <= set(record["validation"])
    assert preset("stas").config(make_task(ALICE)).num_envs == LANES[0]
