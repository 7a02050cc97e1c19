"""Loads saved on-policy agents as actors; those with an MLP without torch."""

from __future__ import annotations

from pkubench.agents.rl.on_policy.acting import load as load
