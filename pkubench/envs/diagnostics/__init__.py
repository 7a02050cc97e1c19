"""Games small enough to solve on paper: they show what an algorithm's theory claims."""

from pkubench.envs.core.registry import EnvSpec
from pkubench.envs.core.traits import Traits

ENVS = tuple(
    EnvSpec(
        id=f"pkubench/{name}-v0",
        entry_point=f"pkubench.envs.diagnostics.{module}:{name}",
        horizon=horizon,
        traits=traits,
    )
    for name, module, horizon, traits in (
        ("Climbing", "matrix_games", None, Traits(num_agents=2, action="discrete")),
        ("Penalty", "matrix_games", None, Traits(num_agents=2, action="discrete")),
        ("SharingGap", "sharing_gap", None, Traits(num_agents=4, action="discrete")),
        ("SignGame", "sign_game", None, Traits(num_agents=2)),
        ("TwoStepGame", "two_step", None, Traits(num_agents=2, action="discrete")),
        ("RiskyCorridor", "risky_corridor", 50, Traits(action="discrete", has_cost=True)),
        ("SpeedLimit", "speed_limit", 20, Traits(has_cost=True)),
    )
)
