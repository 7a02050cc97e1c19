"""Self-play through PettingZoo: its own tests, and plays equal to OpenSpiel's."""

from __future__ import annotations

import warnings

import numpy as np
import pyspiel
import pytest
from pettingzoo.test import api_test, seed_test

from pkubench.envs.games import aec
from pkubench.errors import ActionError, ConfigError

GOOFSPIEL = "goofspiel(num_cards=4,imp_info=True,points_order=descending,returns_type=win_loss)"


@pytest.mark.parametrize("game", ["kuhn_poker", "leduc_poker", GOOFSPIEL])
def test_pettingzoos_own_tests_accept_the_game(game: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api_test(aec.env(game), num_cycles=100)
        seed_test(lambda: aec.env(game), num_cycles=30)


def test_a_play_ends_with_openspiels_returns_and_every_reward_is_handed_over() -> None:
    game = pyspiel.load_game("leduc_poker")
    env = aec.env("leduc_poker")
    rng = np.random.default_rng(0)
    for seed in range(30):
        env.reset(seed=seed)
        received = dict.fromkeys(aec.PLAYERS, 0.0)
        for agent in env.agent_iter():
            observation, reward, terminated, _, _ = env.last()
            received[agent] += reward
            if terminated:
                env.step(None)
                continue
            legal = np.flatnonzero(observation["action_mask"])
            assert legal.tolist() == env.state_of_play.legal_actions()
            env.step(int(rng.choice(legal)))
        replayed = game.new_initial_state()
        for action in env.state_of_play.history():
            replayed.apply_action(action)
        assert replayed.is_terminal()
        assert list(received.values()) == replayed.returns()


def test_chance_deals_all_cards_evenly() -> None:
    env = aec.env("kuhn_poker")
    counts = np.zeros((3, 3))
    for seed in range(1800):
        env.reset(seed=seed)
        first, second = env.state_of_play.history()[:2]
        counts[first, second] += 1
    assert (counts.diagonal() == 0).all()
    assert ((counts[counts > 0] - 300) ** 2 / 300).sum() < 20.5  # 0.999 quantile, 5 degrees


def test_a_reset_without_a_seed_continues_with_the_next_episode() -> None:
    def deals() -> list[list[int]]:
        env = aec.env("leduc_poker")
        env.reset(seed=5)
        seen = []
        for _ in range(6):
            seen.append(env.state_of_play.history())
            env.reset()
        return seen

    assert deals() == deals()
    assert len({tuple(deal) for deal in deals()}) > 1


def test_illegal_actions_and_unknown_render_modes_are_refused() -> None:
    env = aec.env("leduc_poker")
    env.reset(seed=0)
    with pytest.raises(
        ActionError, match=r"action 0 of player_0 is illegal here; legal are \[1, 2\]"
    ):
        env.step(0)
    with pytest.raises(ConfigError, match="human"):
        aec.env("leduc_poker", render_mode="human")


def test_both_render_modes_show_the_play() -> None:
    text = aec.env("leduc_poker", render_mode="ansi")
    text.reset(seed=0)
    assert "Pot: 2" in str(text.render())
    picture = aec.env("leduc_poker", render_mode="rgb_array")
    picture.reset(seed=0)
    drawn = picture.render()
    assert isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.min() < drawn.max()
