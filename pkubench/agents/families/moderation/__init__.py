"""Agents that judge pairs of a prompt and its response, trained on labelled pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkubench.agents.registry import AgentFamily, Input, Preset
from pkubench.envs.core.registry import traits
from pkubench.errors import MissingExtra

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


def _shows_texts(task: Task) -> str:
    try:
        known = traits(task.id, **task.env_kwargs)
    except MissingExtra:
        return ""
    return "" if known.has_labelled_texts else "it judges pairs of texts, and this shows none"


FAMILY = AgentFamily(
    name="moderation",
    summary="classifiers of pairs of a prompt and its response",
    kind="moderation",
    unit="gradient_steps",
    configure=f"{__name__}.presets:preset",
    learner=f"{__name__}.presets:make_learner",
    load=f"{__name__}.loading:load",
    fits=_shows_texts,
    inputs=(
        Input(
            name="encoder",
            summary="folder of a transformers model whose embeddings of texts are used",
            read=f"{__name__}.encoders:read_encoder",
        ),
    ),
)
_PAPER = "BeaverTails (NeurIPS 2023)"


def _preset(name: str, summary: str) -> Preset:
    return Preset(
        name=name,
        family=FAMILY.name,
        summary=summary,
        paper=_PAPER,
        suites=("alignment",),
        place=65,
    )


PRESETS = (
    _preset("tfidf-moderator", "a linear model of weighted words and word pairs"),
    _preset("tfidf-moderator-prompt", "control: the same, and sees the prompt only"),
    _preset("transformer-moderator", "a small transformer over prompt and response"),
    _preset("transformer-moderator-prompt", "control: the same, and sees the prompt only"),
    _preset("embedding-moderator", "a linear model of a frozen language model's embeddings"),
)
