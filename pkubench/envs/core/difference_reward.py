"""Difference rewards: what an agent has changed in the team's reward of a step, an oracle.

An environment whose reward function is known can evaluate it with one agent taken away. Those that
do have the setting ``difference_rewards``, off by default because it costs time, and report the
result in their infos; they say in their docstrings what an agent is compared with.

Source: Wolpert and Tumer, "Optimal Payoff Functions for Members of Collectives", Advances in
Complex Systems 4, 2001: D_i = G(z) - G(z_-i), where z_-i is z with the agent's part replaced by a
fixed one, or without it.
"""

from __future__ import annotations

from typing import Final

DIFFERENCE_REWARDS: Final = "difference_rewards"
"""The setting, and attribute, of environments that can report them."""
DIFFERENCE_REWARD: Final = "difference_reward"
"""The info with each agent's difference reward for the step, (num_envs, num_agents) float64.

It is in units of the team's reward, undivided, and 0 at reset. As ``dense_reward`` it reports what
an episodic task withholds: it is there to score credit assignment with, and for the agent
``difference``, an oracle.
"""
