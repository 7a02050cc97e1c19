"""Delayed team rewards: environments to test credit assignment on, with exact answers in one."""

from pkubench.envs.core.delayed_reward import DELAY, EPISODE
from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.credit.{entry_point}",
        horizon=horizon,
        traits=Traits(
            num_agents=agents, action="discrete", is_delayed=True, has_difference_rewards=True
        ),
        kwargs={**({"num_agents": agents} if is_sized else {}), DELAY: EPISODE},
    )
    for name, entry_point, horizon, agents, is_sized in (
        ("AliceAndBob", "alice_and_bob:AliceAndBob", 40, 2, False),
        ("Navigation3", "navigation:Navigation", 25, 3, True),
        ("Navigation6", "navigation:Navigation", 25, 6, True),
        ("Navigation15", "navigation:Navigation", 25, 15, True),
        ("PredatorPrey3", "predator_prey:PredatorPrey", 25, 3, True),
        ("PredatorPrey6", "predator_prey:PredatorPrey", 25, 6, True),
        ("CooperativePush3", "push:CooperativePush", 25, 3, False),
    )
)
