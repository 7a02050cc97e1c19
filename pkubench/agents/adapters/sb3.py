"""Stable-Baselines3 and sb3-contrib models as agents.

Reading a Stable-Baselines3 zip runs any code in its pickles, so nothing here is called without the
user's explicit trust (``agents/resolve/loading.py``).

A policy acts through its own ``predict(deterministic=True)``, with its recurrent state if it has
one. Policies that are exactly Stable-Baselines3's own dense ones (``MlpPolicy`` of PPO, A2C, DQN,
SAC, TD3, DDPG, TRPO) are turned into an ONNX graph that agrees with ``predict``, so that the file
``export --onnx`` writes gives the very same scores.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pkubench.agents.adapters.fitting import (
    Rescaling,
    action_rescaling,
    check_observations,
    described,
)
from pkubench.agents.adapters.onnx import OnnxPolicy
from pkubench.agents.adapters.predicting import PredictingPolicy, Statistics
from pkubench.agents.adapters.sb3_zip import (
    TRAINING_ONLY,
    Algorithm,
    Header,
    read_statistics,
    statistics_file,
)
from pkubench.agents.contract import Agent, Array, BoolArray
from pkubench.agents.resolve.sources import AgentRun, AgentSource, file_hash
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, AgentNotice, MissingExtra, RefusedError, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task

SAMPLES = 64
"""Observations on which the ONNX graph is compared with ``predict``."""
_REASONS = {
    "RecurrentPPO": "it has a recurrent state, and an ONNX policy has no memory",
    "MaskablePPO": "it acts through sb3-contrib's own code, which takes the mask of legal actions",
}


def resolve(path: str, task: Task | None, trust: bool) -> AgentSource:
    """Return the source of ``sb3:PATH``.

    Raises:
        AgentError: there is no model, or no task is given, or they do not fit.
        RefusedError: ``trust`` is not set.
    """
    where = Path(path)
    if not where.is_file():
        raise AgentError(f"there is no Stable-Baselines3 model at {path}")
    if not trust:
        raise RefusedError(
            f"{path} contains pickles, and reading them runs any code in them; if the file is "
            "your own, add --trust (trust=True). `pkubench export --onnx` makes a file that is safe"
        )
    if task is None:
        raise AgentError(f"agent 'sb3:{path}' depends on the task; name one")
    fitted = fit(where, task)
    for notice in fitted.notices:
        warnings.warn(AgentNotice(notice), stacklevel=4)
    hashes = {file.name: file_hash(file) for file in (where, *fitted.files)}
    run = AgentRun("run", load_policy, (where.absolute(), task), hashes)
    return AgentSource(f"sb3:{where.stem}", "sb3", (run,))


class Fit(NamedTuple):
    """How a model fits a task."""

    action_space: spaces.Space[Any]
    rescaling: Rescaling | None
    statistics: Path | None
    """File of the observations' statistics, to be applied before the policy."""
    notices: tuple[str, ...]
    """What the user should know."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Further files that are read with the zip."""
        return () if self.statistics is None else (self.statistics,)


def fit(path: Path, task: Task) -> Fit:
    """Compare a model with a task. Opens the pickles of its spaces; no weights are read.

    Raises:
        WeightsError: the zip is damaged or not a model.
        AgentError: its spaces are not the task's, or the statistics that normalised its
            observations are missing.
    """
    header = Header(path)
    env = make_batch(task.id, 1, **task.env_kwargs)
    try:
        if env.num_agents > 1:
            raise AgentError(
                f"{path.name} is a policy of one agent, the task has {list(env.agents)}"
            )
        seen, acted = (next(iter(s.values())) for s in (env.observation_spaces, env.action_spaces))
    finally:
        env.close()
    check_observations(path.name, header.observation_space, seen)
    trained = header.action_space
    if isinstance(trained, spaces.Discrete) and trained.start != 0:
        raise AgentError(
            f"{path.name} was trained on {described(trained)}, but Stable-Baselines3 models "
            "number their actions from 0; train behind a wrapper that does too"
        )
    rescaling = action_rescaling(path.name, trained, acted)
    notices = []
    if rescaling is not None:
        notices.append(
            f"{path.name} acts in {described(trained)}; its actions are rescaled to the task's "
            f"{described(acted)}, as by RescaleAction(-1, 1) in its training"
        )
    statistics = statistics_file(path)
    if statistics is not None and not header.is_normalised:
        notices.append(
            f"{statistics.name} is not used: {path.name} was not trained behind VecNormalize"
        )
        statistics = None
    elif statistics is not None:
        notices.append(f"observations are normalized by {statistics.name}, as in training")
    elif header.is_normalised:
        raise AgentError(
            f"{path.name} was trained behind VecNormalize, and its statistics are not in the zip; "
            f"put the file of env.save('vecnormalize.pkl') next to it (also if only rewards were "
            "normalized)"
        )
    return Fit(acted, rescaling, statistics, tuple(notices))


def load_policy(path: Path, task: Task) -> Agent:
    """Return the agent of a zip. Runs code in the file.

    Raises:
        WeightsError: the zip is damaged.
        AgentError: as :func:`fit`; or it was saved by an unknown algorithm.
        MissingExtra: stable-baselines3 is not installed.
    """
    fitted = fit(path, task)
    model, algorithm = load_model(path)
    policy = model.policy
    statistics = None
    if fitted.statistics is not None:
        statistics = read_statistics(fitted.statistics, policy.observation_space.shape)
    samples = sample_observations(policy.observation_space)
    graph, why = _graph(path, algorithm, policy, statistics, fitted)

    def predicting(double: bool) -> PredictingPolicy:
        return PredictingPolicy(
            policy,
            why_no_graph=why,
            statistics=statistics,
            rescaling=fitted.rescaling,
            takes_masks=algorithm.name == "MaskablePPO",
            double=double,
        )

    single = predicting(double=False)
    expected = _actions(single, samples)
    try:
        agent = predicting(double=True)
        actions = _actions(agent, samples)
        is_alike = _agree(actions, expected, tolerance=1e-3)
    except Exception:  # its own code may raise anything at another precision
        is_alike = False
    if not is_alike:
        warnings.warn(
            AgentNotice(
                f"{path.name} acts in single precision, because its policy computes different "
                "actions in double: its scores may differ between processors"
            ),
            stacklevel=2,
        )
        policy.float()
        return single
    if graph is not None and _agree(_actions(graph, samples), actions, tolerance=1e-6):
        return graph
    return agent


def load_model(path: Path) -> tuple[Any, Algorithm]:
    """Load a zip with the algorithm that saved it, on the CPU. Runs code in the file.

    Raises:
        WeightsError: the zip is damaged.
        AgentError: it was saved by an unknown algorithm, or its package is not installed.
        MissingExtra: stable-baselines3 is not installed.
    """
    algorithm = Header(path).algorithm()
    cls = getattr(importlib.import_module(algorithm.package), algorithm.name)
    try:
        return cls.load(path, device="cpu", custom_objects=TRAINING_ONLY), algorithm
    except Exception as error:  # pickle, torch and the constructors raise their own types
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path} was saved by {algorithm.name} and cannot be loaded: {text:.200}"
        ) from error


def sample_observations(space: spaces.Space[Any], count: int = SAMPLES) -> Array:
    """Return observations of a space, (count, ...): small, typical and large ones in its bounds.

    They are always the same; no global generator is used.
    """
    if not isinstance(space, spaces.Box) or np.dtype(space.dtype).kind != "f":
        space.seed(0)
        return np.stack([space.sample() for _ in range(count)])
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-2, 1, size=(count, *[1] * len(space.shape)))
    drawn = rng.normal(size=(count, *space.shape)) * scale
    drawn[0] = 0.0
    return np.clip(drawn, space.low, space.high).astype(space.dtype)


def _graph(
    path: Path, algorithm: Algorithm, policy: Any, statistics: Statistics | None, fitted: Fit
) -> tuple[OnnxPolicy | None, str]:
    """Return the policy as a graph, or the reason why it has none."""
    if algorithm.name in _REASONS:
        return None, _REASONS[algorithm.name]
    from pkubench.agents.adapters.sb3_graph import NotDense, dense_graph

    inputs = int(np.prod(policy.observation_space.shape or (1,)))
    try:
        model = dense_graph(policy, statistics, fitted.rescaling)
        graph = OnnxPolicy(model, fitted.action_space, inputs, path.name)
    except NotDense as error:
        return None, f"{error}, and only Stable-Baselines3's own dense policies are supported"
    except MissingExtra as error:
        return None, str(error)
    return graph, "its dense layers alone do not return the actions of its predict"


def _actions(agent: Agent, observations: Array) -> Array:
    active: BoolArray = np.ones(len(observations), np.bool_)
    actions, _ = agent.act(observations, agent.begin(np.arange(len(observations))), active)
    return np.asarray(actions)


def _agree(ours: Array, theirs: Array, tolerance: float) -> bool:
    """Whether actions are the same, up to a tolerance relative to 1 if they are continuous."""
    if ours.shape != theirs.shape:
        return False
    if theirs.dtype.kind != "f":
        return bool(np.array_equal(ours, theirs))
    return bool(np.allclose(ours, theirs, rtol=tolerance, atol=tolerance))
