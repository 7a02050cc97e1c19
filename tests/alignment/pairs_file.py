"""A small file of synthetic pairs, for tests that need not read all 12,000."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from pkubench.envs.alignment.qa_pairs import CATEGORIES
from pkubench.envs.alignment.synthetic_pairs import synthetic_rows
from pkubench.tasks.registry import make_task
from pkubench.tasks.task import Task


@cache
def lines(prompts: int = 120) -> str:
    rows, _ = synthetic_rows(5, prompts)
    entries = (
        {
            "prompt": row.prompt,
            "response": row.response,
            "category": dict(zip(CATEGORIES, row.category, strict=True)),
            "is_safe": row.is_safe,
        }
        for row in rows
    )
    return "\n".join(json.dumps(entry) for entry in entries)


def small_file(folder: Path, prompts: int = 120) -> str:
    path = folder / f"pairs-{prompts}.jsonl"
    path.write_text(lines(prompts))
    return str(path)


def small_task(folder: Path, prompts: int = 120, pairs: int = 20, episodes: int = 8) -> Task:
    """The task on a small file, whose splits have some 25 % of the prompts each."""
    task = make_task("QAModeration-v0")
    protocol = replace(task.protocol, episodes=episodes)
    settings = {"source": small_file(folder, prompts), "pairs": pairs}
    return replace(task, env_kwargs=settings, protocol=protocol)
