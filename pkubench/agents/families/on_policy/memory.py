"""PPO with a memory, for agents that do not observe the whole state.

``happo-gru`` and ``mappo-gru`` are HAPPO and MAPPO with HARL's recurrent networks and chunks.

The hyperparameters of ``gru-ppo``, for single agents, are those of
MarcoMeter/episodic-transformer-memory-ppo's proof of memory, but that actor and critic are separate
networks here, each with a memory of its own, so that there is no weight of the value loss; the
entropy bonus does not decay. ``gtrxl-ppo`` differs in the memory alone.
"""

from __future__ import annotations

from pkubench.agents.components import changed
from pkubench.agents.families.on_policy.harl import HAPPO, MAPPO
from pkubench.agents.rl.on_policy.config import OnPolicyConfig

_PPO = changed(
    OnPolicyConfig(
        critic="local",
        num_envs=16,
        rollout_steps=128,
        critic_epochs=4,
        minibatches=8,
        critic_lr=3e-4,
        max_grad_norm=0.5,
        huber_delta=None,
    ),
    {
        "epochs": 4,
        "actor_lr": 3e-4,
        "clip": 0.2,
        "entropy": 1e-3,
        "hidden": (64,),
    },
)
_GRU = {"memory": "gru", "units": 128, "chunk": 10, "output_norm": True}
"""HARL's and MAPPO's recurrent networks: a GRU as wide as the layer before, chunks of 10 steps."""
PRESETS = {
    "happo-gru": changed(HAPPO, _GRU),
    "mappo-gru": changed(MAPPO, _GRU),
    "gru-ppo": changed(_PPO, {"memory": "gru"}),
    "gtrxl-ppo": changed(_PPO, {"memory": "gtrxl"}),
}
