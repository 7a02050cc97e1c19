"""Presets for delayed team rewards: one policy, and one credit model each (STAS, AAAI 2024).

The policy is STAS's: independent PPO with one actor for all agents, which sees no agent's id, and
critics of own observations: one for all agents, and on AliceAndBob one for each. All presets differ
in ``credit`` alone, and ``--set credit=stas`` puts a model under any other on-policy agent,
together with ``--set rollout=episodes``.

The plain names are sized for minutes on a CPU: the paper's batch of 2,048 steps, smaller networks,
observations normalised, learning rates of 5e-4. Policies wait for 2,040 episodes of random play
where a network has to learn what credit is. ``*-paper`` have the sizes of the papers' code, and
depart from it in that

* actors and critics start with the gains of this project's networks;
* the clip does not decay with the learning rate, and the entropy bonus is that of the policy, where
  the code has ``p log p`` of the action taken;
* epsilon-greedy exploration, over after 900 steps there, is left out;
* AREL, RUDDER and the undecomposed return are under the same policy, where AREL's code trains
  MADDPG off policy; TAR2 has its own, recurrent MAPPO with normalised returns, and no dropout.
"""

from __future__ import annotations

from typing import Any

from pkubench.agents.components import changed
from pkubench.agents.nn.encoders.mlp import MLPEncoder
from pkubench.agents.rl.on_policy.config import OnPolicyConfig
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip

POLICY = OnPolicyConfig(
    shared=True,
    critic="local",
    update=PPOClip(clip=0.2, entropy=0.05, epochs=4, actor_lr=5e-4),
    encoder=MLPEncoder(hidden=(64, 64), activation="tanh", layer_norm=False),
    rollout="episodes",
    num_envs=80,
    rollout_steps=25,
    gamma=1.0,
    truncation="terminal",
    critic_epochs=4,
    critic_lr=5e-4,
    minibatches=4,
    max_grad_norm=0.5,
    value_norm=False,
    value_clip=None,
    observation_norm=True,
    reward_scale=0.1,
    advantage_epsilon=1.0,
)
"""IPPO on whole episodes, of which the time limit is the end.

Advantages are divided by their deviation plus 1, the size of a tenth of AliceAndBob's success. By
the deviation alone, an update without a success, whose only rewards are penalties of 0.01, would be
as large as one with a success: on AliceAndBob policies then learn to avoid walls and no longer meet
a success, at 512 episodes an update too.
"""

POLICY_PAPER = changed(
    POLICY,
    {
        "entropy": 0.01,
        "epochs": 10,
        "actor_lr": 1e-4,
        "lr_decay": True,
        "num_envs": 82,
        "critic_epochs": 10,
        "critic_lr": 1e-4,
        "critic_lr_decay": True,
        "clip": 0.5,
        "value_clip": 0.5,
        "minibatches": 48,
        "max_grad_norm": 10.0,
        "critic": "local-shared",
        "observation_norm": False,
        "reward_scale": 1.0,
        "advantage_epsilon": 1e-5,
    },
)
"""STAS's policy, with its numbers for the particle environments."""

_UNCHANGED: dict[str, Any] = {"success_share": 0.0, "return_scale": 1.0, "times_agents": False}
"""The papers draw uniformly from the replay, and neither scale returns nor shares."""
_STAS: dict[str, Any] = {
    **_UNCHANGED,
    "mode": "repo",
    "sampler": "bernoulli",
    "coalitions": 5,
    "width": 128,
    "heads": 4,
    "layers": 3,
    "dropout": 0.5,
    "buffer": 15_000,
    "warmup_episodes": 4_000,
    "fit_every": 820,
    "fit_steps": 50,
    "fit_episodes": 256,
    "credit_lr": 5e-4,
}
"""Fits at every tenth update of 82 episodes."""
_OF_AREL: dict[str, Any] = {
    **_UNCHANGED,
    "times_agents": True,
    "warmup_episodes": 1_000,
    "fit_every": 1_000,
    "fit_steps": 1_000,
    "credit_lr": 1e-4,
}
"""Common to AREL's code, which has RUDDER as well; the same reward for every agent."""
_AREL = {**_OF_AREL, "fit_episodes": 256, "layers": 3, "heads": 3}
_RUDDER = {
    **_OF_AREL,
    "fit_episodes": 128,
    "units": 512,
    "layers": 2,
    "start_value": "learned",
}
_TAR2: dict[str, Any] = {
    **_UNCHANGED,
    "mode": "repo",
    "weights": "published",
    "coalitions": 5,
    "width": 64,
    "heads": 4,
    "layers": 3,
    "buffer": 5_000,
    "warmup_episodes": 0,
    "fit_every": 100,
    "fit_steps": 200,
    "fit_episodes": 64,
    "credit_lr": 1e-4,
    "credit_decay": 0.0,
    "credit_grad_norm": 0.5,
    # its policy: 10 episodes an update, GRU of 64, shared critic of the state
    "critic": "state",
    "memory": "gru",
    "units": 64,
    "num_envs": 10,
    "minibatches": 1,
    "entropy": 6e-3,
    "clip": 0.2,
    "value_clip": 0.2,
    "actor_lr": 5e-4,
    "critic_lr": 5e-4,
    "lr_decay": False,
    "critic_lr_decay": False,
    "value_norm": True,
}

METHODS = (
    *("stas", "stas-ml", "arel", "tar2", "rudder", "ircr", "uniform"),
    *("difference", "undecomposed", "undecomposed-sil", "dense"),
)
"""Agents, each named after its credit."""

PRESETS: dict[str, OnPolicyConfig] = {
    **{name: changed(POLICY, {"credit": name}) for name in METHODS},
    "stas-paper": changed(POLICY_PAPER, {"credit": "stas", **_STAS}),
    "stas-ml-paper": changed(POLICY_PAPER, {"credit": "stas-ml", **_STAS}),
    "arel-paper": changed(POLICY_PAPER, {"credit": "arel", **_AREL}),
    "tar2-paper": changed(POLICY_PAPER, {"credit": "tar2", **_TAR2}),
    "rudder-paper": changed(POLICY_PAPER, {"credit": "rudder", **_RUDDER}),
    "undecomposed-paper": changed(POLICY_PAPER, {"credit": "undecomposed"}),
}

_ALICE = {"num_envs": 51, "rollout_steps": 40}
_ALICE_POLICY_PAPER: dict[str, Any] = {
    "num_envs": 52,
    "rollout_steps": 40,
    "clip": 0.2,
    "value_clip": 0.2,
    "minibatches": 16,
}
_ALICE_PAPER = {
    **_ALICE_POLICY_PAPER,
    **{"coalitions": 3, "buffer": 20_000, "warmup_episodes": 10_000, "fit_every": 52},
    "credit_lr": 1e-4,
}
_PAPER = ("stas-paper", "stas-ml-paper")
_OF_PAPERS = (*_PAPER, "arel-paper", "rudder-paper", "undecomposed-paper")
"""The presets with STAS's policy in full; TAR2's has its own minibatches."""
_PARTICLES: dict[str, Any] = {
    **{"warmup_episodes": 4_000, "buffer": 15_000},
    **{"fit_every": 80, "fit_steps": 40, "fit_episodes": 16, "credit_lr": 3e-3},
    **{"entropy": 0.01, "epochs": 10, "critic_epochs": 10, "advantage_epsilon": 1e-5},
    "critic": "local-shared",
}
"""The paper's replay, warm-up, entropy and passes over the data. Returns differ in every update, so
that advantages are divided by their deviation. A return is a sum over many steps here, and it takes
many steps of Adam until STAS's network predicts it better than its mean: of three agents' random
play 300 (correlations of 0.6 after 400, 0.94 after 1,600), of six agents' more than 1,000 (0.4
after 1,600). The warm-up has 2,000 of a quarter of the episodes."""
_LARGE = {"buffer": 4_000}
"""Of fifteen agents: 170 MB."""


def _minibatches(agents: int) -> dict[str, int]:
    """Return how many minibatches of about 1,024 agent-steps an update of 2,000 steps has."""
    return {"minibatches": -(-2_000 * agents // 1_024)}


def _minibatches_paper(agents: int) -> dict[str, int]:
    """Return how many minibatches of 128 agent-steps an update of 82 episodes has (the paper's)."""
    return {"minibatches": -(-82 * 25 * agents // 128)}


_WORLDS = {"Navigation": (3, 6, 15), "PredatorPrey": (3, 6), "CooperativePush": (3,)}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "AliceAndBob": {
        **dict.fromkeys(METHODS, _ALICE),
        **dict.fromkeys(_OF_PAPERS, _ALICE_POLICY_PAPER),
        **dict.fromkeys(_PAPER, _ALICE_PAPER),
    },
    **{
        f"{world}{n}": {
            **dict.fromkeys(METHODS, _PARTICLES | _minibatches(n) | (_LARGE if n == 15 else {})),
            **dict.fromkeys(_OF_PAPERS, _minibatches_paper(n)),
        }
        for world, sizes in _WORLDS.items()
        for n in sizes
    },
}
"""Prefix of a task's name -> agent -> settings that replace the preset's; longer prefixes win. The
numbers are the papers' and our trials', on training seeds from 1000 on; none is for one method."""
