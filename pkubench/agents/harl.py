"""Presets of the HARL paper's on-policy methods (Zhong et al., JMLR 25(32), 2024).

Numbers are those of the official configuration files. One thing differs: the 4,000 steps of an
update are taken by 160 lanes of 25 steps, one particle episode each, where the official code takes
20 lanes of 200; the batch is the same and the environments are stepped eight times as wide. The
official shape is ``--set num_envs=20 --set rollout_steps=200``.
"""

from __future__ import annotations

from dataclasses import replace

from pkubench.agents.on_policy.config import OnPolicyConfig

HAPPO = OnPolicyConfig(scheme="sequential", num_envs=160, rollout_steps=25)
"""Sequential update in a random order with the running product of ratios."""

MAPPO = replace(HAPPO, scheme="simultaneous", shared=True)
"""One shared actor (separate ones where spaces differ), advantages of all agents together."""

IPPO = replace(HAPPO, scheme="simultaneous", critic="local")
"""Independent actors and independent critics on local observations."""

PRESETS = {"happo": HAPPO, "mappo": MAPPO, "ippo": IPPO}
