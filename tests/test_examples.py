"""The tutorial's environment keeps what its page promises."""

from __future__ import annotations

import numpy as np

from examples.relay import Relay


def test_the_relays_best_return_is_one_in_six_steps() -> None:
    env = Relay(num_envs=200)
    env.reset(np.arange(200))
    done = np.zeros(200, dtype=bool)
    total, steps = np.zeros(200), np.zeros(200, dtype=int)
    while not done.all():
        holds = env._handed_over
        actions = {
            "first": np.full(200, 2),
            "second": np.where(holds, 2, 0),
        }
        step = env.step(actions)
        total += step.rewards.sum(1) * ~done
        steps += ~done
        done |= step.terminated | step.truncated
    assert (total == 1.0).all()
    assert (steps == 6).all()
    assert not step.truncated.any()


def test_the_load_pays_only_after_it_changed_hands() -> None:
    env = Relay(num_envs=3)
    env.reset(np.arange(3))
    stay_and_go = {"first": np.ones(3, int), "second": np.full(3, 2)}
    for _ in range(31):
        step = env.step(stay_and_go)
        assert not step.terminated.any()
        assert (step.rewards == 0).all()
    assert env.step(stay_and_go).truncated.all()
