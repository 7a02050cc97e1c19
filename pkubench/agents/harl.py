"""Presets of the HARL paper's on-policy methods (Zhong et al., JMLR 25(32), 2024).

``*_PAPER`` hold the numbers of the official configuration files for the particle worlds. The
presets to use differ from them in four ways:

* a truncated episode bootstraps from its final observation, where the official code gives its last
  step the advantage 0;
* the 4,000 steps of an update are taken by 160 lanes of 25 steps, one episode each, where the
  official code takes 20 lanes of 200: the same batch, stepped eight times as wide;
* ``gamma`` is 0.95, not 0.99: with values that reach past the time limit, 0.99 asks the critic for
  the reward of 100 steps of a 25-step episode, and its error drowns the advantage of an action;
* learning rates are 1e-3, not 5e-4.

Chosen on training seeds of SimpleSpread; ``make results-foundation`` trains both for comparison.
"""

from __future__ import annotations

from dataclasses import replace

from pkubench.agents.on_policy.config import OnPolicyConfig

HAPPO_PAPER = OnPolicyConfig(scheme="sequential", truncation="official")
"""Sequential update in a random order with the running product of ratios; official numbers."""

MAPPO_PAPER = replace(HAPPO_PAPER, scheme="simultaneous", shared=True)
"""One shared actor (separate ones where spaces differ), advantages of all agents together."""

HAPPO = replace(
    HAPPO_PAPER,
    truncation="bootstrap",
    num_envs=160,
    rollout_steps=25,
    gamma=0.95,
    actor_lr=1e-3,
    critic_lr=1e-3,
)
"""HAPPO with the numbers above."""

MAPPO = replace(HAPPO, scheme="simultaneous", shared=True)
"""MAPPO with the numbers above."""

IPPO = replace(HAPPO, scheme="simultaneous", critic="local")
"""Independent actors and independent critics on local observations."""

PRESETS = {
    "happo": HAPPO,
    "mappo": MAPPO,
    "ippo": IPPO,
    "happo-paper": HAPPO_PAPER,
    "mappo-paper": MAPPO_PAPER,
}
