"""VDN and QMIX in a session: episodes, deaths, masks, resuming, and saved teams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkubench.agents.components import with_settings
from pkubench.agents.contract import MaskedObservation, Team
from pkubench.agents.families.value_based.loading import load
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.agents.resolve.loading import load_agent
from pkubench.agents.rl.value_based import make_learner
from pkubench.agents.rl.value_based.episodes import EpisodeBuffer, episodes_of
from pkubench.agents.saved.files import SavedAgent, load_saved
from pkubench.agents.suitability import why_not
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, WeightsError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.registry import make_task
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task
from pkubench.training.session import train
from pkubench.training.state import join, split
from tests.agents.encoded_envs import MortalTeam
from tests.agents.test_rollout_edges import Masked
from tests.agents.toy_envs import SpeedEnv, task_of

SMALL = {
    "num_envs": "3",
    "batch_episodes": "4",
    "buffer_episodes": "7",
    "updates": "2",
    "hidden": "[5]",
    "units": "4",
    "epsilon_steps": "60",
}


def learner_of(task: Task, agent: str = "qmix", **more: str) -> Any:
    config = with_settings(preset(agent).config(task), {**SMALL, **more})
    return make_learner(Context(agent=agent, task=task, settings=config, seed=1, total=1000))


def played(made: Any) -> Any:
    """Return the episodes of a round."""
    data = made.collector.collect(1, made.learner.behave, restart=True, whole_episodes=True)
    return episodes_of(data, made.collector.info, made.learner.shape)


@pytest.mark.parametrize("env", [MortalTeam, Masked])
def test_no_episode_inherits_a_memory(env: Any) -> None:
    """That of the survivors of the episode before neither: every step is that of a fresh start."""
    made, seen = learner_of(task_of(env)), []
    learner = made.learner
    explored = learner._explored
    learner._explored = lambda q, legal: (seen.append(q.clone()), explored(q, legal))[1]
    with torch.no_grad():
        for weight in learner.utilities.parameters():
            weight.mul_(3.0)
    for _ in range(2):
        seen.clear()
        episodes = played(made)
        with torch.no_grad():
            q, _ = learner.utilities(
                learner._tensor(episodes.observations), learner._last_actions(episodes)
            )
        alive = torch.from_numpy(episodes.alive[:-1])
        torch.testing.assert_close(torch.stack(seen)[alive], q[:-1][alive], atol=1e-5, rtol=0)
        assert q.std(0)[:, 0].min() > 1e-4, "the memory changes values"
    made.close()


def test_the_time_limit_is_no_termination_and_the_last_observation_and_mask_are_kept() -> None:
    made = learner_of(task_of(Masked))
    episodes = played(made)
    assert episodes.truncated[-1].all() and not episodes.terminated.any()
    assert episodes.valid.shape == (6, 3) and episodes.observations.shape[0] == 7
    assert (episodes.observations[:, 0, 0, 2] == np.arange(7)).all()
    for t in range(7):
        for k in range(2):
            legal = [(t + k) % 4, (t + k + 1) % 4]
            assert np.flatnonzero(episodes.legal[t, 0, k]).tolist() == sorted(legal)
    taken = np.take_along_axis(episodes.legal[:-1], episodes.actions[..., None], -1)
    assert taken.all(), "random actions are legal"
    made.close()


def test_what_a_dead_agent_observes_and_does_changes_nothing() -> None:
    made = learner_of(task_of(MortalTeam), "vdn")
    episodes = played(made)
    assert not episodes.alive[1:, :, 1].any() and episodes.alive[:, :, 0].all()
    loss = made.learner.loss(episodes)["loss"]
    other = episodes._replace(actions=episodes.actions.copy())
    other.actions[1:, :, 1] = 1 - other.actions[1:, :, 1]
    assert made.learner.loss(other)["loss"] == loss
    made.env.garbage = 1e9
    made.learner.epsilon = 1.0
    assert (np.abs(played(made).observations) <= 1.0).all()
    made.close()


def test_the_replay_keeps_the_newest_episodes_and_draws_each_at_most_once() -> None:
    made = learner_of(task_of(Masked))
    buffer, episodes = EpisodeBuffer(4), played(made)
    for number in range(6):
        one = episodes.take(number % 3)
        buffer.add(one._replace(rewards=np.full_like(one.rewards, number)))
    drawn = buffer.sample(4, torch.Generator().manual_seed(0)).rewards[0]
    assert sorted(drawn.tolist()) == [2.0, 3.0, 4.0, 5.0]
    other = EpisodeBuffer(4)
    other.thaw(buffer.freeze())
    for one, two in zip(buffer.held, other.held, strict=True):
        for a, b in zip(one, two, strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b)
    made.close()


@pytest.mark.parametrize("more", [{}, {"memory": "none", "last_action": "false"}])
def test_training_resumes_exactly(more: dict[str, str]) -> None:
    settings = {k: v for k, v in SMALL.items() if k != "units" or not more}
    task = task_of(MortalTeam)
    config = with_settings(preset("qmix").config(task), {**settings, **more})
    context = Context(agent="qmix", task=task, settings=config, seed=1, total=1000)
    made, other = make_learner(context), make_learner(context)
    for _ in range(3):
        made.iterate()
    tensors, plain = split(made.state())
    other.load_state(join(tensors, plain))
    for _ in range(2):
        assert made.iterate() == other.iterate()
    one, two = split(made.state())[0], split(other.state())[0]
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    with pytest.raises(WeightsError, match="does not fit"):
        other.load_state({**join(tensors, plain), "replay": {"lengths": np.ones(3)}})
    made.close()
    other.close()


def test_a_saved_team_acts_as_the_trained_one_did(tmp_path: Path) -> None:
    task = task_of(Masked)
    for _ in train("qmix", task, steps=90, seed=0, settings=SMALL, out=tmp_path / "run"):
        pass
    made = learner_of(task)
    saved = load_saved(tmp_path / "run")
    for number, net in enumerate(made.learner.utilities.nets):
        prefix = f"group{number}."
        of = {k.removeprefix(prefix): v for k, v in saved.tensors.items() if k.startswith(prefix)}
        net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in of.items()})
    made.learner.epsilon = 0.0
    episodes = played(made)
    team: Any = load_agent(str(tmp_path / "run"), task)
    assert isinstance(team, Team)
    active = np.ones(3, bool)
    for k, agent in enumerate(made.env.agents):
        member: Any = team.members[agent]
        state = member.begin(np.arange(3))
        for t in range(6):
            seen = MaskedObservation(episodes.observations[t, :, k], episodes.legal[t, :, k])
            action, state = member.act(seen, state, active)
            assert action.tolist() == episodes.actions[t, :, k].tolist()
    plan = [Episode(number=k, seed=k, agent_seed=k) for k in range(3)]
    records = list(run_block(make_batch(task.id, 3), team, task, plan))
    assert [record.length for record in records] == [6, 6, 6]
    assert not any(record.failure for record in records)
    made.close()


def test_a_saved_team_that_does_not_fit_is_refused() -> None:
    made = learner_of(task_of(Masked))
    export = made.export()
    config = {**export.config, "task": "pkubench/Masked-v0"}
    members = {k: dict(v) for k, v in config["members"].items()}

    def saved(**changes: Any) -> SavedAgent:
        changed = {"a": {**members["a"], **changes}, "b": members["b"]}
        return SavedAgent({**config, "members": changed}, dict(export.tensors))  # type: ignore[call-arg]

    for changes, error in (
        ({"place": 2}, WeightsError),
        ({"group_size": 10**9}, WeightsError),
        ({"last_action": False}, AgentError),
        ({"network": "other"}, WeightsError),
    ):
        with pytest.raises(error):
            load(saved(**changes), task_of(Masked))
    made.close()


def test_teams_with_other_actions_do_not_fit() -> None:
    qmix = preset("qmix")
    assert why_not(qmix, make_task("SimpleSpread-v0")) == ""
    assert "discrete" in why_not(qmix, make_task("SimpleSpreadContinuous-v0"))
    with pytest.raises(Exception, match="Discrete"):
        learner_of(task_of(SpeedEnv))
