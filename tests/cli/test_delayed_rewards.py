"""Tasks with delayed rewards, and agents for them, as a user types them."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command

TINY = ("--validate", "0", "--set", "num_envs=4", "--set", "rollout_steps=5", "--out", "mine")


@pytest.mark.parametrize("delay", ["20", "episode"])
def test_a_delayed_task_is_shown_with_when_it_pays(pkubench: Command, delay: str) -> None:
    said = pkubench("show", f"SimpleSpread-v0+delay={delay}")
    when = {"20": "paid every 20 steps, and at the end", "episode": "paid at the end of an episode"}
    assert said.code == 0 and f"pkubench/SimpleSpread-v0+delay={delay}" in said.out
    assert when[delay] in said.out
    assert "paid every" not in pkubench("show", "SimpleSpread-v0").out
    assert f"pkubench train stas SimpleSpread-v0+delay={delay}" in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "Navigation3-v0+delay=foo"), "takes a positive number of steps, or episode, got"),
        (("train", "stas", "Navigation3-v0+delay=0"), "takes a positive number of steps, or epis"),
        (("evaluate", "random", "Navigation3-v0+dely=3"), "no variant of pkubench/Navigation3-v0"),
        (("check", "Navigation3-v0+"), "variants are +delay=20 and +delay=episode"),
        (
            ("watch", "random", "Navigatoin3-v0+delay=2"),
            "did you mean 'pkubench/Navigation3-v0+delay=2'",
        ),
        (("train", "stas", "SimpleSpread-v0"), "where rewards are delayed (+delay=...)"),
        (("train", "difference", "SimpleSpread-v0+delay=5"), "this is one of marl"),
        (("show", "difference", "HopperVelocity-v0+delay=episode"), "it trains on credit tasks"),
        (("train", "ippo", "SimpleSpread-v0", "--set", "credit=stas"), "set rollout=episodes"),
        (("train", "ippo", "SimpleSpread-v0", "--set", "credit=difference"), "does not report"),
        (("train", "ippo", "SimpleSpread-v0", "--set", "credit=dense"), "add +delay=episode to"),
        (("train", "stas", "KuhnPoker-v0+delay=episode"), "it learns from episodes"),
        (("evaluate", "stas", "AliceAndBob-v0"), "no weights of 'stas' are shipped"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_line(
    pkubench: Command, words: tuple[str, ...], why: str
) -> None:
    said = pkubench(*words)
    assert (said.code, len(said.err.splitlines())) == (2, 1), said.err
    assert why in said.err


def test_difference_rewards_train_a_team(pkubench: Command) -> None:
    said = pkubench("train", "difference", "Navigation3-v0", "--steps", "200", *TINY)
    assert said.code == 0, said.err


def test_a_team_method_with_one_agent_says_what_it_is(pkubench: Command) -> None:
    task, few = "RiskyCorridor-v0+delay=episode", ("--set", "warmup_episodes=1")
    said = pkubench("train", "stas", task, "--steps", "100", *few, *TINY)
    assert said.code == 0, said.err
    assert "credit=stas with a single agent is credit over time alone" in said.err


@pytest.mark.parametrize("warmup", [1, 1000])
def test_a_run_that_ends_within_the_warm_up_says_that_its_policy_is_untrained(
    pkubench: Command, warmup: int
) -> None:
    words = ("train", "stas", "AliceAndBob-v0", "--steps", "160", *TINY)
    said = pkubench(*words, "--set", f"warmup_episodes={warmup}")
    assert said.code == 0, said.err
    notes = [line for line in said.err.splitlines() if "the policy is as it began" in line]
    if warmup == 1:
        assert not notes
    else:
        assert len(notes) == 1 and "first collects 1,000 episodes, of which 4 were" in notes[0]
