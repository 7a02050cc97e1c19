"""Validation: when, on what, and which weights are saved; training does not notice it."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pkubench.agents.learner import Export
from pkubench.agents.registry import families
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.saved.files import SavedAgent, load_saved
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import validation_seeds
from pkubench.errors import ConfigError, WeightsError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.registry import make_task, tasks
from pkubench.tasks.scoring import Episode
from pkubench.training import checkpoints
from pkubench.training.session import train
from pkubench.training.validation import Point, Validation, Validator, validation_for
from tests.agents.toy_envs import COST, RETURN, SpeedEnv, task_of

SMALL = {
    "num_envs": "4",
    "rollout_steps": "16",
    "hidden": "[8]",
    "minibatches": "2",
    "epochs": "1",
    "critic_epochs": "1",
    "actor_lr": "0.1",
}
REPLAY = {"num_envs": "4", "hidden": "[8]", "warmup_steps": "80", "train_interval": "10"}
LIMITED = dataclasses.replace(task_of(SpeedEnv, cost_limit=4.0), metrics=(RETURN, COST))


def run(out: Path, how: Validation | None, steps: int = 640, **more: Any) -> list[Any]:
    options: dict[str, Any] = {"steps": steps, "seed": 3, "settings": SMALL, **more}
    return list(train("ppo", LIMITED, out=out, validation=how, **options))


def points(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load_saved(folder).config["validation"]["points"]
    return found


def test_defaults_follow_the_length_of_episodes_and_exact_tasks_have_none() -> None:
    spread, robot = make_task("SimpleSpread-v0"), make_task("HopperVelocity-v0")
    assert validation_for(spread) == Validation(points=20, episodes=8, window=10)
    assert validation_for(robot) == Validation(points=20, episodes=4, window=10)
    assert validation_for(spread, points=3) == Validation(points=3, window=1)
    assert validation_for(spread, points=0) is None
    assert validation_for(make_task("KuhnPoker-v0")) is None
    for how, words in (
        ({"points": 0, "keep": "best"}, "needs validation"),
        ({"points": 4, "window": 5}, "a window of 5 needs as many points"),
        ({"keep": "first"}, "must be last or best"),
    ):
        with pytest.raises(ConfigError, match=words):
            validation_for(spread, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("updates", [20, 23, 40, 500])
def test_ten_points_of_every_default_lie_in_the_last_half_of_a_training(updates: int) -> None:
    size, total = 1000, 1000 * updates
    defaults = {how for task in tasks() if (how := validation_for(task)) is not None}
    assert {how.episodes for how in defaults} == {4, 8}
    for how in defaults:
        validator = Validator(how, families()["on-policy"], LIMITED, None, 0, total)  # type: ignore[arg-type]
        for done in range(size, total + 1, size):
            if validator.is_due(done, done == total):
                validator.points.append(Point(done, 0, {}))
        assert len(validator.points) == 20
        assert sum(point.at > total / 2 for point in validator.points) >= 10


@pytest.mark.parametrize(("wanted", "found"), [(4, [192, 320, 512, 640]), (50, range(64, 641, 64))])
def test_points_are_spread_evenly_or_are_at_each_of_fewer_updates(
    tmp_path: Path, wanted: int, found: Any
) -> None:
    run(tmp_path, Validation(points=wanted, episodes=2, window=1))
    assert [point["at"] for point in points(tmp_path)] == list(found)
    assert [p["first_episode"] for p in points(tmp_path)] == list(range(0, 2 * len(found), 2))
    lines = [json.loads(x) for x in (tmp_path / "training.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "validation_return" in line]
    assert [line["steps"] for line in validated] == list(found)
    assert [line["validation_cost"] for line in validated] == pytest.approx(
        [point["cost"] for point in points(tmp_path)], abs=1e-6
    )
    assert ["validation_sampled_return" in line for line in lines].index(True) == len(lines) - 1


def test_every_point_can_also_be_sampled(tmp_path: Path) -> None:
    usual, sampled = (
        Validation(points=4, episodes=4, window=2, sampled=flag) for flag in (False, True)
    )
    assert len(run(tmp_path / "usual", usual)) == len(run(tmp_path / "sampled", sampled))
    facts = load_saved(tmp_path / "sampled").config["validation"]
    lines = [json.loads(x) for x in (tmp_path / "sampled/training.jsonl").read_text().splitlines()]
    found = [x["validation_sampled_return"] for x in lines if "validation_sampled_return" in x]
    assert found == pytest.approx([point["return"] for point in facts["sampled_points"]], abs=1e-6)
    assert [p["at"] for p in facts["sampled_points"]] == [p["at"] for p in facts["points"]]
    assert facts["sampled"] == facts["sampled_points"][-1]
    weights = [(tmp_path / n / "weights.safetensors").read_bytes() for n in ("usual", "sampled")]
    assert weights[0] == weights[1]
    assert "sampled_points" not in load_saved(tmp_path / "usual").config["validation"]


def test_at_least_ten_points_lie_in_the_last_half_of_a_usual_run() -> None:
    how = validation_for(make_task("SimpleSpread-v0"))
    assert how is not None
    family = families()["on-policy"]
    validator = Validator(how, family, LIMITED, None, 0, 10_000)  # type: ignore[arg-type]
    at = []
    for done in range(37, 10_037, 37):
        if validator.is_due(done, done >= 10_000):
            at.append(done)
            validator.points.append(Point(done, 0, {}))
    assert len(at) == 20 and sum(done > 5000 for done in at) >= 10 and at[-1] >= 10_000


def test_a_point_is_what_the_saved_agent_scores_on_those_seeds(tmp_path: Path) -> None:
    run(tmp_path, Validation(points=2, episodes=8, window=1))
    [*_, last] = points(tmp_path)
    agent = load_agent(str(tmp_path), LIMITED)
    env = make_batch(LIMITED.id, 8)
    seeds = validation_seeds(3, 8, last["first_episode"])
    episodes = [Episode(number=8 + k, seed=s, agent_seed=s) for k, s in enumerate(seeds.tolist())]
    records = list(run_block(env, agent, LIMITED, episodes))
    assert np.mean([record.return_ for record in records]) == last["return"]
    assert np.mean([record.cost for record in records]) == last["cost"]
    sampled = load_saved(tmp_path).config["validation"]["sampled"]
    assert sampled["at"] == last["at"] and sampled["return"] != last["return"]
    assert load_saved(tmp_path).config["saved"] == {"rule": "last", "at": 640}


@pytest.mark.parametrize(
    ("agent", "task", "settings"),
    [
        ("ppo-saute", LIMITED, SMALL),
        ("happo", make_task("SimpleSpread-v0"), {k: v for k, v in SMALL.items() if k != "epochs"}),
        (
            "hasac",
            make_task("SimpleSpreadContinuous-v0"),
            {**REPLAY, "batch_size": "16"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_training_does_not_notice_it(
    tmp_path: Path, agent: str, task: Any, settings: dict[str, str]
) -> None:
    for name, how in (("without", None), ("with", Validation(points=3, episodes=4, window=2))):
        how_: dict[str, Any] = {"validation": how, "settings": settings, "steps": 320, "seed": 1}
        list(train(agent, task, out=tmp_path / name, **how_))
    one, other = ((tmp_path / n / "weights.safetensors") for n in ("without", "with"))
    assert one.read_bytes() == other.read_bytes()
    assert len(points(tmp_path / "with")) == 3


def _validator(how: Validation, limit: float | None) -> Validator:
    task = task_of(SpeedEnv, cost_limit=limit)
    return Validator(how, families()["on-policy"], task, None, 0, 100)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "returns", "costs", "best"),
    [
        (None, [1, 9, 1, 5, 5, 2], [0] * 6, 5),  # the best window, not the best point
        (None, [3, 3, 3, 3, 3, 3], [0] * 6, 6),  # ties go to the later one
        (4.0, [9, 9, 1, 1, 8, 8], [9, 9, 1, 1, 9, 9], 4),  # feasible before good
        (4.0, [1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 8, 9], 4),  # none is: the cheapest
        (None, [9, None, 4, 1, 1, 2], [0] * 6, 4),  # a failure is in no window
    ],
)
def test_the_best_weights_are_the_last_of_the_best_full_window(
    limit: float | None, returns: list[float | None], costs: list[float], best: int
) -> None:
    validator = _validator(Validation(points=6, window=2, keep="best"), limit)
    for at, (value, cost) in enumerate(zip(returns, costs, strict=True), start=1):
        figures = {} if value is None else {"return": float(value), "cost": float(cost)}
        validator.points.append(Point(at, 0, figures, "" if figures else "it failed"))
        validator._consider(Export({}, {"at": np.array([at])}), at)
    assert validator.best is not None
    assert (validator.best.at, validator.best.export.tensors["at"][0]) == (best, best)
    assert validator.facts(6)["saved"] == {"rule": "best", "at": best}


def test_without_a_full_window_the_last_weights_are_saved_and_it_is_said() -> None:
    validator = _validator(Validation(points=6, window=3, keep="best"), None)
    validator.points.append(Point(50, 0, {"return": 1.0}))
    validator._consider(Export({}, {}), 50)
    saved = validator.facts(100)["saved"]
    assert (saved["rule"], saved["at"]) == ("last", 100) and "window of 3" in saved["because"]


def test_the_best_weights_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Validation(points=10, episodes=2, window=2, keep="best")
    # The largest rates spoil what was learned, so that the best is not the last.
    more = {"settings": {**SMALL, "actor_lr": "1.0"}}
    run(tmp_path / "whole", how, **more)
    saved = load_saved(tmp_path / "whole").config["saved"]
    assert saved["rule"] == "best" and saved["at"] < 640, "this seed must show a difference"
    run(tmp_path / "last", Validation(points=10, episodes=2, window=2), **more)
    whole, last, parts = (tmp_path / n for n in ("whole", "last", "parts"))
    assert _weights(whole) != _weights(last)
    monkeypatch.setattr(checkpoints.Spacing, "is_due", True)
    part = train("ppo", LIMITED, steps=640, seed=3, out=parts, validation=how, **more)
    while next(part).steps < saved["at"] + 64:
        pass
    part.close()
    run(parts, how, resume=True, **more)
    assert _weights(parts) == _weights(whole)
    config = {folder: load_saved(folder).config for folder in (whole, last, parts)}
    assert config[parts]["validation"] == config[whole]["validation"]
    # The cost in training is of the whole training, whichever weights are kept.
    assert config[whole]["training_cost"] == config[last]["training_cost"]
    assert config[parts]["training_cost"] == config[last]["training_cost"]
    # What is sampled from is what is saved.
    sampled = config[whole]["validation"]["sampled"]
    assert sampled["at"] == saved["at"]
    agent = load_agent(f"{whole}+mode=sampled", LIMITED)
    assert _mean_return(agent, 3, sampled["first_episode"], 2) == sampled["return"]


def _mean_return(agent: Any, seed: int, first: int, count: int) -> float:
    env = make_batch(LIMITED.id, count)
    seeds = validation_seeds(seed, count, first).tolist()
    episodes = [Episode(number=first + k, seed=s, agent_seed=s) for k, s in enumerate(seeds)]
    return float(np.mean([r.return_ or 0.0 for r in run_block(env, agent, LIMITED, episodes)]))


def test_a_stop_after_the_last_update_loses_nothing(tmp_path: Path) -> None:
    how = Validation(points=2, episodes=2, window=1)
    part = train("ppo", LIMITED, steps=128, seed=3, out=tmp_path, validation=how, settings=SMALL)
    while next(part).steps < 128:
        pass
    part.close()
    run(tmp_path, how, 128, resume=True)
    assert load_saved(tmp_path).config["validation"]["sampled"]["at"] == 128


def test_agents_are_loaded_with_the_settings_that_their_family_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[dict[str, Any]] = []

    def strict(saved: SavedAgent, task: Any, acting: dict[str, Any]) -> Any:
        received.append(acting)
        raise WeightsError("enough seen")

    monkeypatch.setitem(sys.modules, "strict_loader", types.SimpleNamespace(load=strict))
    family = dataclasses.replace(
        families()["on-policy"], load="strict_loader:load", acting={"target_return": (1.0, 2.0)}
    )
    validator = Validator(Validation(points=1, window=1), family, LIMITED, None, 0, 10)  # type: ignore[arg-type]
    validator.validate(Export({}, {}), {}, 10, True)
    assert received == [{"target_return": 1.0}]


def _weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_weights_that_cannot_act_are_a_point_with_a_reason(tmp_path: Path) -> None:
    from pkubench.agents.rl.on_policy.training import OnPolicyTraining

    whole = OnPolicyTraining.export

    def spoilt(self: OnPolicyTraining) -> Export:
        export = whole(self)
        return export._replace(tensors={k: v * np.nan for k, v in export.tensors.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnPolicyTraining, "export", spoilt)
        run(tmp_path, Validation(points=2, episodes=2, window=1), steps=128)
    assert all("WeightsError" in point["failure"] for point in points(tmp_path))
    assert "validation_return" not in (tmp_path / "training.jsonl").read_text()
