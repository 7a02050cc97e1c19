"""Presets of OmniSafe's on-policy algorithms (Ji et al., JMLR 25, 2024).

``*_PAPER`` hold the official numbers: 20,000 steps an update, 40 passes of minibatches of 64, which
is 12,500 optimiser steps an update. The default presets, sized for a CPU, take 4,096 steps and 10
passes of 16 minibatches; ``docs/results/foundation.md`` has their scores. The official presets are
provided but not yet measured there.
"""

from __future__ import annotations

from dataclasses import replace

from pkubench.agents.on_policy.config import OnPolicyConfig

PPO_PAPER = OnPolicyConfig(
    num_envs=20,
    rollout_steps=1000,
    reset_each_rollout=True,
    epochs=40,
    critic_epochs=40,
    minibatches=312,
    clip=0.2,
    entropy=0.0,
    target_kl=0.02,
    actor_lr=3e-4,
    critic_lr=3e-4,
    lr_decay=True,
    adam_epsilon=1e-8,
    max_grad_norm=40.0,
    hidden=(64, 64),
    activation="tanh",
    layer_norm=False,
    init="kaiming",
    std="log",
    log_std_init=0.0,
    action_map="affine",
    value_norm=False,
    value_clip=False,
    huber_delta=None,
    critic_l2=0.001,
    observation_norm=True,
    advantage_epsilon=1e-8,
)
"""OmniSafe's PPO with its published settings."""

PPO_LAG_PAPER = replace(PPO_PAPER, constraint="lagrangian")
"""OmniSafe's PPOLag with its published settings."""

PPO = replace(
    PPO_PAPER,
    num_envs=16,
    rollout_steps=256,
    reset_each_rollout=False,
    epochs=10,
    critic_epochs=10,
    minibatches=16,
    log_std_init=-0.5,
    value_norm=True,
)
"""PPO sized for a CPU."""

PPO_LAG = replace(PPO, constraint="lagrangian")
"""PPO with a Lagrange multiplier, sized for a CPU."""

PRESETS = {
    "ppo": PPO,
    "ppo-lag": PPO_LAG,
    "ppo-paper": PPO_PAPER,
    "ppo-lag-paper": PPO_LAG_PAPER,
}
