"""The game environments, checked against OpenSpiel's own states and exact expectations."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pyspiel
import pytest

import pkubench
from pkubench.agents.contract import Population
from pkubench.envs.core.checks import Subject, run_checks
from pkubench.envs.core.registry import make_batch
from pkubench.envs.games.poker import KuhnPoker, LeducPoker
from pkubench.envs.games.seat import GameSeat
from pkubench.envs.games.trees import registered_tree
from pkubench.errors import ActionError, ConfigError, UnknownName

POKER = [KuhnPoker, LeducPoker]
WORLDS = [
    "KuhnPoker-v0",
    "LeducPoker-v0",
    "LiarsDice4-v0",
    "LiarsDice5-v0",
    "Goofspiel4-v0",
    "Goofspiel5-v0",
    "openspiel:dark_hex(num_rows=2,num_cols=2)",
]


def random_legal(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (mask * (1.0 - rng.random(mask.shape))).argmax(axis=1)


def state_of(batch: GameSeat, game: pyspiel.Game, index: int) -> pyspiel.State:
    state = game.new_initial_state()
    for who, action in batch.moves(index):
        assert state.current_player() == who
        assert action in state.legal_actions()
        state.apply_action(action)
    return state


@pytest.mark.parametrize("name", WORLDS)
def test_every_step_shows_what_openspiels_state_shows(name: str) -> None:
    num_envs = 150
    batch = make_batch(name, num_envs)
    assert isinstance(batch, GameSeat)
    game = pyspiel.load_game(registered_tree(name).name)
    rng = np.random.default_rng(0)
    observations, info = batch.reset(np.arange(num_envs, dtype=np.int64))
    assert set(info["seat"]) == {0, 1}
    over = np.zeros(num_envs, dtype=bool)
    while not over.all():
        for index in np.flatnonzero(~over):
            state, seat = state_of(batch, game, index), int(info["seat"][index])
            assert state.current_player() == seat
            np.testing.assert_array_equal(
                observations["agent"][index], np.float32(state.information_state_tensor(seat))
            )
            np.testing.assert_array_equal(
                info["action_mask"][index], state.legal_actions_mask(seat)
            )
        step = batch.step({"agent": random_legal(info["action_mask"], rng)})
        for index in np.flatnonzero(~over):
            state = state_of(batch, game, index)
            assert bool(step.terminated[index]) == state.is_terminal()
            wanted = state.returns()[int(info["seat"][index])] if state.is_terminal() else 0.0
            assert step.rewards[index, 0] == wanted
        # An environment that is over stays where it is and pays nothing more.
        assert (step.rewards[over, 0] == 0.0).all() and step.terminated[over].all()
        assert not step.truncated.any()
        over |= step.terminated
        observations, info = step.observations, step.info
    assert (observations["agent"] == 0.0).all()
    assert (info["action_mask"] == 1).all()


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("opponent", ["uniform", "equilibrium", "population"])
def test_mean_returns_are_the_exact_expected_value(opponent: str, seat: int) -> None:
    # The learner plays a fixed random policy; the tree says what that wins on average.
    num_envs = 20_000
    tree = LeducPoker().tree
    rng = np.random.default_rng(4)
    plans = [[tree.random_plan(p, rng, pure=True) for _ in range(3)] for p in (0, 1)]
    weights = np.array([0.5, 0.0, 0.5])
    if opponent == "population":
        members = [[tree.behaviour(plan, p) for plan in plans[p]] for p in (0, 1)]
        played: object = Population((members[0], members[1]), (weights, weights))
        theirs = tree.mix(plans[1 - seat], weights)
    elif opponent == "equilibrium":
        played, theirs = opponent, tree.solve()[2 - seat]
    else:
        played, theirs = opponent, tree.uniform_plan(1 - seat)
    mine = tree.random_plan(seat, rng)
    table = tree.table(mine, seat)
    rows = {tensor.tobytes(): k for k, tensor in enumerate(tree.tensors(seat))}

    batch = LeducPoker(num_envs=num_envs, opponent=played, seat=seat)
    observations, _ = batch.reset(np.arange(num_envs, dtype=np.int64))
    total, over = np.zeros(num_envs), np.zeros(num_envs, dtype=bool)
    while not over.all():
        state = [rows.get(row.tobytes(), 0) for row in observations["agent"]]
        draws = rng.random((num_envs, 1))
        actions = (draws >= np.cumsum(table[state], axis=1)).sum(axis=1).clip(max=2)
        actions[over] = 0
        step = batch.step({"agent": actions}, ~over)
        assert not step.info["illegal"].any()
        total += step.rewards[:, 0] * ~over
        over |= step.terminated
        observations = step.observations
    value = tree.expected_value(*((mine, theirs) if seat == 0 else (theirs, mine)))
    wanted = value if seat == 0 else -value
    assert total.mean() == pytest.approx(wanted, abs=4 * total.std() / np.sqrt(num_envs))


def test_deals_are_even_and_seats_are_shared_fairly() -> None:
    num_envs = 30_000
    batch = LeducPoker(num_envs=num_envs)
    _, info = batch.reset(np.arange(num_envs, dtype=np.int64))
    assert info["seat"].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(num_envs))
    deals = np.array(
        [[a for who, a in batch.moves(index) if who < 0] for index in range(0, num_envs, 3)]
    )
    counts = np.bincount(deals[:, 0] * 6 + deals[:, 1], minlength=36)
    assert (counts.reshape(6, 6).diagonal() == 0).all()
    expected = len(deals) / 30
    chi_squared = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert chi_squared < 58.3  # 0.999 quantile with 29 degrees of freedom


def test_a_fixed_seat_is_kept_and_an_episode_does_not_depend_on_its_index() -> None:
    batch = LeducPoker(num_envs=8, seat=1)
    _, info = batch.reset(np.arange(8, dtype=np.int64))
    assert (info["seat"] == 1).all()
    alone, many = LeducPoker(num_envs=1), LeducPoker(num_envs=9)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, one = alone.reset(np.array([seed]))
        many.reset(np.arange(9) * 1000)
        _, info = many.reset(np.array([seed]), np.array([6]))
        done = False
        while not done:
            np.testing.assert_array_equal(one["action_mask"][0], info["action_mask"][6])
            action = random_legal(one["action_mask"], rng)
            first = alone.step({"agent": action})
            other = many.step({"agent": np.full(9, action[0])}, np.arange(9) == 6)
            assert alone.moves(0) == many.moves(6)
            assert first.rewards[0, 0] == other.rewards[6, 0]
            one, info, done = first.info, other.info, bool(first.terminated[0])


def first_without_a_bet(batch: GameSeat) -> int:
    """Reset to an episode whose first decision has nothing to call; return its seed."""
    for seed in range(100):
        _, info = batch.reset(np.array([seed]))
        if info["action_mask"][0, 0] == 0:
            return seed
    raise AssertionError("folding is legal everywhere")


def test_an_illegal_action_loses_the_play_immediately() -> None:
    batch = LeducPoker()
    first_without_a_bet(batch)
    step = batch.step({"agent": np.array([0])})
    assert step.rewards[0, 0] == -13.0 and step.terminated[0] and step.info["illegal"][0]
    assert "illegal action" in batch.describe()
    again = batch.step({"agent": np.array([1])})
    assert again.rewards[0, 0] == 0.0 and again.terminated[0] and not again.info["illegal"][0]


def test_an_illegal_action_is_an_error_where_the_user_wants_one() -> None:
    env = gymnasium.make("pkubench/LeducPoker-v0", illegal="error", seat=0)
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1, 1]
    with pytest.raises(ActionError, match=r"action 0 of environment 0 is illegal.*\[1, 2\]"):
        env.step(0)
    env.step(1)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"opponent": "equilibrum"}, UnknownName, "did you mean 'equilibrium'"),
        ({"opponent": 3}, ConfigError, "opponent must be"),
        ({"seat": 2}, ConfigError, "seat must be"),
        ({"illegal": "ignore"}, ConfigError, "illegal must be"),
        ({"colour": "red"}, UnknownName, "colour"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pkubench.make_batch("KuhnPoker-v0", **settings)


@pytest.mark.parametrize("name", WORLDS)
def test_the_environments_pass_every_check(name: str) -> None:
    subject = Subject(name, functools.partial(make_batch, name))
    failed = [outcome for outcome in run_checks(subject) if outcome.status == "fail"]
    assert not failed, failed


@pytest.mark.parametrize("kind", POKER)
def test_the_words_on_the_table_agree_with_the_chips_that_openspiel_pays(
    kind: type[GameSeat],
) -> None:
    # Whoever folds, or loses the showdown, loses exactly the chips put in.
    num_envs = 200
    batch = kind(num_envs=num_envs)
    rng = np.random.default_rng(2)
    _, info = batch.reset(np.arange(num_envs, dtype=np.int64))
    over = np.zeros(num_envs, dtype=bool)
    won = np.zeros(num_envs)
    while not over.all():
        step = batch.step({"agent": random_legal(info["action_mask"], rng)}, ~over)
        won += np.where(over, 0.0, step.rewards[:, 0])
        over |= step.terminated
        info = step.info
    for index in range(num_envs):
        table = batch.table(index)  # type: ignore[attr-defined]
        assert table.won == won[index]
        lost_by = table.own_chips if won[index] < 0 else table.other_chips
        assert won[index] == 0 or abs(won[index]) == lost_by
        folded = any("fold" in said for said in table.betting)
        assert (table.other_card is None) == folded


def test_a_picture_hides_the_other_card_until_the_showdown() -> None:
    batch = KuhnPoker(num_envs=40, seat=0)
    batch.reset(np.arange(40, dtype=np.int64))
    by_own_card: dict[str, set[bytes]] = {}
    for index in range(40):
        table = batch.table(index)
        by_own_card.setdefault(table.own_card, set()).add(batch.render(index).tobytes())
    assert {len(pictures) for pictures in by_own_card.values()} == {1}
    assert len(by_own_card) == 3
    assert batch.render(0).shape == (320, 480, 3)


def test_an_environment_that_is_not_a_game_has_no_tree() -> None:
    assert registered_tree("LeducPoker-v0") is LeducPoker().tree
    with pytest.raises(ConfigError, match="SimpleSpread-v0 is not a game"):
        registered_tree("SimpleSpread-v0")
