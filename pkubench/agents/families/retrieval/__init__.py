"""One agent for many grid worlds: PPO whose critic is corrected by what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import OFFICIAL, SUGGESTED, AgentFamily, Input, Preset
from pkubench.agents.requirements import all_of, plays_episodes, takes_no_masks
from pkubench.envs.core.registry import traits
from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def _has_missions(task: Task) -> str:
    try:
        known = traits(task.id, **task.env_kwargs)
    except MissingExtra:
        return ""
    return "" if known.has_missions else "it needs grid worlds with one mission for each task"


FAMILY = AgentFamily(
    name="retrieval",
    summary="one agent of many grid worlds, by PPO, and a memory that corrects its critic",
    kind="retrieval",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}.presets:make_learner",
    load=f"{__name__}.loading:load",
    acting={"mode": ("mode", "sampled")},
    fits=all_of(plays_episodes, takes_no_masks, _has_missions),
    inputs=(
        Input(
            name="bank",
            summary="states with their values that the memory starts from (.npz)",
            read=f"{__name__}.bank:read_bank",
        ),
    ),
)
_PAPER = "Task-adaptive retrieval via hypernetwork (2024)"
_MOORE = "MOORE (ICLR 2024)"


def _preset(name: str, paper: str, summary: str, *tags: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("retrieval",),
        tags=frozenset(tags),
        place=70,
    )


_FULL = "retrieval-hypernetwork"
PRESETS = (
    _preset(
        _FULL,
        _PAPER,
        "a hypernetwork makes the network of each task, and its retrieval",
        SUGGESTED,
    ),
    _preset(f"{_FULL}-paper", _PAPER, "the same as released, defects included", OFFICIAL),
    _preset(f"{_FULL}-no-memory", _PAPER, "control: without the memory"),
    _preset(f"{_FULL}-shuffled", _PAPER, "control: values shuffled among the remembered states"),
    _preset(f"{_FULL}-random-keys", _PAPER, "control: keys drawn at random, whatever the states"),
    _preset(f"{_FULL}-no-hypernetwork", _PAPER, "control: one retrieval network for all tasks"),
    _preset(f"{_FULL}-episodic", "NEC (ICML 2017)", "control: values of the nearest states"),
    _preset("mt-ppo", _MOORE, "PPO of many tasks, told which one it is in"),
    _preset("mt-ppo-heads", _MOORE, "the same with an actor and a critic for each task"),
)
