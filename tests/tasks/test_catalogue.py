"""Every task has a registered environment, and its anchors are measured."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

import pkubench
from pkubench.envs.core.registry import environments
from pkubench.errors import UnknownName
from pkubench.tasks.registry import make_task, suites, tasks
from pkubench.tasks.task import Reference, Task

ALL = {task.id: task for task in tasks()}


def test_every_registered_environment_of_the_package_is_a_task_and_vice_versa() -> None:
    shipped = {
        spec.id for spec in environments().values() if spec.entry_point.startswith("pkubench.")
    }
    assert shipped == set(ALL)
    assert {task.suite for task in tasks()} == set(suites())


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_a_task_says_what_a_reader_needs(task: Task) -> None:
    assert task.title and task.notes and task.ranking.describe and task.ranking.unit
    assert task.protocol.horizon == environments()[task.id].horizon
    assert 1 <= task.protocol.quick_episodes <= task.protocol.episodes
    assert (task.cost_limit is not None) == ("cost" in {m.name for m in task.metrics})
    for anchor, reference in task.references.items():
        assert anchor in ("random", "best-shared", "reference", *task.lazy)
        assert reference.n >= 1 and reference.command and reference.agent


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_the_best_of_random_and_lazy_policies_is_the_zero_of_the_scale(task: Task) -> None:
    assert task.references["random"].agent == "random"
    sign = 1.0 if task.ranking.higher_is_better else -1.0
    floors = {"random", *task.lazy}
    lazy = [sign * r.score for name, r in task.references.items() if name in floors]
    top = task.references.get("reference")
    if top is not None and sign * top.score > max(lazy):
        assert task.normalised(sign * max(lazy)) == 0.0
        assert task.normalised(top.score) == 1.0
    else:
        assert task.normalised(0.0) is None


def test_a_lazy_policy_above_random_is_worth_nothing_whichever_way_is_better() -> None:
    def task(higher_is_better: bool, **scores: float) -> Task:
        found = make_task("MultiAnt4x2-v1")
        metric = replace(found.ranking, higher_is_better=higher_is_better)
        anchors = {n: Reference(agent=n, score=s, n=1, command="-") for n, s in scores.items()}
        lazy = dict.fromkeys(scores.keys() - {"random", "reference"})
        return replace(found, metrics=(metric,), references=anchors, lazy=lazy)

    ant = task(True, **{"random": -50.0, "no-op": 1000.0, "reference": 3000.0})
    assert [ant.normalised(s) for s in (1000.0, 2000.0, -50.0)] == [0.0, 0.5, -0.525]
    fall = task(False, **{"random": 0.8, "silent": 0.4, "reference": 0.0})
    assert [fall.normalised(s) for s in (0.4, 0.1)] == pytest.approx([0.0, 0.75])
    # a reference that is no better than doing nothing gives no scale
    level = task(True, **{"random": 0.0, "no-op": 9.0, "reference": 9.0})
    assert level.normalised(5.0) is None
    assert "(reference, 9) is not above" in level.no_scale and "(no-op, 9)" in level.no_scale
    assert task(True, random=0.0).normalised(5.0) is None
    assert task(True, random=0.0).no_scale == "no reference agent is measured"
    assert ant.no_scale == fall.no_scale == ""


@pytest.mark.parametrize(
    "task",
    [t for t in tasks() if re.search("Velocity|/Multi|/Simple", t.id)],
    ids=lambda task: task.id,
)
def test_robots_and_particles_have_the_scores_of_their_lazy_policies(task: Task) -> None:
    assert set(task.lazy) <= set(task.references) and "no-op" in task.lazy
    falls = any(name in task.id for name in ("Hopper", "Walker2d", "Humanoid"))
    assert ("standing" in task.lazy) == falls
    assert ("silent" in task.lazy) == ("Reference" in task.id or "Listener" in task.id)
    if falls:  # the healthy reward of each of 1,000 steps
        healthy = 5000.0 if "Humanoid" in task.id else 1000.0
        assert task.references["standing"].score == pytest.approx(healthy, rel=0.02)


def test_silent_teams_score_what_the_geometry_gives() -> None:
    # an independent simulation of going to the centroid (standard error 0.2)
    for name, expected in (("SimpleReference-v0", -34.9), ("SimpleReferenceContinuous-v0", -34.3)):
        assert make_task(name).references["silent"].score == pytest.approx(expected, abs=1.0)


def test_a_short_name_will_do_and_a_wrong_one_names_the_nearest() -> None:
    assert make_task("LeducPoker-v0") is make_task("pkubench/LeducPoker-v0")
    with pytest.raises(UnknownName, match="did you mean 'pkubench/HopperVelocity-v0'"):
        make_task("HoperVelocity-v0")
    assert make_task("HopperVelocity-v0").metric("cost").unit == "steps"
    with pytest.raises(UnknownName, match="did you mean 'return'"):
        make_task("HopperVelocity-v0").metric("retrun")
    # what begins alike is nearer than what merely holds the same letters
    with pytest.raises(UnknownName, match="did you mean 'pkubench/HalfCheetahVelocity-v0'"):
        make_task("HalfCheetah-v0")


@pytest.mark.parametrize("robot", ["Point", "Car", "Doggo", "Ant"])
def test_a_navigation_task_has_a_limit_where_its_environment_has_a_constraint(robot: str) -> None:
    for name in ("Goal", "Button", "Push", "Circle"):
        limits = [make_task(f"{robot}{name}{level}-v0").cost_limit for level in (0, 1, 2)]
        assert limits == [None, 25.0, 25.0]
    assert make_task(f"{robot}Run0-v0").cost_limit == 25.0


def test_environments_with_random_layouts_have_more_episodes() -> None:
    episodes = {t.id: t.protocol.episodes for t in tasks() if t.suite == "constrained"}
    assert {n for name, n in episodes.items() if "Velocity" not in name} == {64}
    assert {n for name, n in episodes.items() if "Velocity" in name} == {16}


def test_random_team_returns_agree_with_an_independent_simulation() -> None:
    # 20 000 episodes of another simulator of the same rules, standard error 0.17 like ours.
    for name, expected in (("SimpleSpread-v0", -79.4), ("SimpleSpreadContinuous-v0", -75.7)):
        reference = make_task(name).references["random"]
        assert reference.n == 20_000
        assert reference.score == pytest.approx(expected, abs=3 * 0.17 * 2**0.5)


def test_listing_tasks_imports_nothing_heavy() -> None:
    code = (
        "import sys, pkubench; assert len(pkubench.tasks()) >= 14; "
        "print([m for m in ('torch','mujoco','pyspiel','matplotlib','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert pkubench.tasks() is tasks()
