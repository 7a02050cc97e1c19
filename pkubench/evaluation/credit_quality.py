"""How good is credit? Shares of recorded returns, held against what is known of each step.

A credit model is any function from a recording to shares (T, N, agents), zeros behind the episodes'
ends. What it is scored by, as far as the environment reports it:

* the **return** that an episode's shares should sum to;
* the **dense reward** of each step, which an episodic task pays late;
* the **difference reward** of each agent, an entry of the info;
* the **value gain** of each step: ``V(s') - V(s)`` plus what the step earned, with exact values of
  optimal play (``BatchEnv.optimal_values``).

Correlations over time are of deviations from an episode's mean, and correlations over agents of
deviations from a step's mean. So they do not reward a model that knows only which episodes are
good, or only which steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pkubench.agents.contract import Entrant, FloatArray
from pkubench.envs.core.batch import BatchEnv
from pkubench.envs.core.difference_reward import DIFFERENCE_REWARD, DIFFERENCE_REWARDS
from pkubench.envs.core.recording import Recorder, Recording
from pkubench.envs.core.registry import make_batch, traits
from pkubench.envs.core.seeding import PROTOCOL_EPISODES, evaluation_seeds
from pkubench.errors import AgentError, ConfigError
from pkubench.evaluation.run.episodes import run_block
from pkubench.tasks.scoring import Episode
from pkubench.tasks.task import Task

Assign = Callable[[Recording], FloatArray]
"""Returns shares (T, N, agents)."""
_TINY: Final = 1e-9
"""Deviations below this, times the largest number, are rounding: such a signal is constant."""


class Quality(NamedTuple):
    """Scores of credit on some episodes; NaN where the environment does not know the truth."""

    episodes: int
    """How many."""
    return_rmse: float
    """Root of the mean squared difference of an episode's shares from its return."""
    return_r2: float
    """1 less the ratio of these squares to those around the mean; NaN where returns are equal."""
    time: float
    """Correlation of the team's credit with the dense reward, over the steps of an episode."""
    agents: float
    """Correlation with difference rewards, over the agents of a step."""
    value: float
    """Correlation of the team's credit with the value gain, over the steps of an episode."""
    value_rmse: float
    """Root of the mean squared difference of a step's credit from its value gain."""
    spread: float
    """Standard deviation of a share between two calls, as a root mean square over all of them."""

    def to_json(self) -> dict[str, float | None]:
        """Return the scores by name, null where unknown."""
        return {name: None if math.isnan(x) else x for name, x in self._asdict().items()}


def quality(assign: Assign, recording: Recording) -> Quality:
    """Score credit on recorded episodes; asks for it twice.

    Args:
        assign: the credit.
        recording: episodes that it was not fitted to.
    """
    shares, again = assign(recording), assign(recording)
    valid = recording.valid
    team = np.where(valid, shares.sum(-1), 0.0)
    error = team.sum(0) - recording.returns
    around = recording.returns - recording.returns.mean()
    gains = value_gains(recording)
    apart = (shares - again)[valid]
    return Quality(
        episodes=valid.shape[1],
        return_rmse=_root_mean_square(error),
        return_r2=_r2(error, around),
        time=over_time(team, recording.team_rewards, valid),
        agents=over_agents(shares, differences(recording), valid),
        value=over_time(team, gains, valid),
        value_rmse=math.nan if gains is None else _root_mean_square((team - gains)[valid]),
        spread=_root_mean_square(apart) / math.sqrt(2.0),
    )


def value_gains(recording: Recording) -> FloatArray | None:
    """Return ``V(s') - V(s)`` plus the reward of each step, (T, N); None without exact values."""
    values = recording.optimal_values
    if values is None:
        return None
    return np.where(recording.valid, values[1:] - values[:-1] + recording.team_rewards, 0.0)


def differences(recording: Recording) -> FloatArray | None:
    """Return the difference rewards, (T, N, agents); None where they are not reported."""
    known = recording.info.get(DIFFERENCE_REWARD)
    return None if known is None else known[1:]


def over_time(credit: FloatArray, truth: FloatArray | None, valid: npt.NDArray[np.bool_]) -> float:
    """Return the correlation of two signals of steps, (T, N) each, within episodes.

    Returns:
        Pearson's, of deviations from an episode's mean; 0 where the credit of every episode is
        constant, and NaN where the truth is.
    """
    if truth is None:
        return math.nan
    steps = valid.sum(0)

    def centred(x: FloatArray) -> FloatArray:
        mean = np.where(valid, x, 0.0).sum(0) / steps
        return _without_rounding((x - mean)[valid], x[valid])

    return _correlation(centred(credit), centred(truth))


def over_agents(
    credit: FloatArray, truth: FloatArray | None, valid: npt.NDArray[np.bool_]
) -> float:
    """Return the correlation of two signals of agents, (T, N, agents) each, within steps.

    Returns:
        Pearson's, of deviations from a step's mean; 0 where the credit of all agents is the same,
        and NaN where the truth is.
    """
    if truth is None:
        return math.nan

    def centred(x: FloatArray) -> FloatArray:
        found = x[valid]
        return _without_rounding(found - found.mean(-1, keepdims=True), found).ravel()

    return _correlation(centred(credit), centred(truth))


def recorded(
    entrant: Entrant, task: Task, episodes: int, seed: int = 0, first: int = 0
) -> Recording:
    """Play episodes that no training, validation or evaluation by protocol has, and record them.

    Args:
        entrant: who acts.
        task: what is played.
        episodes: how many.
        seed: chooses the set.
        first: number of the first episode.

    Raises:
        AgentError: it does not fit the task, or failed an episode.
        ConfigError: the task is not scored by playing.
    """
    seeds = evaluation_seeds(seed, episodes, PROTOCOL_EPISODES + first).tolist()
    planned = [Episode(number=k, seed=s, agent_seed=s) for k, s in enumerate(seeds)]
    return recorded_as_planned(entrant, task, planned)


def recorded_as_planned(entrant: Entrant, task: Task, episodes: list[Episode]) -> Recording:
    """Play planned episodes and record them (see ``recorded``)."""
    if not task.scoring.is_played:
        raise ConfigError(f"{task.id} is scored by {task.scoring.summary}: nothing is assigned")
    settings: dict[str, Any] = dict(task.env_kwargs)
    if task.protocol.horizon is not None:
        settings["max_episode_steps"] = task.protocol.horizon
    if traits(task.id, **task.env_kwargs).has_difference_rewards:
        settings[DIFFERENCE_REWARDS] = True
    env = make_batch(task.id, len(episodes), **settings)
    try:
        recorder = Recorder(env)
        records = list(run_block(cast(BatchEnv, recorder), entrant, task, episodes))
    finally:
        env.close()
    for record in records:
        if record.failure:
            raise AgentError(f"an episode to be recorded failed: {record.failure}")
    return recorder.recording()


def mean_quality(found: Iterable[Quality]) -> Quality:
    """Return the mean over runs of scores of the same number of episodes."""
    rows = list(found)
    means = {
        name: float(np.mean([getattr(row, name) for row in rows])) for name in Quality._fields[1:]
    }
    return Quality(rows[0].episodes, **means)


def in_words() -> Mapping[str, str]:
    """Return what each score is, in a few words."""
    return {
        "return_rmse": "error of an episode's sum of shares as its return",
        "return_r2": "share of the returns' variance that the sums explain",
        "time": "correlation with the dense reward, over the steps of an episode",
        "agents": "correlation with difference rewards, over the agents of a step",
        "value": "correlation with the gain of the exact value, over steps",
        "value_rmse": "difference of a step's credit from that gain",
        "spread": "standard deviation of a share between two calls",
    }


def _r2(error: FloatArray, around: FloatArray) -> float:
    total = float((around**2).sum())
    return 1.0 - float((error**2).sum()) / total if total > 0.0 else math.nan


def _root_mean_square(x: FloatArray) -> float:
    return math.sqrt(float((x**2).mean()))


def _without_rounding(deviations: FloatArray, signal: FloatArray) -> FloatArray:
    """Return deviations, or zeros where all of them are rounding errors of the signal's mean."""
    is_constant = np.abs(deviations).max() <= _TINY * np.abs(signal).max()
    return np.zeros_like(deviations) if is_constant else deviations


def _correlation(credit: FloatArray, truth: FloatArray) -> float:
    known, own = float((truth**2).sum()), float((credit**2).sum())
    if known == 0.0:
        return math.nan
    return float((credit * truth).sum()) / math.sqrt(known * own) if own else 0.0
