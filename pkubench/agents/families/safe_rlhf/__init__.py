"""Pipelines of alignment: a reference, learned scores if wanted, and the policy."""

from __future__ import annotations

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.agents.requirements import writes_language

FAMILY = AgentFamily(
    name="safe-rlhf",
    summary="alignment in stages: reference, reward and cost models, policy",
    unit="iterations",
    configure=f"{__name__}.presets:preset",
    plan=f"{__name__}.pipeline:plan",
    fits=writes_language,
    inputs=(
        Input(
            name="model",
            summary="folder of a causal language model of the transformers library to start from",
        ),
        Input(name="reference", summary="run folder of a reference, in place of the first stage"),
        Input(name="reward", summary="run folder of a reward model, in place of its stage"),
        Input(name="cost", summary="run folder of a cost model, in place of its stage"),
    ),
)
_SAFE, _REPO = "Safe RLHF (ICLR 2024)", "RePO (2024)"


def _preset(name: str, paper: str, summary: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=paper,
        suites=("alignment",),
        place=90,
    )


PRESETS = (
    _preset("safe-rlhf", _SAFE, "PPO-Lag on tokens: reward within a limit of expected cost"),
    _preset("rlhf", "InstructGPT (NeurIPS 2022)", "PPO on tokens: reward alone"),
    _preset("ppo-shaping", _SAFE, "PPO on tokens, on reward less a fixed share of cost"),
    _preset("repo", _REPO, "PPO on tokens against the excess cost of every response"),
    _preset("dpo", "DPO (NeurIPS 2023)", "preferences of helpfulness, without a reward model"),
    _preset("sacpo", "SACPO (NeurIPS 2024)", "DPO on helpfulness, and then on safety"),
)
