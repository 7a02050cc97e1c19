"""MicroBattle's rules, by numbers worked out by hand, and its team of scripted soldiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import pkubench
from pkubench.agents.contract import Team
from pkubench.agents.families.scripted.policies import scripted_agent
from pkubench.agents.families.scripted.random import random_entrant
from pkubench.envs.battle.combat import _FEW, ATTACK, STOP, TICKS
from pkubench.envs.battle.heuristic import walk
from pkubench.envs.battle.micro_battle import MicroBattle
from pkubench.envs.battle.units import read_scenario
from pkubench.errors import AgentError, ConfigError
from pkubench.evaluation.run.seats import seats_of

NORTH, EAST, SOUTH, WEST = range(4)
FAST = 3.15 / 16
"""Cells that a marine walks in a tick."""


def arena(scenario: str, *places: tuple[float, float]) -> MicroBattle:
    """Return one environment with its units, allies first, at these places."""
    env = MicroBattle(1, scenario=scenario)
    env.reset(np.arange(1))
    env.combat.positions[:, :, 0] = np.array(places).T
    env.refresh()
    return env


def fight(env: MicroBattle, *actions: int) -> tuple[float, bool, bool]:
    """Take one step of these actions of all units, with cooldowns as they are in the table."""
    units = env.scenario.num_units
    found = env.fight(np.array(actions)[:, None], np.zeros((TICKS, units, 1)))
    return float(found[0][0]), bool(found[1][0]), bool(found[2][0])


def test_a_marine_shoots_whenever_its_weapon_is_ready() -> None:
    env = arena("1m_vs_1z", (10.0, 16.0), (14.0, 16.0))
    reward, is_over, is_won = fight(env, ATTACK, STOP)
    # 0.61 s are 9.76 ticks: one shot at once, and the next one in the twelfth tick
    assert env.combat.health[:, 0].tolist() == [45.0, 141.0]
    assert env.combat.cooldowns[0, 0] == pytest.approx(0.61 - 7 / 16)
    assert reward == pytest.approx(9 / 150) and not is_over and not is_won
    fight(env, ATTACK, STOP)
    assert env.combat.health[1, 0] == 132.0
    assert env.combat.cooldowns[0, 0] == pytest.approx(0.61 - 4 / 16)
    fight(env, STOP, STOP)
    assert env.combat.cooldowns[0, 0] == pytest.approx(0.61 - 12 / 16)  # falls below 0


def test_a_cooldown_is_drawn_between_minus_one_and_two_ticks_of_its_length() -> None:
    env = MicroBattle(4000, scenario="1m_vs_1z")
    env.reset(np.arange(4000))
    env.combat.positions[:] = [[[14.0], [18.0]], [[16.0], [16.0]]]
    env.refresh()
    env.combat.act(np.full((2, 4000), ATTACK) * [[1], [0]], env.random)
    extra = 16 * (env.combat.cooldowns[0] - 0.61) + 7
    assert -1.0 <= extra.min() < -0.99 and 1.99 < extra.max() < 2.0
    assert extra.mean() == pytest.approx(0.5, abs=4 * np.sqrt(9 / 12 / 4000))


@pytest.mark.parametrize(("distance", "hits"), [(5.0, False), (4.999, True)])
def test_shots_land_within_the_range_and_masks_say_so(distance: float, hits: bool) -> None:
    env = arena("1m_vs_1z", (10.0, 16.0), (10.0, 16.0 + distance))
    assert env.views.action_masks()[0, 0].tolist() == [1, 1, 1, 1, 1, int(hits)]
    fight(env, ATTACK, STOP)
    assert (env.combat.health[1, 0] < 150.0) == hits


def test_damages_add_up_and_the_last_one_counts_no_more_than_is_left() -> None:
    env = arena("2m_vs_1m", (10.0, 16.0), (10.0, 18.0), (13.0, 17.0))
    env.combat.health[2, 0] = 10.0
    reward, is_over, is_won = fight(env, ATTACK, ATTACK, STOP)
    assert env.combat.health[2, 0] == 0.0 and is_over and is_won
    assert reward == pytest.approx(10 / 45 + 1.0)


def test_who_dies_in_one_tick_still_shoots_and_moves_in_it() -> None:
    env = arena("1m", (10.0, 16.0), (13.0, 16.0))
    env.combat.health[:] = 9.0
    reward, is_over, is_won = fight(env, ATTACK, ATTACK)
    assert env.combat.health[:, 0].tolist() == [0.0, 0.0]
    assert reward == pytest.approx(9 / 45) and is_over and not is_won  # nobody wins
    env = arena("1m", (10.0, 16.0), (13.0, 16.0))
    env.combat.health[:] = 9.0
    fight(env, ATTACK, NORTH)
    assert env.combat.positions[1, 1, 0] == pytest.approx(16.0 + FAST)  # one tick, and no more


def test_moves_follow_the_compass_and_the_edge_of_the_map_kills() -> None:
    for action, (x, y) in enumerate([(0, 1), (1, 0), (0, -1), (-1, 0)]):
        env = arena("1m", (10.0, 16.0), (25.0, 16.0))
        fight(env, action, STOP)
        moved = env.combat.positions[:, 0, 0] - [10.0, 16.0]
        np.testing.assert_allclose(moved, [8 * FAST * x, 8 * FAST * y], atol=1e-12)
    env = arena("1m", (10.0, 16.0), (31.0, 16.0))
    reward, is_over, is_won = fight(env, STOP, EAST)
    assert env.combat.positions[0, 1, 0] == 32.0 and not env.combat.alive[1, 0]
    assert reward == pytest.approx(2.0) and is_over and is_won  # its health counts as lost


def test_units_that_overlap_push_each_other_half_of_the_overlap_away() -> None:
    # radii 0.375 and 0.625: 0.5 apart they are 0.5 too near
    env = arena("1m_vs_1s", (10.0, 16.0), (10.3, 16.4))
    env.combat._push_apart()
    np.testing.assert_allclose(
        env.combat.positions[:, :, 0], [[9.85, 10.45], [15.8, 16.6]], atol=2e-6
    )


def test_the_dead_stay_where_they_fell_and_do_nothing() -> None:
    env = arena("2m_vs_1z", (10.0, 16.0), (10.2, 16.0), (12.0, 16.0))
    env.combat.health[0, 0], env.combat.alive[0, 0] = 0.0, False
    env.refresh()
    assert env.views.action_masks()[0, 0].tolist() == [0, 0, 0, 0, 1, 0]
    assert not env.views.observations()[0].any()
    seen = env.views.observations()[1, 0]
    assert not seen[:13].any() and seen[13] == 1.0  # the dead are not seen, the enemy is
    assert not env.state()[0, :10].any()
    fight(env, ATTACK, STOP, ATTACK + 1)  # nobody can shoot the dead, who is ally 2 - 1 - 1
    np.testing.assert_array_equal(env.combat.positions[:, 0, 0], [10.0, 16.0])
    np.testing.assert_array_equal(env.combat.positions[:, 1, 0], [10.2, 16.0])  # not pushed
    assert env.combat.health[2, 0] == 150.0


def test_what_a_marine_observes() -> None:
    env = arena("1m1s_vs_1z", (10.0, 16.0), (13.0, 12.0), (4.0, 16.0))
    fight(env, STOP, NORTH, STOP)
    env.combat.positions[:, :, 0] = np.array([(10.0, 16.0), (13.0, 12.0), (4.0, 16.0)]).T
    env.combat.health[1, 0], env.combat.cooldowns[1, 0] = 40.0, 1.87 / 2
    env.combat.last_attacks[2, 0] = ATTACK + 1
    env.refresh()
    seen = env.views.observations()[0, 0]
    stalker = [40 / 160, 3 / 9, -4 / 9, 0, 1, 0, 0.5, *np.eye(6)[2]]
    zealot = [1, -6 / 9, 0, 0, 0, 6 / 6, 0, *np.eye(6)[3]]
    own = [1, 10 / 32, 16 / 32, 0, *np.eye(6)[0]]
    np.testing.assert_allclose(seen, np.float32([*stalker, *zealot, *own]), atol=1e-6)
    state = env.state()[0]
    np.testing.assert_allclose(state[10:20], [0.25, 13, 12, 1.87 / 2, *np.eye(6)[2]], atol=1e-6)
    assert state[30:].tolist() == [0, 0, 1, 0, 2, 3]  # teams, types
    env.combat.positions[0, 0, 0] = 13.1  # 9.1 from the zealot: out of sight
    env.refresh()
    assert not env.views.observations()[0, 0, 13:26].any()


def test_enemies_keep_their_target_then_take_the_nearest_else_walk() -> None:
    env = arena("2m_vs_1m", (10.0, 16.0), (12.0, 16.0), (14.0, 16.0))
    assert env.enemy_actions()[0, 0] == ATTACK  # the last ally comes first, and is nearest
    env.enemy_targets[:] = 1
    assert env.enemy_actions()[0, 0] == ATTACK + 1
    env.combat.positions[0, :2, 0] = 8.0, 7.9
    env.refresh()
    assert env.enemy_actions()[0, 0] == WEST and env.enemy_targets[0, 0] == -1
    env.combat.positions[:, :2, 0] = 1.0  # out of sight: to the place opposite of its start
    env.enemy_goals[:, 0, 0] = 13.0, 30.0
    env.refresh()
    assert env.enemy_actions()[0, 0] == NORTH
    numbers = np.array([(0.0, 0.0), (2.0, 2.0), (2.0, -2.0), (-2.0, -2.0), (-2.0, 1.0)]).T
    assert walk(*numbers).tolist() == [NORTH, NORTH, EAST, SOUTH, WEST]


def test_enemies_go_to_the_place_opposite_of_where_they_started() -> None:
    env = MicroBattle(8, scenario="3m")
    env.reset(np.arange(8))
    starts = env.combat.positions[:, 3:]
    np.testing.assert_array_equal(env.enemy_goals, 32.0 - starts)
    assert (np.abs(starts - [[[24.0]], [[16.0]]]) < 3.0).all()


def test_random_teams_are_equal_and_start_on_the_map() -> None:
    count, size = 3000, 5
    env = MicroBattle(count, scenario="random5")
    env.reset(np.arange(count))
    types, places = env.combat.stats.types, env.combat.positions
    np.testing.assert_array_equal(types[:size], types[size:])
    shares = np.bincount(types[:size].ravel(), minlength=6) / (size * count)
    np.testing.assert_allclose(shares, 1 / 6, atol=4 * np.sqrt(5 / 36 / (size * count)))
    assert (env.combat.health == env.combat.stats.health).all()
    mirror = places[:, size:].copy()
    mirror[0] = 32.0 - mirror[0]
    # Pushes at the start are mirrored too, but for those of two teams that meet in the middle.
    is_mirrored = (np.abs(mirror - places[:, :size]) < 1e-6).all(axis=(0, 1))
    assert is_mirrored.mean() == pytest.approx(0.5, abs=0.08)
    at_centre = (np.abs(places - 16.0) < 4.0).all(axis=0)
    inner = [at_centre[team].all(axis=0) & ~is_mirrored for team in (slice(5), slice(5, 10))]
    assert [group.mean() for group in inner] == pytest.approx([0.25, 0.25], abs=0.05)
    touching = ((places <= 0.0) | (places >= 32.0)).any(axis=(0, 1))
    assert not touching[~is_mirrored].any() and touching.mean() < 0.01


def test_names_of_scenarios() -> None:
    found = read_scenario("3s5z_vs_3s6z")
    assert (found.num_allies, found.num_enemies, found.num_units) == (8, 9, 17)
    assert found.types is not None and found.types.tolist() == [2] * 3 + [3] * 5 + [2] * 3 + [3] * 6
    for wrong in ("", "m", "0m", "3x", "3m_vs_", "random", "random0"):
        with pytest.raises(ConfigError, match="z zealot"):
            read_scenario(wrong)


def test_a_reward_is_shared_and_the_team_gets_two_for_a_flawless_victory() -> None:
    env = arena("2m_vs_1m", (10.0, 15.0), (10.0, 17.0), (12.0, 16.0))
    env.combat.health[2, 0] = 1.0
    step = env.step({"ally_0": np.array([ATTACK]), "ally_1": np.array([STOP])})
    assert step.rewards.tolist() == [[pytest.approx((1 / 45 + 1) / 2)] * 2]
    assert step.terminated.tolist() == [True] and step.info["battle_won"].tolist() == [True]
    assert step.info["alive"].tolist() == [[True, True]]


def play(team: str, scenario: str, episodes: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Return each episode's return and whether it is won."""
    env = MicroBattle(episodes, scenario=scenario)
    seeds = np.arange(episodes) + 2**31
    entrant = random_entrant(env)
    if team != "random":
        entrant = scripted_agent(team, f"pkubench/MicroBattle{scenario.capitalize()}-v0")
    assert isinstance(entrant, Team)
    seats = seats_of(entrant, env)
    for seat in seats:
        seat.begin(seeds)
    observations, info = env.reset(seeds)
    active = np.ones(episodes, dtype=np.bool_)
    returns, won = np.zeros(episodes), np.zeros(episodes, dtype=np.bool_)
    while active.any():
        actions: dict[str, Any] = {}
        masks = {agent: info[f"action_mask:{agent}"] for agent in env.agents}
        for seat in seats:
            seat.act(observations, masks, active, actions)
            chosen = masks[seat.name][np.arange(episodes), actions[seat.name]]
            assert chosen[active].all(), "an action is not available"
        step = env.step(actions)
        returns += np.where(active, step.rewards.sum(axis=1), 0.0)
        won |= active & step.info["battle_won"]
        active &= ~(step.terminated | step.truncated)
        observations, info = step.observations, step.info
    return returns, won


def test_the_script_is_the_same_on_both_sides() -> None:
    """Turned by 180 degrees, allies of one battle decide as enemies of the other do."""
    count, size = 400, 3
    env, turned = (MicroBattle(count, scenario="3m") for _ in range(2))
    for one in (env, turned):
        one.reset(np.arange(count))
    places = np.random.default_rng(0).uniform(4.0, 28.0, (2, 2 * size, count))
    env.combat.positions[:] = places
    turned.combat.positions[:] = 32.0 - places[:, ::-1]
    for one in (env, turned):
        one.refresh()
    turned.enemy_goals[:] = 32.0 - turned.combat.positions[:, size:]
    wanted = turned.enemy_actions()[::-1]
    wanted = np.where(wanted < STOP, (wanted + 2) % 4, wanted)
    team = scripted_agent("heuristic", "pkubench/MicroBattle3m-v0")
    assert isinstance(team, Team)
    observations, _ = env._observe(), None
    view = turned.views.enemy_view()
    is_sure = (view.is_seen.sum(axis=0) < 2) | view.is_near.any(axis=0)  # nothing is drawn
    assert 0.3 < is_sure.mean() < 0.95
    for index, agent in enumerate(env.agents):
        member = team.members[agent]
        actions, _ = member.act(
            observations[agent], member.begin(np.arange(count)), np.ones(count, dtype=np.bool_)
        )
        same = actions == wanted[index]
        assert same[is_sure[size - 1 - index]].all()


def test_the_noise_of_a_battle_is_the_same_in_small_and_large_batches() -> None:
    """Small batches draw a step's noise at once, large ones only what is used."""
    small, large = MicroBattle(4, scenario="2s3z"), MicroBattle(200, scenario="2s3z")
    assert small.combat.alive.size <= _FEW < large.combat.alive.size
    seeds = np.arange(200)
    small.reset(seeds[:4])
    large.reset(seeds)
    rng = np.random.default_rng(3)
    for _ in range(25):
        actions = {a: rng.integers(0, 10, 200) for a in large.agents}
        large.step(actions)
        small.step({a: chosen[:4] for a, chosen in actions.items()})
    for name in ("positions", "health", "cooldowns", "alive"):
        ours, others = (getattr(env.combat, name)[..., :4] for env in (small, large))
        np.testing.assert_array_equal(ours, others)
    assert (small.combat.health < small.combat.stats.health).any()


@pytest.mark.parametrize(
    ("scenario", "places", "changes", "wanted"),
    [
        # both in range: the weaker one, though it is further away; of equal ones the nearest
        ("1m_vs_2m", ((10.0, 16.0), (12.0, 16.0), (14.0, 16.0)), {"health": (2, 20.0)}, ATTACK + 1),
        ("1m_vs_2m", ((10.0, 16.0), (12.0, 16.0), (14.0, 16.0)), {}, ATTACK),
        # health counts, not its share: 45 of a marine's 45 are less than 100 of a zealot's 150
        (
            "1m_vs_1z1m",
            ((10.0, 16.0), (12.0, 16.0), (14.0, 16.0)),
            {"health": (1, 100.0)},
            ATTACK + 1,
        ),
        # a zealot reaches 2 cells and a marine 5: back while the weapon cools, else a shot
        ("1m_vs_1z", ((10.0, 16.0), (13.0, 16.5)), {"cooldowns": (0, 0.5)}, WEST),
        ("1m_vs_1z", ((10.0, 16.0), (13.0, 16.5)), {"cooldowns": (0, 0.1)}, ATTACK),
        # not from who is further than 4 cells away, from an equal range, or over the edge
        ("1m_vs_1z", ((10.0, 16.0), (14.5, 16.0)), {"cooldowns": (0, 0.5)}, ATTACK),
        ("1m_vs_1m", ((10.0, 16.0), (13.0, 16.0)), {"cooldowns": (0, 0.5)}, ATTACK),
        ("1m_vs_1z", ((2.0, 16.0), (5.0, 16.0)), {"cooldowns": (0, 0.5)}, ATTACK),
        # out of range but seen: towards it
        ("1m_vs_1z", ((10.0, 16.0), (10.0, 23.0)), {}, NORTH),
    ],
)
def test_focused_soldiers_shoot_at_the_weakest_and_step_back_from_shorter_arms(
    scenario: str,
    places: tuple[tuple[float, float], ...],
    changes: dict[str, tuple[int, float]],
    wanted: int,
) -> None:
    env = arena(scenario, *places)
    for name, (unit, value) in changes.items():
        getattr(env.combat, name)[unit, 0] = value
    env.refresh()
    agent = env.scripted_agents()["focus"]
    seen = env._observe()["ally_0"]
    actions, _ = agent.act(seen, agent.begin(np.arange(1)), np.ones(1, dtype=np.bool_))
    assert actions.tolist() == [wanted]


def test_focused_soldiers_win_where_the_script_does_not() -> None:
    """They won 0.80 of 400 battles on this map (references.json), and the script none."""
    _, won = play("focus", "6h_vs_8z", 100)
    assert won.mean() > 0.6


def test_scripted_soldiers_play_battles_only() -> None:
    with pytest.raises(AgentError, match="scripted:heuristic does not play"):
        scripted_agent("heuristic", "pkubench/SimpleSpread-v0")


def test_pettingzoo_agents_find_their_own_mask() -> None:
    env = pkubench.parallel_env("MicroBattle3m-v0")
    _, infos = env.reset(seed=1)
    for agent in env.agents:
        assert isinstance(env.action_space(agent), spaces.Discrete)
        own = infos[agent]["action_mask"]
        assert own.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
        np.testing.assert_array_equal(own, infos[agent][f"action_mask:{agent}"])
