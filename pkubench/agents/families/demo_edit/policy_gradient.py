"""PPO of edits: DemoGrasp's own learner, on episodes of one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.agents.contract import FloatArray
from pkubench.agents.families.demo_edit.config import PolicyGradientConfig
from pkubench.agents.families.demo_edit.demonstration import demonstrate, make_scene
from pkubench.agents.families.demo_edit.episodes import EditEpisodes
from pkubench.agents.families.demo_edit.loading import NETWORK
from pkubench.agents.families.demo_edit.regression import exported
from pkubench.agents.learner import Context, Export, State
from pkubench.agents.rl.on_policy.training import OnPolicyTraining
from pkubench.envs.core.batch import SOLE_AGENT, BatchEnv


@dataclass(frozen=True, slots=True, kw_only=True)
class _EditContext(Context):
    """A context whose environments are those of edits of a script."""

    plain: Context
    """That of the task itself."""
    script: FloatArray

    def make_env(self, num_envs: int, **kwargs: Any) -> BatchEnv:
        scene = make_scene(self.plain, num_envs)
        return EditEpisodes(scene, self.script, self.settings.reach_steps)


class PolicyGradientTraining(OnPolicyTraining):
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    env: EditEpisodes
    config: PolicyGradientConfig

    def __init__(self, context: Context) -> None:
        """Search for a demonstration, and make environments and networks.

        Raises:
            ConfigError: the settings do not fit the task, or no demonstration was found.
        """
        script, steps = demonstrate(context)
        fields = {name: getattr(context, name) for name in Context.__dataclass_fields__}
        super().__init__(_EditContext(**fields, plain=context, script=script))
        self.counters = self.counters._replace(environment_steps=steps)

    def iterate(self) -> dict[str, float]:
        """Play one edit in every environment and update once; steps are those of the scene."""
        before, steps = self.env.simulated, self.counters.environment_steps
        figures = super().iterate()
        steps += self.env.simulated - before
        self.counters = self.counters._replace(environment_steps=steps)
        return figures

    def state(self) -> State:
        """Return the state of PPO and the script."""
        return {**super().state(), "script": self.env.script}

    def load_state(self, state: State) -> None:
        """Restore a state."""
        self.env.script = np.asarray(state["script"]).copy()
        super().load_state(state)

    def export(self) -> Export:
        """Return the policy of edits and the demonstration."""
        whole = super().export()
        member = whole.config["members"][SOLE_AGENT]
        prefix = f"{member['network']}."
        tensors = {
            f"{NETWORK}.{key.removeprefix(prefix)}": value for key, value in whole.tensors.items()
        }
        std = np.exp(tensors.pop(f"{NETWORK}.log_std"))
        return exported(self.config, self.env, member["spec"], tensors, "clip", std)
