"""What every environment is held to: checks that a new one can be put through with one call.

Each check is a function of a ``Subject`` that raises ``CheckFailed`` with one sentence when the
environment breaks the rule, and ``NotApplicable`` where the rule does not concern it.
``pkubench check`` prints them as a table.
"""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from pkubench.envs.core.batch import Array, BatchEnv, Info
from pkubench.envs.core.options import Option
from pkubench.envs.core.trials import (
    NUM_ENVS,
    STEPS,
    CheckFailed,
    Subject,
    arrays_of,
    check_observations,
    legal_actions,
    made,
    play,
    play_episode,
    same_arrays,
    same_structure,
    seeds_of,
    structure,
)
from pkubench.errors import ActionError, MissingExtra, UnknownName

_COPIED_AT = 4
"""Step after which a trial episode is copied."""


class NotApplicable(Exception):
    """The rule does not concern this environment; the message says why."""


class Outcome(NamedTuple):
    """What one check found."""

    check: str
    rule: str
    status: str
    """``pass``, ``fail`` or ``skip``."""
    detail: str


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """Put an environment through every check, yielding each outcome as it is known."""
    for check in CHECKS:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        rule = (inspect.getdoc(check) or "").splitlines()[0].removesuffix(".")
        try:
            check(subject)
        except (NotApplicable, MissingExtra) as reason:
            yield Outcome(name, rule, "skip", str(reason))
        except CheckFailed as failure:
            yield Outcome(name, rule, "fail", str(failure))
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            yield Outcome(name, rule, "fail", f"{type(error).__name__}: {first}")
        else:
            yield Outcome(name, rule, "pass", "")


def check_docstring(subject: Subject) -> None:
    """The class docstring says what is seen, done and paid."""
    with made(subject, 1) as env:
        text = inspect.getdoc(type(env)) or ""
    if len(text.split()) < 5:
        raise CheckFailed("the class needs a docstring: it is the environment's page in the docs")


def check_spaces(subject: Subject) -> None:
    """Every agent has an observation and an action space, and observations lie in theirs."""
    with made(subject, NUM_ENVS) as env:
        if not env.agents or len(set(env.agents)) != len(env.agents):
            raise CheckFailed(f"agents must be distinct names, got {env.agents}")
        for agent in env.agents:
            if agent not in env.observation_spaces or agent not in env.action_spaces:
                raise CheckFailed(f"agent {agent!r} lacks an observation or action space")
        observations, info = env.reset(seeds_of(NUM_ENVS))
        for moment in range(STEPS):
            check_observations(env, observations)
            step = env.step(legal_actions(env, moment, info))
            observations, info = step.observations, step.info
            if (step.terminated | step.truncated).any():
                break
        if env.state_space is not None:
            state = env.state()
            wanted = (NUM_ENVS, *env.state_space.shape)
            if state.shape != wanted:
                raise CheckFailed(f"state() has shape {state.shape}, wanted {wanted}")


def check_step(subject: Subject) -> None:
    """Rewards are finite float64 (num_envs, num_agents); terminated, truncated bool (num_envs,)."""
    with made(subject, NUM_ENVS) as env:
        _, info = env.reset(seeds_of(NUM_ENVS))
        step = env.step(legal_actions(env, 0, info))
        shape = (NUM_ENVS, env.num_agents)
        if step.rewards.shape != shape or step.rewards.dtype != np.float64:
            raise CheckFailed(
                f"rewards are {step.rewards.dtype} {step.rewards.shape}, wanted float64 {shape}"
            )
        if not np.isfinite(step.rewards).all():
            raise CheckFailed("a reward is not finite")
        for name in ("terminated", "truncated"):
            flags = getattr(step, name)
            if flags.shape != (NUM_ENVS,) or flags.dtype != np.bool_:
                raise CheckFailed(
                    f"{name} is {flags.dtype} {flags.shape}, wanted bool ({NUM_ENVS},)"
                )
        for key, value in step.info.items():
            if np.shape(value)[:1] != (NUM_ENVS,):
                raise CheckFailed(
                    f"info[{key!r}] has shape {np.shape(value)}, wanted ({NUM_ENVS}, …)"
                )


def check_infos(subject: Subject) -> None:
    """``info`` has the same names, shapes and dtypes at reset and at every step."""
    with made(subject, NUM_ENVS) as env:
        _, info = env.reset(seeds_of(NUM_ENVS))
        wanted = structure(info)
        for moment in range(STEPS):
            step = env.step(legal_actions(env, moment, info))
            info = step.info
            same_structure(wanted, structure(info), f"step {moment + 1}")
            if (step.terminated | step.truncated).any():
                break
        _, info = env.reset(seeds_of(1), np.array([NUM_ENVS - 1], dtype=np.int64))
        same_structure(wanted, structure(info), "a reset of some environments")


def check_copies(subject: Subject) -> None:
    """A copy or pickle made within an episode behaves as the original, which it leaves alone."""
    ways: dict[str, Callable[[Any], Any]] = {
        "copy.deepcopy": copy.deepcopy,
        "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    }

    def resumed(env: BatchEnv, info: Info) -> list[list[Array]]:
        rest = play(env, info, range(_COPIED_AT, 2 * _COPIED_AT))[0]
        observations, info = env.reset(seeds_of(NUM_ENVS) + NUM_ENVS)
        start = [observations[agent].copy() for agent in env.agents]
        return [*rest, start, *play(env, info, range(_COPIED_AT))[0]]

    with made(subject, NUM_ENVS) as untouched:
        _, info = untouched.reset(seeds_of(NUM_ENVS))
        _, info = play(untouched, info, range(_COPIED_AT))
        wanted = resumed(untouched, info)
    for way, duplicate in ways.items():
        with made(subject, NUM_ENVS) as env:
            _, info = env.reset(seeds_of(NUM_ENVS))
            _, info = play(env, info, range(_COPIED_AT))
            try:
                twin = duplicate(env)
            except Exception as error:
                raise CheckFailed(f"{way} fails: {type(error).__name__}: {error}") from error
            try:
                same_arrays(wanted, resumed(twin, info), f"after {way}, the copy")
            finally:
                twin.close()
            same_arrays(wanted, resumed(env, info), f"after {way}, the original")


def check_determinism(subject: Subject) -> None:
    """The same seeds and actions give the same bits, in a fresh environment and in a used one."""
    with made(subject, NUM_ENVS) as first, made(subject, NUM_ENVS) as second:
        one = play_episode(first, seeds_of(NUM_ENVS))
        same_arrays(
            one, play_episode(second, seeds_of(NUM_ENVS)), "a second environment of the same seeds"
        )
        same_arrays(
            one,
            play_episode(first, seeds_of(NUM_ENVS)),
            "the same environment, reset to the same seeds",
        )


def check_batch_independence(subject: Subject) -> None:
    """An episode is the same alone and at any index of a batch."""
    seeds = seeds_of(NUM_ENVS)
    with made(subject, NUM_ENVS) as env:
        batch = play_episode(env, seeds)
    for index in (0, NUM_ENVS - 1):
        with made(subject, 1) as alone:
            single = play_episode(alone, seeds[index : index + 1], first_index=index)
        rows = [[array[index : index + 1] for array in moment] for moment in batch]
        same_arrays(
            rows, single, f"environment {index} of {NUM_ENVS} against the same episode alone"
        )


def check_partial_reset(subject: Subject) -> None:
    """Resetting some environments leaves the others where they are."""
    with made(subject, NUM_ENVS) as env:
        _, info = env.reset(seeds_of(NUM_ENVS))
        before = env.step(legal_actions(env, 0, info)).observations
        kept = {agent: array.copy() for agent, array in before.items()}
        after, _ = env.reset(np.array([977], dtype=np.int64), np.array([1], dtype=np.int64))
        others = np.arange(NUM_ENVS) != 1
        for agent in env.agents:
            if not np.array_equal(kept[agent][others], after[agent][others]):
                raise CheckFailed(
                    f"resetting environment 1 changed what {agent!r} sees in other environments"
                )


def check_options(subject: Subject) -> None:
    """Options are chosen at a reset, an episode at a time, and those not declared are refused."""
    seeds = seeds_of(NUM_ENVS)
    with made(subject, NUM_ENVS) as env:
        unknown = "no option has this name"
        try:
            env.reset(seeds, None, {unknown: 0})
        except UnknownName:
            pass
        else:
            raise CheckFailed("an option that the environment does not declare is not refused")
        declared = env.episode_options
        if not declared:
            raise NotApplicable("its episodes have no options")
        plain = play_episode(env, seeds)
        defaults = {name: option.default for name, option in declared.items()}
        chosen = {name: _sampled(option, NUM_ENVS) for name, option in declared.items()}
        with_defaults = play_episode(env, seeds, options=defaults)
        same_arrays(plain, with_defaults, "with each option's default")
        batch = play_episode(env, seeds, options=chosen)
        same_arrays(plain, play_episode(env, seeds), "without options after a reset with some")
    for index in (0, NUM_ENVS - 1):
        own = {name: values[index] for name, values in chosen.items()}
        with made(subject, 1) as alone:
            single = play_episode(alone, seeds[index : index + 1], index, own)
        rows = [[array[index : index + 1] for array in moment] for moment in batch]
        same_arrays(rows, single, f"environment {index} of {NUM_ENVS} with options of its own")


def _sampled(option: Option, count: int) -> list[Any]:
    """Return values of an option, the same at every call."""
    option.space.seed(0)
    return [option.space.sample() for _ in range(count)]


def check_arrays_are_the_callers(subject: Subject) -> None:
    """What was handed out is never written to again, and writing to it changes nothing."""
    with made(subject, NUM_ENVS) as env, made(subject, NUM_ENVS) as twin:
        _, info = env.reset(seeds_of(NUM_ENVS))
        twin.reset(seeds_of(NUM_ENVS))
        handed: list[tuple[Array, Array]] = []
        for moment in range(4):
            actions = legal_actions(env, moment, info)
            step, clean = env.step(actions), twin.step(actions)
            for array, snapshot in handed:
                if not np.array_equal(array, snapshot):
                    raise CheckFailed("an array handed out earlier changed during a later step")
            same_arrays(
                [arrays_of(clean, twin)], [arrays_of(step, env)], "after writing to old arrays"
            )
            info = clean.info
            if (step.terminated | step.truncated).any():
                return
            for array in arrays_of(step, env):
                if array.flags.writeable:
                    array[...] = 1
            handed = [(array, array.copy()) for array in arrays_of(step, env)]


def check_time_limit(subject: Subject) -> None:
    """``max_episode_steps`` truncates at exactly that step, and truncation is not termination."""
    limit = 7
    try:
        env = subject.make(num_envs=NUM_ENVS, max_episode_steps=limit)
    except TypeError as error:
        raise NotApplicable("its constructor takes no max_episode_steps") from error
    try:
        _, info = env.reset(seeds_of(NUM_ENVS))
        alive = np.ones(NUM_ENVS, dtype=np.bool_)
        for moment in range(1, limit + 1):
            step = env.step(legal_actions(env, moment, info), alive.copy())
            if (step.truncated[alive] != (moment == limit)).any():
                raise CheckFailed(
                    f"with a limit of {limit}, step {moment} has truncated {step.truncated}"
                )
            info = step.info
            alive &= ~step.terminated
            if not alive.any():
                return
    finally:
        env.close()


def check_bad_actions(subject: Subject) -> None:
    """Actions of a wrong shape, kind or range, and NaN, are named as errors."""
    with made(subject, 2) as env:
        _, info = env.reset(seeds_of(2))
        good = legal_actions(env, 0, info)
        env.check_actions(good)
        agent = env.agents[0]
        space = env.action_spaces[agent]
        bad: dict[str, Any] = {"a wrong number of environments": np.concatenate([good[agent]] * 2)}
        if isinstance(space, spaces.Box):
            bad["NaN"] = np.full_like(good[agent], np.nan, dtype=np.float32)
        elif isinstance(space, spaces.Discrete):
            bad["an action out of range"] = np.full(2, int(space.start) + int(space.n))
            bad["a fraction"] = np.full(2, 0.5)
        for what, value in bad.items():
            try:
                env.check_actions({**good, agent: value})
            except ActionError:
                continue
            raise CheckFailed(f"check_actions lets {what} through")


def check_rendering(subject: Subject) -> None:
    """``render`` draws an environment as (height, width, 3) uint8."""
    with made(subject, 2) as env:
        env.reset(seeds_of(2))
        try:
            picture = env.render(1)
        except MissingExtra as error:
            raise NotApplicable(str(error)) from error
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise CheckFailed(
                f"render gave {picture.dtype} {picture.shape}, wanted uint8 (h, w, 3)"
            )
        if picture.min() == picture.max():
            raise CheckFailed("render drew one color everywhere")


def check_gymnasium(subject: Subject) -> None:
    """Gymnasium's own checker accepts the single environment."""
    from gymnasium.utils.env_checker import check_env

    from pkubench.envs.adapters.gymnasium import GymnasiumAdapter

    with warnings.catch_warnings(), made(subject, 1) as env:
        warnings.simplefilter("ignore")
        check_env(GymnasiumAdapter(env), skip_render_check=True)


def check_pettingzoo(subject: Subject) -> None:
    """PettingZoo's parallel API and seed tests accept an environment with several agents."""
    with made(subject, 1) as env:
        if env.num_agents == 1:
            raise NotApplicable("the environment has one agent")
    try:
        from pettingzoo.test import parallel_api_test, parallel_seed_test

        from pkubench.envs.adapters.pettingzoo import ParallelAdapter
    except ModuleNotFoundError as error:
        raise MissingExtra("marl", "this check") from error
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        parallel_api_test(ParallelAdapter(subject.make(num_envs=1)), num_cycles=60)
        parallel_seed_test(lambda: ParallelAdapter(subject.make(num_envs=1)), num_cycles=30)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_docstring,
    check_spaces,
    check_step,
    check_infos,
    check_determinism,
    check_batch_independence,
    check_partial_reset,
    check_options,
    check_arrays_are_the_callers,
    check_copies,
    check_time_limit,
    check_bad_actions,
    check_rendering,
    check_gymnasium,
    check_pettingzoo,
)

__all__ = ["CHECKS", "CheckFailed", "NotApplicable", "Outcome", "Subject", "run_checks"]
