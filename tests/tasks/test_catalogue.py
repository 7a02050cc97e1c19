"""Every task has a registered environment, and its anchors are measured."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pkubench
from pkubench.envs.core.registry import environments
from pkubench.errors import UnknownName
from pkubench.tasks.registry import make_task, suites, tasks
from pkubench.tasks.task import Task

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
        assert anchor in ("random", "no-op", "best-shared", "reference")
        assert reference.n >= 1 and reference.command and reference.agent


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_the_random_agent_is_the_zero_of_the_scale(task: Task) -> None:
    assert task.references["random"].agent == "random"
    if "reference" in task.references:
        assert task.normalised(task.references["random"].score) == 0.0
        assert task.normalised(task.references["reference"].score) == 1.0
    else:
        assert task.normalised(0.0) is None


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
