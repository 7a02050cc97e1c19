"""The suite's particle environments against their rules as plain loops, and their known returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import pkubench
from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.envs.core.registry import make_batch
from pkubench.envs.core.seeding import RandomStreams
from pkubench.envs.credit.navigation import Navigation
from pkubench.envs.credit.predator_prey import PredatorPrey
from pkubench.envs.credit.push import CooperativePush
from pkubench.envs.particle.base import ParticleEnv
from pkubench.errors import AgentError, ConfigError, UnknownName

STEPS = 25
Point = tuple[float, float]


class Thing(NamedTuple):
    """What collides in the plain rules."""

    radius: float
    mass: float = 1.0
    force: float = 5.0
    max_speed: float = math.inf
    moves: bool = True


def minus(a: Point, b: Point) -> Point:
    return a[0] - b[0], a[1] - b[1]


def gap(a: Point, b: Point) -> float:
    return math.hypot(*minus(a, b))


def plain_physics(
    things: list[Thing], places: list[Point], velocities: list[Point], moves: list[int]
) -> tuple[list[Point], list[Point]]:
    """Play one step: dt 0.1, a quarter of the velocity is lost, velocity before position."""
    ways = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    forces = []
    for i, thing in enumerate(things):
        force = [thing.force * way for way in ways[moves[i]]]
        for j, other in enumerate(things):
            distance, reach = gap(places[i], places[j]), thing.radius + other.radius
            if i == j or not thing.moves:
                continue
            depth = 1e-3 * float(np.logaddexp(0, (reach - distance) / 1e-3))
            for axis in (0, 1):
                force[axis] += 100 * minus(places[i], places[j])[axis] / distance * depth
        forces.append(force)
    new_places, new_velocities = [], []
    for thing, (x, y), (vx, vy), force in zip(things, places, velocities, forces, strict=True):
        if not thing.moves:
            new_places.append((x, y))
            new_velocities.append((0.0, 0.0))
            continue
        vx, vy = (v * 0.75 + f / thing.mass * 0.1 for v, f in zip((vx, vy), force, strict=True))
        speed = math.hypot(vx, vy)
        if speed > thing.max_speed:
            vx, vy = vx / speed * thing.max_speed, vy / speed * thing.max_speed
        new_places.append((x + 0.1 * vx, y + 0.1 * vy))
        new_velocities.append((vx, vy))
    return new_places, new_velocities


View = Callable[[list[Point], list[Point]], tuple[list[list[float]], float]]
"""From the places of all entities and the velocities of bodies: observations and team reward."""


def flat(*points: Any) -> list[float]:
    return [number for point in points for number in point]


def navigation(count: int, reward: str = "normalised", repo_sorting: bool = False) -> View:
    seen, others_seen = {3: (3, 2), 6: (6, 5), 15: (6, 5)}[count]

    def view(places: list[Point], velocities: list[Point]) -> tuple[list[list[float]], float]:
        agents, marks = places[:count], places[count:]
        observations = []
        for i, own in enumerate(agents):
            to_marks = [minus(mark, own) for mark in marks]
            to_others = [minus(other, own) for j, other in enumerate(agents) if j != i]
            if count == 6:
                to_others.sort()
            else:
                twice = own if repo_sorting and count == 15 else (0.0, 0.0)
                for offsets in (to_marks, to_others):
                    offsets.sort(key=lambda offset: gap(offset, twice))
            parts = [velocities[i], own, *to_marks[:seen], *to_others[:others_seen]]
            observations.append(flat(*parts))
        far = sum(min(gap(agent, mark) for agent in agents) for mark in marks)
        touch = [[gap(a, b) < 0.3 for b in agents] for a in agents]
        if reward == "repo" and count == 6:
            return observations, -sum(far + sum(row) for row in touch)
        return observations, -far - (sum(map(sum, touch)) - count)

    return view


def predator_prey(count: int) -> View:
    prey = count // 3

    def view(places: list[Point], velocities: list[Point]) -> tuple[list[list[float]], float]:
        bodies, obstacles = places[: count + prey], places[count + prey :]
        observations = []
        for i, own in enumerate(bodies[:count]):
            others = [minus(other, own) for j, other in enumerate(bodies) if j != i]
            marks = [minus(obstacle, own) for obstacle in obstacles]
            observations.append(flat(velocities[i], own, *marks, *others, *velocities[count:]))
        gaps = [[gap(own, one) for one in bodies[count:]] for own in bodies[:count]]
        contacts = sum(distance < 0.125 for row in gaps for distance in row)
        return observations, 10 * contacts - 0.1 * sum(map(min, gaps))

    return view


def flight(place: Point, predators: list[Point], obstacles: list[Point], width: float) -> int:
    """Return the move of a prey."""
    drive = [0.0, 0.0]
    for axis in (0, 1):
        for weight, sources in ((1.0, predators), (0.3, obstacles)):
            for source in sources:
                away = minus(place, source)
                drive[axis] += weight * away[axis] / gap(place, source) ** 3
        beyond = max(abs(place[axis]) - 0.8 * width, 0)
        drive[axis] -= 20 * math.copysign(beyond, place[axis])
    if math.hypot(*drive) < 0.01:
        return 0
    axis = int(abs(drive[1]) > abs(drive[0]))
    return 1 + 2 * axis + (drive[axis] > 0)


def push(places: list[Point], velocities: list[Point]) -> tuple[list[list[float]], float]:
    agents, ball, target = places[:3], places[3], places[4]
    observations = []
    for i, own in enumerate(agents):
        others = [minus(other, own) for j, other in enumerate(agents) if j != i]
        observations.append(flat(velocities[i], own, minus(ball, own), minus(target, own), *others))
    gaps = [gap(agent, ball) for agent in agents]
    touching = sum(distance < 0.16 for distance in gaps)
    return observations, -2 * gap(ball, target) - 0.1 * min(gaps) + 0.1 * touching


class Case(NamedTuple):
    env: Callable[[int], ParticleEnv]
    things: list[Thing]
    view: View
    width: float = 0.0
    """Half the width of the square, where there is prey."""


PREDATOR, PREY = Thing(0.075, force=3.0, max_speed=1.0), Thing(0.05, force=4.0, max_speed=1.3)
ROCK = Thing(0.2, moves=False)
CASES = {
    "navigation-3": Case(lambda n: Navigation(n), [Thing(0.15)] * 3, navigation(3)),
    "navigation-6": Case(lambda n: Navigation(n, num_agents=6), [Thing(0.15)] * 6, navigation(6)),
    "navigation-6-repo": Case(
        lambda n: Navigation(n, num_agents=6, reward="repo"),
        [Thing(0.15)] * 6,
        navigation(6, "repo"),
    ),
    "navigation-15": Case(
        lambda n: Navigation(n, num_agents=15), [Thing(0.15)] * 15, navigation(15)
    ),
    "navigation-15-repo": Case(
        lambda n: Navigation(n, num_agents=15, reward="repo", repo_sorting=True),
        [Thing(0.15)] * 15,
        navigation(15, "repo", repo_sorting=True),
    ),
    "predator-prey-3": Case(
        lambda n: PredatorPrey(n), [PREDATOR] * 3 + [PREY] + [ROCK] * 2, predator_prey(3), 1.0
    ),
    "predator-prey-6": Case(
        lambda n: PredatorPrey(n, num_agents=6),
        [PREDATOR] * 6 + [PREY] * 2 + [ROCK] * 3,
        predator_prey(6),
        1.5,
    ),
    "push": Case(lambda n: CooperativePush(n), [Thing(0.06)] * 3 + [Thing(0.1, mass=2.0)], push),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_follows_the_rules(name: str) -> None:
    case, episodes = CASES[name], 4
    env = case.env(episodes)
    rng = np.random.default_rng(0)
    observations, _ = env.reset(np.arange(episodes))
    # Packed closely, so that they touch in many steps.
    env.positions[:] *= 0.77 / np.abs(env.positions).max()
    env.refresh()
    observations = env._observe()
    count, bodies = env.num_agents, len(env.bodies)
    places = [[tuple(p) for p in env.positions[:, :, e].tolist()] for e in range(episodes)]
    velocities = [[(0.0, 0.0)] * len(case.things) for _ in range(episodes)]
    touched = 0
    for _ in range(STEPS):
        wanted = [case.view(p, v[:bodies])[0] for p, v in zip(places, velocities, strict=True)]
        for index, agent in enumerate(env.agents):
            rows = np.array([seen[index] for seen in wanted])
            np.testing.assert_allclose(observations[agent], rows, rtol=0, atol=2e-6)
        actions = {agent: rng.integers(0, 5, episodes) for agent in env.agents}
        step = env.step(actions)
        for e in range(episodes):
            moves = [int(actions[agent][e]) for agent in env.agents]
            own = places[e]
            moves += [0] * (len(case.things) - count)
            if case.width:
                for i in range(count, bodies):
                    moves[i] = flight(own[i], own[:count], own[bodies:], case.width)  # type: ignore[arg-type]
            solid = len(case.things)
            moved, velocities[e] = plain_physics(case.things, own[:solid], velocities[e], moves)  # type: ignore[arg-type]
            places[e] = [*moved, *own[solid:]]  # type: ignore[list-item]
            reward = case.view(places[e], velocities[e][:bodies])[1]  # type: ignore[arg-type]
            assert step.rewards[e].sum() == pytest.approx(reward, rel=1e-9, abs=1e-9)
            assert np.ptp(step.rewards[e]) == 0
        touched += int((env._distance < env._reach).sum())
        observations = step.observations
    assert touched >= 5


def test_the_infos_count_what_happened() -> None:
    env = PredatorPrey(1)
    env.reset(np.zeros(1, dtype=np.int64))
    env.positions[:, :, 0] = [(0, 0), (0.1, 0.5), (-0.9, 0), (0.1, 0), (0.8, 0.8), (-0.8, -0.8)]
    env.refresh()
    nothing = {agent: np.zeros(1, dtype=np.int64) for agent in env.agents}
    first = env.step(nothing)
    # Predator 0 touches the prey (0.1 apart, they touch below 0.125) until both are pushed apart.
    assert first.info["touching"].tolist() == [[False, False, False]]
    assert first.info["contacts"].tolist() == [0]
    env.positions[:, :, 0] = [(0, 0), (0, 0.1), (-0.9, 0), (0, 0.05), (0.8, 0.8), (-0.8, -0.8)]
    env.velocities[:] = 0
    env.refresh()
    assert env._info()["touching"].tolist() == [[True, True, False]]
    rewards = np.empty((1, 3))
    env._rewards(rewards)  # 10 for each of two contacts, less a tenth of the three distances
    team = 20 - 0.1 * (0.05 + 0.05 + math.hypot(0.9, 0.05))
    np.testing.assert_allclose(rewards, team / 3, rtol=1e-12)
    assert env._info()["contacts"].tolist() == [2]
    wide = Navigation(1)
    wide.reset(np.zeros(1, dtype=np.int64))
    wide.positions[:, :, 0] = [(0, 0), (1, 1), (2, 2), (0, 0.09), (1.11, 1), (2, 2)]
    wide.refresh()
    assert wide._info()["covered"].tolist() == [2 / 3]
    ball = CooperativePush(1)
    ball.reset(np.zeros(1, dtype=np.int64))
    ball.positions[3:, :, 0] = [(0.1, 0.2), (0.4, -0.2)]
    ball.refresh()
    assert ball._info()["distance"].tolist() == [0.5]


def differences(
    env: ParticleEnv, places: list[Point], velocities: dict[int, Point]
) -> tuple[list[float], float]:
    """Return difference rewards and team reward of a step in which nobody pushes."""
    env.reset(np.zeros(1, dtype=np.int64))
    env.positions[:, :, 0] = places
    env.velocities[:] = 0.0
    for body, velocity in velocities.items():
        env.velocities[body, :, 0] = velocity
    env.refresh()
    step = env.step({agent: np.zeros(1, dtype=np.int64) for agent in env.agents})
    return step.info["difference_reward"][0].tolist(), step.rewards.sum()


def test_difference_rewards_by_hand_of_who_covers_landmarks_and_who_collides() -> None:
    env = Navigation(1, difference_rewards=True)
    # Each landmark has its own agent, 0.5, 1 and 1 away; without it, the nearest of the others.
    places: list[Point] = [(0, 0), (1, 0), (5, 5), (0, 0.5), (1, 1), (5, 6)]
    found, team = differences(env, places, {})
    assert team == pytest.approx(-2.5)
    wanted = [math.hypot(1, 0.5) - 0.5, math.sqrt(2) - 1, math.hypot(4, 6) - 1]
    assert found == pytest.approx(wanted, rel=1e-12)
    # Two that move 0.1125 towards each other touch then, 0.275 apart, each on its landmark.
    places = [(0, 0), (0.5, 0), (5, 5), (0.1125, 0), (0.3875, 0), (5, 5)]
    found, team = differences(env, places, {0: (1.5, 0), 1: (-1.5, 0)})
    assert team == pytest.approx(-2.0)
    assert found[:2] == pytest.approx([-2.0 + 0.275] * 2)
    # Agent 0 pushes agent 1 off its landmark, by 0.1: without it, it would have stayed.
    places = [(-0.2, 0), (0, 0), (5, 5), (0, 0), (5, 5), (5, 5)]
    found, team = differences(env, places, {})
    assert team == pytest.approx(-0.1, abs=1e-6)
    assert found == pytest.approx([-0.1, 0.1, 2 * math.hypot(4.9, 5)], abs=1e-6)


def test_difference_rewards_by_hand_of_predators_from_which_prey_flees() -> None:
    env = PredatorPrey(1, difference_rewards=True)
    # The prey runs away from predator 0, to the right, by 0.04; without it, downwards.
    places: list[Point] = [(-0.4, 0), (0, 0.9), (0.9, -0.9), (0, 0), (-0.9, -0.9), (-0.9, 0.9)]
    found, team = differences(env, places, {})
    apart = [0.44, math.hypot(0.04, 0.9), math.hypot(0.86, 0.9)]
    assert team == pytest.approx(-0.1 * sum(apart))
    assert found[0] == pytest.approx(team + 0.1 * (0.94 + math.hypot(0.9, 0.86)), rel=1e-9)
    assert found[1:] == pytest.approx([-0.1 * apart[1], -0.1 * apart[2]], rel=1e-9)
    # Predator 0 catches the prey, 0.075 and 0.0575 nearer to each other after the step.
    places = [(0, 0), (-0.9, 0.9), (-0.9, -0.9), (0.25, 0), (0.9, 0.9), (0.9, -0.9)]
    found, _ = differences(env, places, {0: (1, 0), 3: (-1.3, 0)})
    far = math.hypot(1.0925, 0.9)
    assert found == pytest.approx([10 - 0.01175, -0.1 * far, -0.1 * far], rel=1e-9)
    assert env._info()["contacts"].tolist() == [1]  # those of the step alone


def test_difference_rewards_by_hand_of_who_pushes_the_ball() -> None:
    env = CooperativePush(1, difference_rewards=True)
    # Agent 0 is 0.01 inside the ball: it moves the ball by 0.005, and itself back by 0.01.
    places: list[Point] = [(0, 0), (-0.5, 0.5), (-0.5, -0.5), (0.15, 0), (0.8, 0)]
    found, team = differences(env, places, {})
    assert team == pytest.approx(-2 * 0.645 - 0.1 * 0.165, abs=1e-6)
    assert found[0] == pytest.approx(team + 2 * 0.65 + 0.1 * math.hypot(0.65, 0.5), abs=1e-6)
    assert found[1:] == [0.0, 0.0]


def test_difference_rewards_change_nothing_else_and_are_the_same_at_any_index() -> None:
    for name in ("Navigation6-v0", "PredatorPrey3-v0", "CooperativePush3-v0", "AliceAndBob-v0"):
        plain, env = make_batch(name, 8), make_batch(name, 8, difference_rewards=True)
        _, started = plain.reset(np.arange(8))
        _, info = env.reset(np.arange(8))
        alone = make_batch(name, 1, difference_rewards=True)
        alone.reset(np.array([5]))
        assert info.keys() == started.keys() | {"difference_reward"}
        assert not info["difference_reward"].any()
        rng = np.random.default_rng(0)
        for _ in range(12):
            actions = {agent: rng.integers(0, 4, 8) for agent in env.agents}
            one, other = plain.step(actions), env.step(actions)
            for agent in env.agents:
                np.testing.assert_array_equal(one.observations[agent], other.observations[agent])
            for key, value in one.info.items():
                np.testing.assert_array_equal(value, other.info[key])
            found = other.info["difference_reward"]
            assert found.shape == (8, env.num_agents) and found.dtype == np.float64
            single = alone.step({agent: acted[5:6] for agent, acted in actions.items()})
            np.testing.assert_array_equal(single.info["difference_reward"], found[5:6])


def test_starts_are_where_the_spec_has_them() -> None:
    for count, half_width, spacing in ((3, 3.0, 0.675), (6, 1.5, 0.0), (15, 2.2, 0.675)):
        env = Navigation(500, num_agents=count)
        env.reset(np.arange(500))
        assert half_width * 0.99 < np.abs(env.positions).max() <= half_width
        marks = env.landmarks
        offsets = marks[:, None] - marks[None]
        gaps = np.hypot(offsets[:, :, 0], offsets[:, :, 1])[~np.eye(count, dtype=np.bool_)]
        assert (gaps.min() >= spacing) and gaps.min() < spacing + 0.05
    for count, half_width in ((3, 1.0), (6, 1.5)):
        hunt = PredatorPrey(500, num_agents=count)
        hunt.reset(np.arange(500))
        bodies = len(hunt.bodies)
        assert half_width * 0.99 < np.abs(hunt.positions[:bodies]).max() <= half_width
        inside = half_width - 0.1
        assert inside * 0.99 < np.abs(hunt.positions[bodies:]).max() <= inside
    push_env = CooperativePush(2000)
    push_env.reset(np.arange(2000))
    assert 0.99 < np.abs(push_env.positions[:3]).max() <= 1
    assert 0.79 < np.abs(push_env.positions[3:]).max() <= 0.8
    assert 0.8 <= push_env._way.min() < 0.81


def test_an_episode_starts_alike_whatever_resets_beside_it() -> None:
    # Landmarks are drawn until they fit, which takes some environments longer than others.
    many, alone = Navigation(64, num_agents=15), Navigation(1, num_agents=15)
    many.reset(np.arange(64))
    for index in (0, 17, 63):
        alone.reset(np.array([index]))
        np.testing.assert_array_equal(many.positions[:, :, index], alone.positions[:, :, 0])


def returns_of(env: Any, choose: Callable[..., dict[str, Any]]) -> tuple[float, float]:
    """Return the mean team return of an episode in every environment, and its standard error."""
    ids = np.arange(env.num_envs)
    observations, _ = env.reset(ids)
    total = np.zeros(env.num_envs)
    for _ in range(STEPS):
        step = env.step(choose(observations))
        observations = step.observations
        total += step.rewards.sum(axis=1)
    return float(total.mean()), float(total.std(ddof=1) / np.sqrt(env.num_envs))


def at_random(env: Any) -> Callable[..., dict[str, Any]]:
    ids, dice = np.arange(env.num_envs), RandomStreams(env.num_envs)
    dice.seed(ids, ids + 10**6)
    return lambda observations: {agent: dice.integers(ids, 1, 5)[:, 0] for agent in env.agents}


def no_op(env: Any) -> Callable[..., dict[str, Any]]:
    nothing = np.zeros(env.num_envs, dtype=np.int64)
    return lambda observations: dict.fromkeys(env.agents, nothing)


def assigned(env: Any) -> Callable[..., dict[str, Any]]:
    team = scripted_agent("assignment", f"pkubench/Navigation{env.num_agents}-v0")
    assert isinstance(team, Team)
    active = np.ones(env.num_envs, dtype=np.bool_)
    return lambda seen: {a: m.act(seen[a], None, active)[0] for a, m in team.members.items()}


@pytest.mark.parametrize(
    ("count", "policy", "wanted", "error", "episodes"),
    [
        (3, at_random, -155.1, 5.6, 2000),
        (3, no_op, -148.5, 5.2, 2000),
        (3, assigned, -70.7, 3.7, 500),
        (6, at_random, -806, 17, 2000),
        (6, no_op, -748, 15, 2000),
        (15, at_random, -258, 5, 500),
        (15, no_op, -236, 5, 500),
    ],
)
def test_known_policies_get_their_known_returns(
    count: int, policy: Any, wanted: float, error: float, episodes: int
) -> None:
    env = make_batch(f"Navigation{count}-v0", episodes, reward="repo")
    mean, own_error = returns_of(env, policy(env))
    assert mean == pytest.approx(wanted, abs=3 * np.hypot(error, own_error))


@pytest.mark.parametrize(
    ("name", "agent", "above"),
    [
        ("Navigation6-v0", "assignment", 40.0),
        ("Navigation15-v0", "assignment", 60.0),
        ("PredatorPrey3-v0", "chase", 2.0),
        ("PredatorPrey6-v0", "chase", 5.0),
        ("CooperativePush3-v0", "push", 5.0),
    ],
)
def test_controllers_are_better_than_doing_nothing(name: str, agent: str, above: float) -> None:
    env = make_batch(name, 100)
    team = scripted_agent(agent, f"pkubench/{name}")
    assert isinstance(team, Team)
    active = np.ones(100, dtype=np.bool_)
    played = returns_of(
        env, lambda seen: {a: m.act(seen[a], None, active)[0] for a, m in team.members.items()}
    )
    assert played[0] > returns_of(env, no_op(env))[0] + above


def test_controllers_refuse_other_tasks() -> None:
    for agent in ("assignment", "chase", "push"):
        with pytest.raises(AgentError, match=agent):
            scripted_agent(agent, "pkubench/AliceAndBob-v0")
    with pytest.raises(AgentError, match="no action"):
        scripted_agent("no-op", "pkubench/AliceAndBob-v0")


def test_other_sizes_and_rewards_are_refused() -> None:
    for settings in ({"num_agents": 4}, {"reward": "shaped"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            Navigation(1, **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_agents"):
        PredatorPrey(1, num_agents=5)
    with pytest.raises(UnknownName, match="no setting of pkubench/Navigation3-v0 'rules'"):
        make_batch("Navigation3-v0", rules="v3")  # of its base's constructor, and not of its own


def test_two_bodies_at_one_point_do_not_break_the_prey() -> None:
    env = PredatorPrey(1)
    env.reset(np.zeros(1, dtype=np.int64))
    env.positions[:] = 0.0
    env.refresh()
    for _ in range(3):
        step = env.step({agent: np.array([0]) for agent in env.agents})
    assert np.isfinite(step.rewards).all() and np.isfinite(env.positions).all()


@pytest.mark.parametrize("name", ["Navigation3", "PredatorPrey3", "CooperativePush3"])
def test_pictures_show_where_bodies_are(name: str) -> None:
    pytest.importorskip("PIL")
    env: Any = pkubench.make_batch(f"{name}-v0", 1)
    env.reset(np.zeros(1, dtype=np.int64))
    before = env.render()
    env.unwrapped.positions[0] += 0.3
    assert (before != env.render()).any()
