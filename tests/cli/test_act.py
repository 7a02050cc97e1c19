"""Settings of acting are part of an agent's spelling, of its records and of what is verified."""

from __future__ import annotations

from pathlib import Path

import pytest

import pkubench
from pkubench.agents.registry import WEIGHTS
from pkubench.agents.resolve.acting import split_acting, with_acting
from pkubench.agents.resolve.loading import resolve_agent
from pkubench.errors import AgentError, BundleError, ConfigError, UnknownName
from pkubench.leaderboard import create_bundle
from pkubench.tasks.registry import make_task
from tests.cli.conftest import Command

SPREAD = make_task("SimpleSpread-v0")


@pytest.mark.parametrize(
    ("spelling", "agent", "acting"),
    [
        ("happo@0+mode=sampled", "happo@0", {"mode": "sampled"}),
        ("cfr+", "cfr+", {}),
        ("cfr++mode=sampled", "cfr+", {"mode": "sampled"}),
        ("runs/a+b/c", "runs/a+b/c", {}),
        ("x+mode=mode+target_return=3600", "x", {"mode": "mode", "target_return": "3600"}),
    ],
)
def test_a_spelling_is_split_and_joined(spelling: str, agent: str, acting: dict[str, str]) -> None:
    assert split_acting(spelling) == (agent, acting)
    assert with_acting(agent, acting) == spelling
    assert with_acting(spelling, {"mode": "mode"}).count("mode=") == 1


def test_sampling_plays_other_episodes_under_its_own_name(tmp_path: Path) -> None:
    mode, sampled = (
        pkubench.evaluate(f"happo@0{how}", SPREAD, episodes=4, out=tmp_path, workers=0)
        for how in ("", "+mode=sampled")
    )
    assert mode.metrics["return"].mean != sampled.metrics["return"].mean
    assert {path.name for path in tmp_path.iterdir()} == {"happo@0", "happo@0+mode-sampled"}
    again = pkubench.evaluate("happo@0+mode=sampled", SPREAD, episodes=4, workers=1)
    assert again.metrics == sampled.metrics
    default = pkubench.evaluate("happo@0+mode=mode", SPREAD, episodes=4, workers=0)
    assert default.metrics == mode.metrics
    with pytest.raises(BundleError, match="--act mode=sampled"):
        create_bundle(tmp_path / "happo@0+mode-sampled", tmp_path / "x.zip", license="MIT")


def test_a_sampled_run_is_verified_as_it_acted(pkubench: Command, tmp_path: Path) -> None:
    folder = str(WEIGHTS / "happo" / "SimpleSpread-v0" / "seed0")
    words = ("evaluate", folder, "SimpleSpread-v0", "--episodes", 4, "--out", "results", "--quiet")
    assert pkubench(*words, "--stochastic").code == 0
    records = "results/seed0+mode-sampled/SimpleSpread-v0"
    assert pkubench("verify", records, "--rerun", 4, "--agent", folder).code == 0
    assert "twice" in pkubench(*words, "--stochastic", "--act", "mode=mode").err


@pytest.mark.parametrize(
    ("spelling", "error", "text"),
    [
        ("happo@0+mode=best", ConfigError, "mode must be one of 'mode', 'sampled'"),
        ("happo@0+mood=sampled", UnknownName, "did you mean 'mode'"),
        ("random+mode=sampled", AgentError, "not a saved agent"),
    ],
)
def test_what_an_agent_cannot_do_is_said(spelling: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        resolve_agent(spelling, SPREAD)
