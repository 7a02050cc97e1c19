"""The judge of claims, on samples whose answers are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pkubench.errors import ConfigError, RecordError
from pkubench.evaluation.claims import judge, judge_all
from pkubench.evaluation.evidence import Sample, parse, save
from pkubench.evaluation.verdict_words import verdict
from pkubench.evaluation.verdicts import Judgement
from pkubench.tasks import registry
from pkubench.tasks.claim import LIMIT, Claim, Pair

SPREAD, TALK, REFERENCE = (
    f"pkubench/Simple{name}Continuous-v0" for name in ("Spread", "SpeakerListener", "Reference")
)
KUHN, CORRIDOR = "pkubench/KuhnPoker-v0", "pkubench/RiskyCorridor-v0"
HIGH, LOW = (4.0, 5.0, 6.0), (1.0, 2.0, 3.0)
"""Of variance 1, 3 apart: t = 3 / sqrt(2 / 3) = 3.674 with 4 degrees, p = 0.0213 (t tables)."""
P = 0.021312


def sample(
    agent: str, task: str, values: Sequence[float], budget: float | None = 100.0, **more: Any
) -> Sample:
    metrics = {more.pop("metric", "return"): tuple(values), **more.pop("others", {})}
    unit = more.pop("unit", "" if budget is None else "steps")
    seeds = tuple(map(str, range(len(values))))
    return Sample(
        agent=agent, task=task, unit=unit, budget=budget, seeds=seeds, metrics=metrics, **more
    )


def claim(*tasks: str, other: str = "b", **more: Any) -> Claim:
    settings = {"over_tasks": False, "published": "-", "paper": "P", **more}
    return Claim(name="x", text="A is better.", pairs=(Pair("a", other, tasks),), **settings)


def both(task: str, first: Sequence[float], second: Sequence[float]) -> list[Sample]:
    return [sample("a", task, first), sample("b", task, second)]


def outcomes(judged: Judgement) -> list[str]:
    return [each.outcome for each in judged.comparisons]


@pytest.mark.parametrize(
    ("on_spread", "on_talk", "verdict"),
    [
        ((HIGH, LOW), (LOW, LOW), "supported"),
        ((LOW, HIGH), (LOW, LOW), "contradicted"),
        ((HIGH, LOW), (LOW, HIGH), "mixed"),
        ((HIGH, HIGH), (LOW, LOW), "not shown"),
    ],
)
def test_a_verdict_says_which_way_a_claim_came_out(
    on_spread: tuple[Any, Any], on_talk: tuple[Any, Any], verdict: str
) -> None:
    # twice the values: t = 2 * 3 / (2 * ...) stays, so five runs of each side decide after Holm
    five = [[*side, *side] for side in (*on_spread, *on_talk)]
    samples = both(SPREAD, five[0], five[1]) + both(TALK, five[2], five[3])
    assert judge(claim(SPREAD, TALK), samples).verdict == verdict


def test_a_difference_has_welchs_interval_and_p() -> None:
    judged = judge(claim(SPREAD), both(SPREAD, HIGH, LOW))
    (each,) = judged.comparisons
    assert each.difference == pytest.approx(3.0)
    assert each.low is not None and each.high is not None
    # t(0.975, 4) = 2.7764, standard error sqrt(2 / 3)
    assert (each.low, each.high) == pytest.approx((0.7330, 5.2670), abs=1e-4)
    assert each.p_value == pytest.approx(P, abs=1e-5) and each.corrected == each.p_value
    assert (each.n, each.budget, judged.verdict) == ((3, 3), 100.0, "supported")


def test_all_comparisons_of_a_claim_are_corrected_together() -> None:
    samples = both(SPREAD, HIGH, LOW)
    assert judge(claim(SPREAD), samples).verdict == "supported"
    samples += both(TALK, (1.0, 2.0, 3.0), (1.1, 2.1, 3.1)) + both(REFERENCE, (1, 2, 3), (1, 2, 4))
    judged = judge(claim(SPREAD, TALK, REFERENCE), samples)
    assert judged.comparisons[0].corrected == pytest.approx(3 * P, abs=1e-4)
    assert judged.verdict == "not shown" and outcomes(judged) == ["undecided"] * 3
    # another claim on the same runs has its own family
    assert judge(claim(SPREAD), samples).verdict == "supported"


def test_equal_values_that_do_not_vary_are_a_tie_and_no_test() -> None:
    samples = both(SPREAD, HIGH, LOW) + both(TALK, (7.0,) * 3, (7.0,) * 3)
    judged = judge(claim(SPREAD, TALK), samples)
    assert outcomes(judged) == ["for", "tie"]
    assert judged.comparisons[0].corrected == pytest.approx(P, abs=1e-5)  # a family of one
    assert judged.chance is not None and judged.chance.estimate == pytest.approx(0.75)


def test_values_that_do_not_vary_and_differ_are_decided() -> None:
    judged = judge(claim(SPREAD), both(SPREAD, (7.0,) * 3, (6.0,) * 3))
    assert judged.verdict == "supported" and judged.comparisons[0].p_value == 0.0
    assert judged.comparisons[0].runs_for_difference is None


def test_exact_scores_that_agree_to_rounding_are_a_tie() -> None:
    samples = [
        sample("a", KUHN, (1e-12, 2e-12, 0.0), metric="exploitability"),
        sample("b", KUHN, (0.0, 0.0, 0.0), metric="exploitability"),
    ]
    assert outcomes(judge(claim(KUHN), samples)) == ["tie"]


@pytest.mark.parametrize("few", [1, 2])
def test_too_few_runs_show_nothing(few: int) -> None:
    judged = judge(claim(SPREAD), both(SPREAD, (100.0, 100.1)[:few], (0.0, 0.1, 0.0)))
    assert outcomes(judged) == ["too few runs"] and judged.verdict == "not shown"
    assert judged.comparisons[0].difference == pytest.approx(100.0, abs=0.1)
    assert judged.comparisons[0].corrected is None
    assert any("at least 3 runs a side" in line for line in judged.decide)


def test_unequal_budgets_are_refused() -> None:
    samples = [sample("a", SPREAD, HIGH, 200.0), sample("b", SPREAD, LOW, 100.0)]
    judged = judge(claim(SPREAD), samples)
    assert outcomes(judged) == ["unequal budgets"] and judged.verdict == "not shown"
    assert judged.comparisons[0].missing == "a: 200 steps; b: 100 steps"
    assert judged.comparisons[0].difference is None and judged.chance is None
    assert any("without equal steps: a and b" in line for line in judged.decide)


def test_the_largest_common_budget_with_enough_runs_is_compared() -> None:
    samples = [
        *both(SPREAD, HIGH, LOW),
        sample("a", SPREAD, LOW, 200.0),
        sample("b", SPREAD, HIGH, 200.0),
        sample("a", SPREAD, (1.0,), 300.0),  # one run decides nothing
        sample("b", SPREAD, (2.0,), 300.0),
        sample("a", SPREAD, HIGH, 400.0),  # the other was not trained for so long
        sample("a", SPREAD, HIGH, 200.0, unit="episodes"),
    ]
    judged = judge(claim(SPREAD), samples)
    assert judged.comparisons[0].budget == 200.0 and outcomes(judged) == ["against"]


def test_budgets_that_are_not_recorded_are_compared_with_each_other_only() -> None:
    own = [sample("a", SPREAD, HIGH, None), sample("b", SPREAD, LOW, None)]
    assert judge(claim(SPREAD), own).verdict == "supported"
    mixed = [own[0], sample("b", SPREAD, LOW, 100.0)]
    assert outcomes(judge(claim(SPREAD), mixed)) == ["unequal budgets"]


def test_lower_is_better_where_the_metric_says_so() -> None:
    samples = [
        sample("a", KUHN, LOW, 5.0, metric="exploitability", unit="iterations"),
        sample("b", KUHN, HIGH, 5.0, metric="exploitability", unit="iterations"),
    ]
    judged = judge(claim(KUHN, equal="iterations"), samples)
    assert judged.verdict == "supported"
    assert judged.chance is not None and judged.chance.estimate == 1.0
    turned = claim(KUHN, equal="iterations", higher_is_better=True)
    assert judge(turned, samples).verdict == "contradicted"


def test_a_cost_is_compared_with_the_limit_as_a_known_number() -> None:
    # the limit is 5; mean 3, deviation 1, t = -2 / sqrt(1 / 3) = -3.464 with 2 degrees, p = 0.0742
    costs = claim(CORRIDOR, other=LIMIT, metric="cost")
    judged = judge(costs, [sample("a", CORRIDOR, (2.0, 3.0, 4.0), metric="cost")])
    (each,) = judged.comparisons
    assert each.difference == pytest.approx(-2.0) and each.n == (3, 0)
    assert each.p_value == pytest.approx(0.07418, abs=1e-5)
    assert each.low is not None and each.low == pytest.approx(-2 - 4.3027 / 3**0.5, abs=1e-4)
    assert judged.verdict == "not shown"
    assert judged.chance is not None and judged.chance.estimate == 1.0
    six = [sample("a", CORRIDOR, (2.0, 3.0, 4.0) * 2, metric="cost")]
    assert judge(costs, six).verdict == "supported"
    assert judge(replace(costs, higher_is_better=True), six).verdict == "contradicted"
    with pytest.raises(RecordError, match="has no cost limit"):
        judge(claim(SPREAD, other=LIMIT), [sample("a", SPREAD, HIGH)])


def test_a_higher_return_above_the_cost_limit_does_not_count() -> None:
    def runs(cost: float) -> list[Sample]:
        return [
            sample("a", CORRIDOR, HIGH, others={"cost": (cost,) * 3}),
            sample("b", CORRIDOR, LOW, others={"cost": (1.0,) * 3}),
        ]

    assert outcomes(judge(claim(CORRIDOR), runs(5.0))) == ["for"]
    judged = judge(claim(CORRIDOR), runs(5.1))
    assert outcomes(judged) == ["over the limit"] and judged.verdict == "not shown"
    # nor does it count for the other side
    turned = [replace(each, agent="ab"[each.agent == "a"]) for each in runs(5.1)]
    assert outcomes(judge(claim(CORRIDOR), turned)) == ["over the limit"]


def test_several_tasks_together_can_decide_what_none_does_alone() -> None:
    tasks, samples = (SPREAD, TALK, REFERENCE), []
    for scale, task in zip((1.0, 100.0, 0.01), tasks, strict=True):
        samples += both(task, *(scale * np.array(v) for v in ((3, 4, 5, 9), (0, 2, 2.5, 2.8))))
    alone = judge(claim(*tasks), samples)
    assert alone.verdict == "not shown" and not alone.pooled
    judged = judge(claim(*tasks, over_tasks=True), samples)
    (pooled,) = judged.pooled
    # every run of a beats every run of b on three tasks: 2 of 70^3 permutations are as far apart
    assert pooled.chance.estimate == 1.0 and pooled.p_value == pytest.approx(1e-4, abs=1e-9)
    assert outcomes(judged) == ["undecided"] * 3
    assert pooled.outcome == "for" and judged.verdict == "supported"
    assert judged.count("for") == 1
    backwards = [replace(each, agent="ab"[each.agent == "a"]) for each in samples]
    assert judge(claim(*tasks, over_tasks=True), backwards).verdict == "contradicted"


def test_a_chance_is_the_share_of_pairs_of_runs_won() -> None:
    # 1 wins one of three, 2 wins one and ties one, 3 wins two: 4.5 of 9
    judged = judge(claim(SPREAD), both(SPREAD, (1.0, 2.0, 3.0), (0.0, 2.0, 4.0)))
    assert judged.chance is not None and judged.chance.estimate == pytest.approx(0.5)
    assert judged.chance.low < 0.5 < judged.chance.high


def test_what_would_decide_counts_runs_at_the_corrected_level() -> None:
    # variance 1, half a deviation apart: 64 runs of each side at the level 0.05 (Cohen 1988)
    samples = both(SPREAD, (0.5, 1.5, 2.5), (0.0, 1.0, 2.0))
    judged = judge(claim(SPREAD, budget={"": 1000.0}), samples)
    assert judged.comparisons[0].runs_for_difference == 64
    assert judged.decide[0].startswith("runs a side: 64 to show the differences seen")
    assert judged.decide[-1] == "the published 1,000 steps, instead of 100"
    more = judge(claim(SPREAD, TALK), samples + both(TALK, (0.0, 1.0, 2.0), (0.1, 1.1, 2.1)))
    needed = more.comparisons[0].runs_for_difference
    assert needed is not None and 64 < needed < 90  # 78 at the level 0.025
    assert not judge(claim(SPREAD, budget={"": 100.0}), both(SPREAD, HIGH, LOW)).decide


def test_five_points_are_of_the_normalised_scale() -> None:
    task = registry.make_task("SimpleSpread-v0")
    low, high = task.references["random"].score, task.references["reference"].score
    (each,) = judge(claim(task.id), both(task.id, HIGH, LOW)).comparisons
    zero, one = task.normalised(low), task.normalised(high)
    assert zero is not None and one is not None and each.five_points is not None
    assert each.five_points == pytest.approx(0.05 * (high - low) / (one - zero))
    (each,) = judge(
        claim(CORRIDOR, other=LIMIT, metric="cost"),
        [sample("a", CORRIDOR, (2.0, 3.0, 4.0), metric="cost")],
    ).comparisons
    assert each.five_points == pytest.approx(0.25)


def test_an_agent_with_two_budgets_has_two_samples_in_the_chance() -> None:
    # a beats b at one budget and loses to c at another, in every run: one half, without a doubt
    samples = [
        sample("a", SPREAD, (7.0, 8.0, 9.0), 100.0),
        sample("b", SPREAD, (1.0, 2.0, 3.0), 100.0),
        sample("a", SPREAD, (1.0, 2.0, 3.0), 200.0),
        sample("c", SPREAD, (7.0, 8.0, 9.0), 200.0),
    ]
    pairs = Pair("a", "b", (SPREAD,)), Pair("a", "c", (SPREAD,))
    found = judge(replace(claim(SPREAD), pairs=pairs), samples)
    assert [each.budget for each in found.comparisons] == [100.0, 200.0]
    assert found.chance is not None and tuple(found.chance) == (0.5, 0.5, 0.5)


def test_without_a_reference_100_is_the_best_mean_within_the_limit_and_0_the_floor() -> None:
    ant = registry.make_task("MultiAnt4x2-v1")
    assert "reference" not in ant.references and ant.floor is not None
    floor = ant.floor.score
    assert floor > 900.0  # doing nothing; random play earns less than 0

    def five_points(task: str, first: float, second: float, **more: Any) -> float | None:
        near = [(mean - 1.0, mean, mean + 1.0) for mean in (first, second)]
        costs = more.get("costs", (0.0, 0.0))
        samples = [
            sample(name, task, values, others={"cost": (cost,) * 3} if more else {})
            for name, values, cost in zip("ab", near, costs, strict=True)
        ]
        return judge(claim(task), samples).comparisons[0].five_points

    assert five_points(ant.id, floor + 1000.0, floor + 400.0) == pytest.approx(50.0)
    # nobody is above doing nothing: there is no scale
    assert five_points(ant.id, floor - 100.0, floor - 400.0) is None
    ant_on_limit = registry.make_task("AntVelocity-v0")
    assert ant_on_limit.floor is not None
    top = ant_on_limit.floor.score + 1000.0
    over = five_points(ant_on_limit.id, top + 5000.0, top, costs=(500.0, 20.0))
    assert over == pytest.approx(50.0)


def test_runs_of_the_same_seed_are_compared_where_a_claim_says_so() -> None:
    # differences 1, 2 and 3: mean 2, t = 2 / sqrt(1 / 3) = 3.464 with 2 degrees, p = 0.0742
    paired = claim(SPREAD, is_paired=True)
    first = sample("a", SPREAD, (11.0, 22.0, 33.0))
    second = replace(sample("b", SPREAD, (30.0, 10.0, 20.0, 99.0)), seeds=("2", "0", "1", "7"))
    judged = judge(paired, [first, second])
    (each,) = judged.comparisons
    assert each.n == (3, 3) and each.difference == pytest.approx(2.0)
    assert each.p_value == pytest.approx(0.07418, abs=1e-5)
    assert each.low is not None and each.low == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4)
    # one sample, two deviations from 0: 5 pairs; unpaired ten times that
    assert each.runs_for_difference == 5
    unpaired = judge(claim(SPREAD), [first, second]).comparisons[0].runs_for_difference
    assert unpaired is not None and unpaired > 40
    six = [sample("a", SPREAD, (11.0, 22.0, 33.0) * 2), sample("b", SPREAD, (10.0, 20.0, 30.0) * 2)]
    assert judge(paired, six).verdict == "supported"
    assert judge(claim(SPREAD), six).verdict == "not shown"
    few = judge(paired, [first, replace(second, seeds=("2", "0", "8", "7"))])
    assert outcomes(few) == ["too few runs"]
    assert few.comparisons[0].missing == "2 pairs of runs with the same seed, 3 are needed"
    none = judge(paired, [first, replace(second, seeds=("5", "6", "8", "7"))])
    assert none.comparisons[0].missing == "no runs with the same training seed"
    on_two = [*six, *(replace(of, task=TALK) for of in six)]
    for over, pooled in ((claim(SPREAD, TALK, over_tasks=True), 1), (paired, 0)):
        two = replace(over, pairs=(Pair("a", "b", (SPREAD, TALK)),), over_tasks=True)
        assert len(judge(two, on_two).pooled) == pooled


def test_the_area_under_the_curve_is_in_place_of_a_metric_and_evaluations_have_none() -> None:
    fast = claim(SPREAD, metric="area")
    samples = [
        sample("a", SPREAD, (0.7, 0.8, 0.9), metric="area"),
        sample("b", SPREAD, (0.1, 0.2, 0.3), metric="area"),
    ]
    judged = judge(fast, samples)
    assert judged.verdict == "supported" and judged.is_measured
    assert judged.comparisons[0].five_points == 0.05 and judged.comparisons[0].metric == "area"
    evaluations = both(SPREAD, HIGH, LOW)
    nothing = judge(fast, evaluations)
    assert outcomes(nothing) == ["not measured"] and not nothing.is_measured
    assert verdict(nothing) == "not measured" and verdict(judged) == "supported"
    few = judge(claim(SPREAD), both(SPREAD, HIGH[:2], LOW))
    assert verdict(few) == "not shown"


def test_runs_that_are_missing_are_named() -> None:
    judged = judge(claim(SPREAD, TALK), both(SPREAD, HIGH, LOW))
    assert outcomes(judged) == ["for", "not measured"]
    assert judged.comparisons[1].missing == "no runs of a and b"
    assert "SimpleSpeakerListenerContinuous-v0" in judged.decide[0]


def test_another_rule_of_scoring_weights_is_said() -> None:
    first, second = both(SPREAD, HIGH, LOW)
    judged = judge(claim(SPREAD), [replace(first, keep="best"), second])
    assert judged.comparisons[0].keeps == ("best", "last")
    assert any("which weights are scored" in line for line in judged.decide)


def test_a_claim_without_its_cause_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    main = claim(SPREAD, ablation="cause")
    cause = replace(claim(SPREAD, other="c"), name="cause")
    monkeypatch.setattr(
        "pkubench.evaluation.claims.claims", lambda: {"x": ("s", main), "cause": ("s", cause)}
    )
    samples = both(SPREAD, HIGH, LOW)
    (judged,) = judge_all([("s", main)], [*samples, sample("c", SPREAD, HIGH)])
    assert judged.verdict == "supported" and judged.ablation == "not shown"
    assert judged.is_unexplained and judged.to_json()["ablation"]["verdict"] == "not shown"
    (judged,) = judge_all([("s", main)], [*samples, sample("c", SPREAD, LOW)])
    assert not judged.is_unexplained


def test_evidence_that_does_not_fit_is_refused(tmp_path: Any) -> None:
    with pytest.raises(RecordError, match="two samples of one budget"):
        judge(claim(SPREAD), [*both(SPREAD, HIGH, LOW), sample("a", SPREAD, LOW)])
    with pytest.raises(RecordError, match="3 values of return and 1 seeds"):
        replace(sample("a", SPREAD, HIGH), seeds=("0",))
    with pytest.raises(RecordError, match="seed twice"):
        replace(sample("a", SPREAD, HIGH), seeds=("0", "0", "1"))
    with pytest.raises(RecordError, match="has no return"):
        judge(
            claim(SPREAD), [sample("a", SPREAD, HIGH, metric="cost"), *both(SPREAD, HIGH, LOW)[1:]]
        )
    for text in ("{", '{"schema": 1, "samples": [{}]}', '{"schema": 9, "samples": []}'):
        with pytest.raises(RecordError):
            parse(text)


def test_evidence_is_read_as_it_was_written(tmp_path: Any) -> None:
    samples = (sample("a", SPREAD, HIGH, keep="best"), sample("b", SPREAD, LOW))
    save(reversed(samples), tmp_path / "evidence.json")
    assert parse((tmp_path / "evidence.json").read_text()) == samples


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Not a word"},
        {"pairs": ()},
        {"pairs": (Pair("a", "a", (SPREAD,)),)},
        {"pairs": (Pair(LIMIT, "a", (SPREAD,)),)},
        {"pairs": (Pair("a", "b", ()),)},
        {"equal": "weeks"},
    ],
)
def test_a_declaration_that_says_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(claim(SPREAD), **changes)
