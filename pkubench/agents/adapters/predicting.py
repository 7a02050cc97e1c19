"""A Stable-Baselines3 policy as an agent, through its own ``predict``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from pkubench.agents.adapters.fitting import Rescaling
from pkubench.agents.contract import Array, BoolArray, IntArray, MaskedObservation


@dataclass(frozen=True)
class Statistics:
    """``VecNormalize``'s map of an observation: standardise in float64, then clip."""

    mean: Array
    std: Array
    bound: float

    def __call__(self, observation: Array) -> Array:
        """Return the observation as the policy received it in training."""
        standardised: Array = (np.asarray(observation, np.float64) - self.mean) / self.std
        return np.clip(standardised, -self.bound, self.bound)


class PredictingPolicy:
    """An Agent that takes the deterministic action of ``policy.predict``.

    Actions are computed in double precision and rounded to single, so that they are the same on
    every processor; ``double=False`` keeps the policy in its saved precision.
    """

    def __init__(
        self,
        policy: Any,
        *,
        why_no_graph: str = "it acts through its own code",
        statistics: Statistics | None = None,
        rescaling: Rescaling | None = None,
        takes_masks: bool = False,
        double: bool = True,
    ) -> None:
        """Wrap the policy of a loaded model.

        Args:
            policy: A Stable-Baselines3 policy; with ``double`` its weights are widened in place.
            why_no_graph: Why it cannot be written as ONNX, for a message.
            statistics: Of the observations in training, if they were standardised.
            rescaling: Map from its training actions to those of the task.
            takes_masks: Whether ``predict`` takes ``action_masks``.
            double: Whether to compute in double precision.
        """
        self.policy, self.why_no_graph, self.double = policy, why_no_graph, double
        self._statistics, self._rescaling, self._takes_masks = statistics, rescaling, takes_masks
        self.policy.set_training_mode(False)
        if double:
            self.policy.double()

    def begin(self, seeds: IntArray) -> tuple[Any, BoolArray]:
        """Start episodes: no recurrent state yet, and every episode at its first step."""
        return None, np.ones(len(seeds), dtype=np.bool_)

    def act(
        self, observation: Any, state: tuple[Any, BoolArray], active: BoolArray
    ) -> tuple[Array, tuple[Any, BoolArray]]:
        """Return the mode of the policy and the recurrent state, if it has one."""
        masks: dict[str, Array] = {}
        if isinstance(observation, MaskedObservation):
            observation, mask = observation
            if self._takes_masks:
                masks["action_masks"] = mask
        if self._statistics is not None:
            observation = self._statistics(observation)
        memory, starts = state
        with self._precision():
            actions, memory = self.policy.predict(
                observation, memory, starts, deterministic=True, **masks
            )
        actions = np.asarray(actions)
        if actions.dtype.kind == "f":
            actions = actions.astype(np.float32)
        if self._rescaling is not None:
            actions = self._rescaling(actions)
        return actions, (memory, np.zeros_like(starts))

    def _precision(self) -> Any:
        if not self.double:
            return nullcontext()
        from pkubench.agents.adapters.double import Widening

        return Widening()
