"""Cooperative environments: how well a team does when each agent acts on its own observation."""

from __future__ import annotations

from pkubench.tasks.claims import battles, harl, hasac
from pkubench.tasks.suite import Suite
from pkubench.tasks.task import Metric, Protocol, Task

_NAME = "marl"

_RETURN = Metric(
    name="return",
    higher_is_better=True,
    unit="reward",
    describe="team return: rewards summed over the episode and over all agents",
)
_PARTICLE_PROTOCOL = Protocol(
    episodes=200, horizon=25, budget={"environment_steps": 10_000_000}, quick_episodes=50
)
_ROBOT_PROTOCOL = Protocol(
    episodes=16, horizon=1000, budget={"environment_steps": 10_000_000}, quick_episodes=4
)
_NOTES = (
    "The return is the SUM of all agents' rewards, as HARL reports it; packages that report one "
    "agent's reward or the mean show a smaller number."
)
_SPREAD_NOTES = (
    " Collision rules are those of simple_spread_v3. HARL's published curves used the v2 rules, "
    "where each agent also collided with itself: 37.5 lower per episode."
)
_TITLES = {
    "SimpleSpread": "three agents cover three landmarks without colliding",
    "SimpleReference": "two agents tell each other where to go",
    "SimpleSpeakerListener": "one agent speaks, the other walks",
}
_CONTROLLERS = {
    "SimpleSpread": "scripted:assignment",
    "SimpleReference": "scripted:messenger",
    "SimpleSpeakerListener": "scripted:messenger",
}
_ROBOTS = {
    "HalfCheetah2x3-v1": "two agents, one leg each, run a cheetah",
    "HalfCheetah6x1-v1": "six agents, one joint each, run a cheetah",
    "Hopper3x1-v0": "three agents, one joint each, hop on one leg",
    "Walker2d2x3-v0": "two agents, one leg each, walk",
    "Walker2d6x1-v0": "six agents, one joint each, walk",
    "Swimmer2x1-v0": "two agents, one joint each, swim",
    "Ant4x2-v1": "four agents, one leg each, walk an ant",
    "Ant2x4-v1": "two agents, the front and the back legs, walk an ant",
    "Ant2x4d-v1": "two agents, two diagonally opposite legs each, walk an ant",
    "Humanoid9p8-v0": "two agents, the upper and the lower body, walk a humanoid",
    "Humanoid17x1-v0": "seventeen agents, one joint each, walk a humanoid",
}
_SURVIVAL = {"Hopper": 1000.0, "Walker2d": 1000.0, "Humanoid": 5000.0}
"""What a robot earns that stands still for a whole episode: its healthy reward, 1 or 5 a step.
Others cannot fall, or stand without torque."""
_ROBOT_NOTES = (
    "The return is that of Gymnasium's single-agent v5 environment, once: each of n agents "
    "receives 1/n of the reward. Agents observe the whole state and their index, standardized, as "
    "in HARL. HARL's published returns are of the v2 environments, with other rewards and "
    "contacts: not comparable in numbers."
)


_CARRIER_PROTOCOL = Protocol(
    episodes=200, horizon=50, budget={"environment_steps": 1_000_000}, quick_episodes=50
)
_CARRIER_NOTES = (
    "Each agent receives a third of the reward, so the SUM of all agents' rewards is the team's, "
    "once. The optimum and the best shared policy are exact and stay within the action bounds."
)
_BATTLE_WON = Metric(
    name="battle_won",
    higher_is_better=True,
    unit="battles",
    describe="win rate: share of battles in which all enemies are killed and an ally lives",
    interval="wilson",
)
_BATTLE_PROTOCOL = Protocol(
    episodes=200, horizon=100, budget={"environment_steps": 10_000_000}, quick_episodes=50
)
_BATTLE_NOTES = (
    "The return is SMAX's, once: each of n allies receives 1/n of it. It is at most 2: 1 for the "
    "health that the enemies lose, and 1 for a victory. Numbers are those of SMAX, not of SMAC: "
    "the opponents and the arms of the units are others, and so are win rates."
)
_BATTLES = {
    "3m": "three marines fight three",
    "2s3z": "two stalkers and three zealots fight their like",
    "3s5z": "three stalkers and five zealots fight their like",
    "5m_vs_6m": "five marines fight six",
    "6h_vs_8z": "six hydralisks fight eight zealots",
    "3s5z_vs_3s6z": "three stalkers and five zealots fight one zealot more",
    "Random5": "five soldiers of random types, placed at random, fight their like",
    "Random10": "ten soldiers of random types, placed at random, fight their like",
}
_OUTNUMBERED = ("5m_vs_6m", "3s5z_vs_3s6z")
"""Where no script wins more than a few battles in a thousand: no scale can end there."""
_CARRIERS = {
    "": (
        "three unlike agents steady a load",
        " Observations do not say which agent one is: a policy that all share earns at most half "
        "of the optimum's gain over doing nothing.",
    ),
    "Id": (
        "three unlike agents, which know who they are, steady a load",
        " Observations end with the agent's index, one-hot, so that a shared policy can be as good "
        "as separate ones.",
    ),
}


def _tasks() -> tuple[Task, ...]:
    return _particle_tasks() + _carrier_tasks() + _battle_tasks() + _robot_tasks()


def _battle_tasks() -> tuple[Task, ...]:
    return tuple(
        Task(
            id=f"pkubench/MicroBattle{name}-v0",
            suite=_NAME,
            title=title,
            metrics=(_BATTLE_WON, _RETURN),
            protocol=_BATTLE_PROTOCOL,
            reference="scripted:heuristic" if name in _OUTNUMBERED else "scripted:focus",
            lazy={"no-op": None},
            notes=_BATTLE_NOTES,
        )
        for name, title in _BATTLES.items()
    )


def _carrier_tasks() -> tuple[Task, ...]:
    return tuple(
        Task(
            id=f"pkubench/HeterogeneousCarriers{suffix}-v0",
            suite=_NAME,
            title=title,
            metrics=(_RETURN,),
            protocol=_CARRIER_PROTOCOL,
            reference="scripted:optimum",
            is_reference_optimal=True,
            lazy={"no-op": None},
            notes=_CARRIER_NOTES + note,
        )
        for suffix, (title, note) in _CARRIERS.items()
    )


def _robot_tasks() -> tuple[Task, ...]:
    return tuple(
        Task(
            id=f"pkubench/Multi{name}",
            suite=_NAME,
            title=title,
            metrics=(_RETURN,),
            protocol=_ROBOT_PROTOCOL,
            lazy={"no-op": None, **_standing(name)},
            notes=_ROBOT_NOTES,
        )
        for name, title in _ROBOTS.items()
    )


def _standing(name: str) -> dict[str, float]:
    found = [score for robot, score in _SURVIVAL.items() if name.startswith(robot)]
    return {"standing": found[0]} if found else {}


def _particle_tasks() -> tuple[Task, ...]:
    return tuple(
        Task(
            id=f"pkubench/{name}{suffix}-v0",
            suite=_NAME,
            title=f"{title} ({'continuous' if suffix else 'discrete'} actions)",
            metrics=(_RETURN,),
            protocol=_PARTICLE_PROTOCOL,
            reference=_CONTROLLERS[name],
            lazy={"no-op": None} | ({} if name == "SimpleSpread" else {"silent": None}),
            notes=_NOTES + (_SPREAD_NOTES if name == "SimpleSpread" else ""),
        )
        for name, title in _TITLES.items()
        for suffix in ("", "Continuous")
    )


SUITE = Suite(
    name=_NAME,
    title="Cooperative environments",
    summary="how well a team does when each agent acts on its own observation",
    tasks=_tasks(),
    claims=harl.CLAIMS + hasac.CLAIMS + battles.CLAIMS,
    place=10,
    reference="happo",
)
