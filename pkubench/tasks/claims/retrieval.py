"""Claims about a memory that corrects the critic: task-adaptive retrieval (Jin et al., 2024)."""

from __future__ import annotations

from pkubench.tasks.claim import AREA, Claim, pairs

_PAPER = "Task-adaptive retrieval"
_MT7 = ("pkubench/MiniGridMT7-v0",)
LARGER = "minigrid:DoorKey-8x8-v0,LavaGapS7-v0,MemoryS11-v0,SimpleCrossingS11N5-v0"
"""The levels that an agent learns with a bank of smaller ones of the same kinds."""
_FULL = "retrieval-hypernetwork"
_EVEN = "num_envs=16"
_FROM_BANK = f"bank=size-shift, {_EVEN}, writes=false"
_ABSTRACT = (
    'The abstract: the method "significantly outperforms strong baselines" on several tasks of '
    "MiniGrid. Its tables and curves were not available to us."
)
_NO_CONTROL = "None that we know of: the paper's tables were not available to us."

CLAIMS = (
    Claim(
        name="retrieval-over-ppo",
        paper=_PAPER,
        text=(
            "One agent whose critic is corrected by what it retrieves earns more in seven tasks "
            "than PPO that knows its task."
        ),
        pairs=pairs(
            [
                (name, other)
                for name in (_FULL, f"{_FULL}-paper")
                for other in ("mt-ppo", "mt-ppo-heads")
            ],
            _MT7,
        ),
        published=_ABSTRACT,
        note=(
            "Returns of the last policy, with sampled actions. Without -paper, the agent has the "
            "defects of the released code mended."
        ),
        ablation="retrieval-utility",
    ),
    Claim(
        name="retrieval-utility",
        paper=_PAPER,
        text=(
            "An agent learns faster with the values of the states that it remembers than with the "
            "same values shuffled among them."
        ),
        pairs=pairs([(_FULL, f"{_FULL}-shuffled")], _MT7),
        metric=AREA.name,
        is_paired=True,
        published=_NO_CONTROL,
        note=(
            "The memory corrects the critic and never acts, so both agents are trained with "
            "theirs: shuffling it in an evaluation would change nothing."
        ),
    ),
    Claim(
        name="retrieval-over-no-memory",
        paper=_PAPER,
        text="An agent learns faster with the memory than without it.",
        pairs=pairs([(name, f"{_FULL}-no-memory") for name in (_FULL, f"{_FULL}-paper")], _MT7),
        metric=AREA.name,
        is_paired=True,
        published=_ABSTRACT,
        note=(
            "The agent without a memory has the networks and settings of the first; the released "
            "profile differs from both in its input, its time limit and its environments too."
        ),
        ablation="retrieval-utility",
    ),
    Claim(
        name="retrieval-by-state",
        paper=_PAPER,
        text="An agent learns faster if it retrieves by states than by keys drawn at random.",
        pairs=pairs([(_FULL, f"{_FULL}-random-keys")], _MT7),
        metric=AREA.name,
        is_paired=True,
        published=_NO_CONTROL,
    ),
    Claim(
        name="retrieval-network-of-each-task",
        paper=_PAPER,
        text=(
            "An agent learns faster if a hypernetwork makes the retrieval network of each task "
            "than with one network for all, or with the nearest states of the task."
        ),
        pairs=pairs([(_FULL, f"{_FULL}-{name}") for name in ("no-hypernetwork", "episodic")], _MT7),
        metric=AREA.name,
        is_paired=True,
        published=_ABSTRACT,
        note=(
            "Without the hypernetwork the policy has no layer of its task either, and the task's "
            "number is its input: two differences. The nearest states are read by the kernel of "
            "NEC, from 350 slots."
        ),
    ),
    Claim(
        name="bank-of-smaller-levels",
        paper=_PAPER,
        text=(
            "A memory of smaller levels makes an agent learn larger ones of the same kinds faster "
            "than its own episodes, and than such a memory without its values or keys, do."
        ),
        pairs=pairs(
            [
                (f"{_FULL} with {_FROM_BANK}", other)
                for other in (
                    f"{_FULL} with {_EVEN}",
                    f"{_FULL}-no-memory with {_EVEN}",
                    f"{_FULL}-shuffled with {_FROM_BANK}",
                    f"{_FULL}-random-keys with {_FROM_BANK}",
                    f"{_FULL} with bank=unrelated, {_EVEN}, writes=false",
                )
            ],
            (LARGER,),
        ),
        metric=AREA.name,
        is_paired=True,
        published=_NO_CONTROL,
        note="The transfer is ours (track B): 200,000 steps of each level.",
    ),
)
