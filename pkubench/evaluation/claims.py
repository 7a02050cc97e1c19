"""Judges what papers claim, by the runs that there are.

A claim (``pkubench.tasks.claim``) becomes one comparison for each pair of agents and task, at the
largest budget that both were trained for. The difference of means has Welch's interval over runs,
or, in a paired claim, Student's interval of the differences of runs with the same training seed;
where a pair is compared on several tasks, both agents are compared over these together as well.
All p-values of a claim are corrected together (Holm), and the verdict counts what is then below
0.05. No agent, task or suite is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pkubench.errors import RecordError, UnknownName
from pkubench.evaluation.evidence import Sample
from pkubench.evaluation.metrics import EXACT_DIGITS, feasible
from pkubench.evaluation.statistics import (
    Interval,
    Runs,
    holm,
    improvement_interval,
    offset_interval,
    permutation_test,
    runs_needed,
    welch_interval,
    wilson_interval,
)
from pkubench.evaluation.verdicts import (
    MIN_RUNS,
    TESTED,
    Comparison,
    Judgement,
    Outcome,
    Pooled,
    amount,
    verdict_of,
    what_would_decide,
)
from pkubench.tasks.claim import AREA, LIMIT, Claim, Pair
from pkubench.tasks.registry import claims, make_task
from pkubench.tasks.task import Metric, Task

LEVEL = 0.05
"""Significance level of the corrected p-values."""
FIVE_POINTS = 0.05
"""A difference worth knowing, on the normalised scale; of a cost, as a share of its limit."""


class _Side(NamedTuple):
    """One side of a comparison."""

    name: str
    values: tuple[float, ...]
    seeds: tuple[str, ...]
    """Training seeds of the values."""
    cost: float | None
    """Mean cost, where the task has a limit."""


class _Compared(NamedTuple):
    """A comparison with the values that it is of."""

    result: Comparison
    first: _Side | None = None
    second: _Side | None = None
    """None also for a limit."""
    is_paired: bool = False
    """Whether the sides have the same seeds, and their runs are compared one by one."""


def judge_all(chosen: Iterable[tuple[str, Claim]], samples: Sequence[Sample]) -> list[Judgement]:
    """Judge claims, each given with its suite, and the ablations that must be read with them.

    Raises:
        RecordError: as :func:`judge`.
        UnknownName: a claim's ablation, a task or its metric does not exist.
    """
    declared = claims()
    judged: dict[str, Judgement] = {}

    def of(suite: str, claim: Claim) -> Judgement:
        if claim.name not in judged:
            judged[claim.name] = judge(claim, samples, suite)
        return judged[claim.name]

    found = []
    for suite, claim in chosen:
        verdict = None
        if claim.ablation:
            if claim.ablation not in declared:
                raise UnknownName("claim", claim.ablation, declared)
            verdict = of(*declared[claim.ablation]).verdict
        found.append(replace(of(suite, claim), ablation=verdict))
    return found


def judge(claim: Claim, samples: Iterable[Sample], suite: str = "") -> Judgement:
    """Return what runs say of a claim.

    Args:
        claim: What is claimed.
        samples: Runs of any agents on any tasks; those that the claim is not about are ignored.
        suite: Name of the suite that declares the claim.

    Raises:
        RecordError: an agent has two samples of one task and budget.
        UnknownName: a task, or its metric, does not exist.
    """
    known = _by_agent_and_task(samples, claim)
    scale = _scale(known)
    found = [
        _compare(claim, pair, task, known, scale) for pair in claim.pairs for task in pair.tasks
    ]
    tested = [each for each in found if each.result.is_tested]
    pooled = []
    if claim.over_tasks and not claim.is_paired:
        pooled = [p for pair in claim.pairs if (p := _pool(pair, tested)) is not None]
    singles = [each.result.p_value or 0.0 for each in tested]
    corrected = holm([*singles, *(p.p_value for p in pooled)])
    ps = iter(corrected[: len(tested)])
    comparisons = tuple(
        _decided(each, next(ps), len(corrected)) if each.result.is_tested else each.result
        for each in found
    )
    pooled = [
        replace(p, corrected=c, outcome=_side(p.chance.estimate > 0.5) if c < LEVEL else p.outcome)
        for p, c in zip(pooled, corrected[len(tested) :], strict=True)
    ]
    outcomes = {each.outcome for each in comparisons} | {each.outcome for each in pooled}
    judgement = Judgement(
        claim=claim,
        suite=suite,
        verdict=verdict_of("for" in outcomes, "against" in outcomes),
        chance=_chance(found),
        comparisons=comparisons,
        pooled=tuple(pooled),
        decide=(),
    )
    return replace(judgement, decide=tuple(what_would_decide(judgement)))


_Known = Mapping[tuple[str, str], Mapping[float | None, Sample]]


def _by_agent_and_task(samples: Iterable[Sample], claim: Claim) -> _Known:
    """Return (agent, task) -> budget in the claim's unit -> sample."""
    known: dict[tuple[str, str], dict[float | None, Sample]] = {}
    for sample in samples:
        if claim.metric == AREA.name and AREA.name not in sample.metrics:
            continue  # an evaluation, which knows nothing of the training
        if sample.unit in (claim.equal, "") and sample.task in claim.tasks:
            budgets = known.setdefault((sample.agent, sample.task), {})
            if sample.budget in budgets:
                raise RecordError(
                    f"{sample.agent} on {sample.task} has two samples of one budget; give one"
                )
            budgets[sample.budget] = sample
    return known


def _scale(known: _Known) -> Mapping[str, float]:
    """Return the best mean return on each task, of agents within its cost limit if it has one."""
    best: dict[str, float] = {}
    for (_, name), budgets in known.items():
        task = make_task(name)
        for sample in budgets.values():
            values = sample.metrics.get(task.ranking.name, ())
            is_over = feasible(task, _mean_cost(sample, task)) is False
            if values and task.ranking.higher_is_better and not is_over:
                mean = sum(values) / len(values)
                best[name] = max(best.get(name, mean), mean)
    return best


def _mean_cost(sample: Sample, task: Task) -> float | None:
    costs = sample.metrics.get("cost", ()) if task.cost_limit is not None else ()
    return sum(costs) / len(costs) if costs else None


def _compare(
    claim: Claim, pair: Pair, name: str, known: _Known, scale: Mapping[str, float]
) -> _Compared:
    task = make_task(name)
    metric = claim.metric_of(task)
    higher = metric.higher_is_better if claim.higher_is_better is None else claim.higher_is_better
    result = Comparison(
        better=pair.better,
        other=pair.other,
        task=name,
        metric=metric.name,
        higher_is_better=higher,
        outcome="not measured",
        five_points=_five_points(task, metric, scale),
    )
    agents = [pair.better] if pair.other == LIMIT else [pair.better, pair.other]
    budgets = [known.get((agent, name), {}) for agent in agents]
    lost = [agent for agent, found in zip(agents, budgets, strict=True) if not found]
    if lost:
        return _Compared(replace(result, missing=f"no runs of {' and '.join(lost)}"))
    common = set.intersection(*(set(found) for found in budgets))
    if not common:
        each = "; ".join(
            f"{agent}: {', '.join(amount(b, claim.equal) for b in found)}"
            for agent, found in zip(agents, budgets, strict=True)
        )
        return _Compared(replace(result, outcome="unequal budgets", missing=each))

    def rank(budget: float | None) -> tuple[bool, float]:
        least = min(found[budget].n for found in budgets)
        return least >= MIN_RUNS, -1.0 if budget is None else budget

    budget = max(common, key=rank)
    sides = [
        _side_of(found[budget], task, metric, agent)
        for agent, found in zip(agents, budgets, strict=True)
    ]
    second = sides[1] if len(sides) > 1 else None
    keeps = tuple(found[budget].keep for found in budgets)
    result = replace(result, budget=budget, keeps=keeps if len(set(keeps)) > 1 else ())
    if claim.is_paired and second is not None:
        both = [seed for seed in sides[0].seeds if seed in second.seeds]
        sides = [_of_seeds(side, both) for side in sides]
        second = sides[1]
    result = replace(result, n=(len(sides[0].values), len(second.values) if second else 0))
    return _tested(result, sides[0], second, task, claim.is_paired)


def _of_seeds(side: _Side, seeds: Sequence[str]) -> _Side:
    """Return the runs of some seeds, in their order."""
    by_seed = dict(zip(side.seeds, side.values, strict=True))
    return side._replace(values=tuple(by_seed[seed] for seed in seeds), seeds=tuple(seeds))


def _side_of(sample: Sample, task: Task, metric: Metric, agent: str) -> _Side:
    if metric.name not in sample.metrics:
        raise RecordError(f"evidence of {agent} on {task.id} has no {metric.name}")
    values = sample.metrics[metric.name]
    if metric.interval == "exact":  # rounding errors of solvers around zero make no agent better
        values = tuple(round(value, EXACT_DIGITS) for value in values)
    # the name tells a sample from another one of the agent, with another budget
    name = f"{agent} {task.id} {sample.budget}"
    return _Side(name, values, sample.seeds, _mean_cost(sample, task))


def _tested(
    result: Comparison, first: _Side, second: _Side | None, task: Task, is_paired: bool
) -> _Compared:
    """Return the comparison with its difference; the outcome is decided when all are there."""
    if second is None:
        if task.cost_limit is None:
            raise RecordError(f"{task.id} has no cost limit to compare {result.better} with")
        gap = offset_interval(first.values, task.cost_limit)
    elif is_paired:
        if not first.values:
            few = "no runs with the same training seed"
            return _Compared(replace(result, outcome="too few runs", missing=few))
        gap = offset_interval(_differences(first, second), 0.0)
    else:
        gap = welch_interval(first.values, second.values)
    has_interval = gap.low == gap.low  # not NaN
    result = replace(
        result,
        difference=gap.estimate,
        low=gap.low if has_interval else None,
        high=gap.high if has_interval else None,
        p_value=gap.p_value if has_interval else None,
    )
    sizes = [n for n in result.n if n]
    if min(sizes) < MIN_RUNS:
        few = f"{' and '.join(map(str, sizes))} runs, {MIN_RUNS} of each side are needed"
        if is_paired:
            few = f"{sizes[0]} pairs of runs with the same seed, {MIN_RUNS} are needed"
        return _Compared(replace(result, outcome="too few runs", missing=few), first, second)
    is_tie = gap.estimate == 0.0 and gap.low == gap.high
    outcome: Outcome = "tie" if is_tie else "undecided"
    return _Compared(replace(result, outcome=outcome), first, second, is_paired)


def _differences(first: _Side, second: _Side) -> list[float]:
    """Return the differences of runs with the same seed."""
    return [a - b for a, b in zip(first.values, second.values, strict=True)]


def _decided(each: _Compared, corrected: float, tests: int) -> Comparison:
    """Return a tested comparison with its outcome, and the runs that would decide it."""
    result, first = each.result, each.first
    assert first is not None and result.difference is not None
    outcome: Outcome = "undecided"
    if corrected < LEVEL:
        is_first = (result.difference > 0.0) == result.higher_is_better
        outcome = _side(is_first)
        winner = first if is_first else each.second
        task = make_task(result.task)
        is_return = result.metric == task.ranking.name and each.second is not None
        if is_return and winner is not None and feasible(task, winner.cost) is False:
            outcome = "over the limit"
    own: Sequence[float] = first.values
    other = each.second.values if each.second is not None else None
    if each.is_paired and each.second is not None:  # one sample, compared with 0
        own, other = _differences(first, each.second), None

    def needed(difference: float | None) -> int | None:
        if difference is None:
            return None
        return runs_needed(own, other, difference, alpha=LEVEL / tests)

    return replace(
        result,
        corrected=corrected,
        outcome=outcome,
        runs_for_difference=needed(result.difference),
        runs_for_five_points=needed(result.five_points),
    )


def _side(is_first: bool) -> Outcome:
    return "for" if is_first else "against"


def _five_points(task: Task, metric: Metric, scale: Mapping[str, float]) -> float | None:
    """Return 5 points of the normalised scale; without a reference, the best mean seen is 100.

    None where that is not above the floor, so that there is no scale.
    """
    if metric.name == "cost" and task.cost_limit is not None:
        return FIVE_POINTS * task.cost_limit
    if metric is AREA:
        return FIVE_POINTS
    if metric.name != task.ranking.name:
        return None
    zero, one = task.normalised(0.0), task.normalised(1.0)
    if zero is not None and one is not None:
        return FIVE_POINTS / abs(one - zero)
    if task.id not in scale or task.floor is None or scale[task.id] <= task.floor.score:
        return None
    return FIVE_POINTS * (scale[task.id] - task.floor.score)


def _pool(pair: Pair, tested: Sequence[_Compared]) -> Pooled | None:
    """Compare a pair over its tasks, if there are several and a higher value always counts."""
    chosen = [
        each
        for each in tested
        if (each.result.better, each.result.other) == (pair.better, pair.other)
        and each.result.task in pair.tasks
    ]
    samples = _oriented(chosen)
    limited = [make_task(each.result.task).cost_limit is not None for each in chosen]
    if len(samples) < 2 or any(limited):
        return None
    p = permutation_test([(x.values, y.values) for x, y in samples])
    return Pooled(
        better=pair.better,
        other=pair.other,
        tasks=tuple(each.result.task for each in chosen),
        chance=improvement_interval(samples),
        p_value=p,
        corrected=1.0,
        outcome="undecided",
    )


def _oriented(compared: Sequence[_Compared]) -> list[tuple[Runs, Runs]]:
    """Return both sides' runs of comparisons of two agents, higher being better."""
    found = []
    for each in compared:
        if each.first is not None and each.second is not None:
            sign = 1.0 if each.result.higher_is_better else -1.0
            first, second = (
                Runs(side.name, [sign * value for value in side.values])
                for side in (each.first, each.second)
            )
            found.append((first, second))
    return found


def _chance(found: Sequence[_Compared]) -> Interval | None:
    """Return the claim's chance: see ``Judgement.chance``."""
    counted = [each for each in found if each.result.outcome in (*TESTED, "tie")]
    samples = _oriented(counted)
    if samples:
        return improvement_interval(samples)
    right = total = 0
    for each in counted:
        limit = make_task(each.result.task).cost_limit
        assert each.first is not None and limit is not None
        total += len(each.first.values)
        right += sum((v > limit) == each.result.higher_is_better for v in each.first.values)
    return wilson_interval(right, total) if total else None
