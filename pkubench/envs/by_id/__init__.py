"""Anyone's Gymnasium environment by its id, with costs that its infos report: ``gym:ID``."""

from pkubench.envs.core.registry import EnvFamily

ENV_FAMILIES = (
    EnvFamily(
        prefix="gym",
        entry_point="pkubench.envs.by_id.environment:GymEnvironment",
        traits=None,  # found out by making it
        with_costs="pkubench.envs.by_id.naming:with_costs",
    ),
)
