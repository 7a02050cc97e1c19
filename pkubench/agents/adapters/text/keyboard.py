"""A person at the keyboard: questions on standard error, answers from standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pkubench.agents.contract import BoolArray, IntArray
from pkubench.errors import AgentUnavailable


class KeyboardAgent:
    """Shows what is new in a conversation and reads one line as the reply."""

    converses = True
    waits = True
    one_at_a_time = True

    def begin(self, seeds: IntArray) -> list[int]:
        """Return how many messages of each conversation were shown: none."""
        return [0] * len(seeds)

    def act(
        self, observation: Sequence[Any], state: list[int], active: BoolArray
    ) -> tuple[list[str], list[int]]:
        """Return the lines typed.

        Raises:
            AgentUnavailable: the input has ended.
        """
        replies = [""] * len(observation)
        shown = list(state)
        for index, messages in enumerate(observation):
            if not active[index] or not messages or messages[-1]["role"] != "user":
                continue
            if not shown[index]:
                print("\n--- a new sheet ---", file=sys.stderr)
            for message in messages[shown[index] :]:
                if message["role"] != "assistant":
                    print(f"\n{message['content']}", file=sys.stderr)
            shown[index] = len(messages)
            print("> ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise AgentUnavailable("the input has ended; the same command resumes")
            replies[index] = line.rstrip("\n")
        return replies, shown
