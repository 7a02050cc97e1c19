"""Success-filtered regression: try edits near the policy's, and imitate those that lifted.

PPO's trust region in 24 dimensions takes millions of episodes; here every success of the last
rounds is a target of a regression, weighted so that objects count alike and the present policy's
successes more than former ones. With a deviation of tried edits that falls, the policy moves to
where most of its own successes are.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.families.demo_edit.config import RegressionConfig
from pkubench.agents.families.demo_edit.demonstration import (
    demonstrate,
    make_scene,
    training_objects,
)
from pkubench.agents.families.demo_edit.edits import FINGERS
from pkubench.agents.families.demo_edit.episodes import EditEpisodes
from pkubench.agents.families.demo_edit.loading import NETWORK
from pkubench.agents.families.demo_edit.shapes import SIZE
from pkubench.agents.learner import Array, Context, Counters, Export, State
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.optimiser import Optimiser, adam
from pkubench.agents.rl.trained import Trained, tensors_of
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.seeding import TrainingSeeds
from pkubench.envs.grasp.open_loop import SCRIPT_SIZE
from pkubench.errors import WeightsError

_RATE_STEP = 0.05
"""Weight of an episode in an object's running share of successes."""


class Successes(NamedTuple):
    """What a round found."""

    shapes: Array
    """(k, 97) float32."""
    edits: Array
    """(k, 24) float32."""
    objects: Array
    """(k,) int64."""
    held: Array
    """(k,) bool: the object was held to the end."""


class RegressionTraining(Trained):
    """One training seed; see ``pkubench.agents.learner.Learner``."""

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Search for a demonstration, and make the network.

        Raises:
            ConfigError: the settings do not fit the task, or no demonstration was found.
        """
        config: RegressionConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config = config
        self.random = np.random.default_rng(context.seed)
        self.seeds = TrainingSeeds(context.seed, config.num_envs)
        self.spec = NetworkSpec(
            inputs=SIZE,
            hidden=config.hidden,
            outputs=SCRIPT_SIZE,
            activation="relu",
            layer_norm=False,
            init="orthogonal",
            head_gain=0.01,
        )
        self.net = MLP(self.spec, torch.Generator().manual_seed(context.seed))
        self.optimiser = Optimiser(adam(config.lr), self.net.parameters())
        self.modules, self.optimisers = {"net": self.net}, {"net": self.optimiser}
        self.memory: deque[Successes] = deque(maxlen=config.memory)
        env = make_scene(context, config.num_envs)
        try:
            self.objects = training_objects(env)
            script, steps = demonstrate(context)
            self.env = EditEpisodes(env, script, config.reach_steps)
        except BaseException:
            env.close()
            raise
        self.rates = np.zeros(len(self.objects))
        """Running shares of successes, by object."""
        self.counters = Counters(environment_steps=steps)

    def iterate(self) -> dict[str, float]:
        """Play a round of edits and imitate what lifted."""
        config, done = self.config, self.counters
        sigma = max(config.sigma_floor, config.sigma * config.sigma_decay**done.iterations)
        before = self.env.simulated
        found, figures = self._play(sigma)
        self.memory.append(found)
        loss = self._imitate()
        self.counters = done._replace(
            iterations=done.iterations + 1,
            environment_steps=done.environment_steps + self.env.simulated - before,
            episodes=done.episodes + config.num_envs,
            gradient_steps=self.optimiser.count,
        )
        figures |= {"sigma": sigma, "loss": loss, "success_by_object": float(self.rates.mean())}
        return {name: round(value, 6) for name, value in figures.items()}

    def _play(self, sigma: float) -> tuple[Successes, dict[str, float]]:
        """Try an edit in each environment; return the successes, and their shares."""
        count = self.config.num_envs
        weights = self.config.focus - self.rates
        chosen = self.random.choice(len(self.objects), count, p=weights / weights.sum())
        every = np.arange(count)
        options = {"object": self.objects[chosen]}
        shapes = self.env.reset(self.seeds.next(every), options=options)[0][SOLE_AGENT]
        with torch.no_grad():
            edits = self.net(torch.from_numpy(shapes)).tanh().numpy().astype(np.float64)
        edits += sigma * self.random.normal(size=edits.shape)
        edits = edits.clip(-1.0, 1.0).astype(np.float32)
        info = self.env.step({SOLE_AGENT: edits}).info
        lifted, held = info["success"], info["success_hold"]
        for k, success in zip(chosen.tolist(), lifted.tolist(), strict=True):
            self.rates[k] += _RATE_STEP * (success - self.rates[k])
        found = Successes(shapes[lifted], edits[lifted], chosen[lifted], held[lifted])
        return found, {"success": float(lifted.mean()), "success_hold": float(held.mean())}

    def _imitate(self) -> float:
        """Take the gradient steps of a round; return the mean loss, NaN without a success."""
        config, rounds = self.config, list(self.memory)
        shapes, edits, objects, held = (np.concatenate(of) for of in zip(*rounds, strict=True))
        if not len(shapes):
            return float("nan")
        ages = np.repeat(np.arange(len(rounds))[::-1], [len(one.shapes) for one in rounds])
        count = np.bincount(objects, minlength=len(self.objects))
        weights = config.age**ages / np.sqrt(count[objects]) * np.where(held, 1.0, config.unheld)
        columns = [
            torch.from_numpy(column.astype(np.float32))
            for column in (shapes, edits, weights / weights.mean())
        ]
        total = 0.0
        for _ in range(config.updates):
            batch = torch.from_numpy(self.random.integers(len(shapes), size=config.batch_size))
            x, wanted, weight = (column[batch] for column in columns)
            loss = (weight[:, None] * (self.net(x).tanh() - wanted).square()).mean()
            self.optimiser.step(loss)
            total += float(loss.detach())
        return total / config.updates

    def state(self) -> dict[str, Any]:
        """Return network, optimiser, successes, generators and counters."""
        return {
            **super().state(),
            "script": self.env.script,
            "memory": [dict(found._asdict()) for found in self.memory],
            "rates": self.rates.copy(),
            "episode": self.seeds.episode.copy(),
            "random": self.random.bit_generator.state,
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state.

        Raises:
            WeightsError: it is of a learner of another shape.
        """
        super().load_state(state)
        try:
            self.env.script = state["script"].copy()
            self.memory.clear()
            self.memory.extend(Successes(**found) for found in state["memory"])
            self.rates = state["rates"].copy()
            self.seeds.episode = state["episode"].astype(np.int64)
            self.random.bit_generator.state = state["random"]
            self.counters = Counters(**state["counters"])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the policy of edits and the demonstration."""
        tensors = {f"{NETWORK}.{key}": value for key, value in tensors_of(self.net).items()}
        std = np.full(SCRIPT_SIZE, self.config.sigma_floor)
        return exported(self.config, self.env, self.spec.as_config(), tensors, "tanh", std)

    def close(self) -> None:
        """Release the environments."""
        self.env.close()


def exported(
    config: Any,
    env: EditEpisodes,
    spec: dict[str, Any],
    tensors: dict[str, Array],
    head: str,
    std: Array,
) -> Export:
    """Return the saved form of a policy of edits: its network, and what it edits."""
    assert len(env.joint_span) == SCRIPT_SIZE - FINGERS.start
    about = {
        "settings": as_plain(config),
        "spec": spec,
        "head": head,
        "reach_steps": env.reach_steps,
    }
    known = {"demonstration": env.script, "joint_span": env.joint_span, "std": std}
    return Export(about, tensors | {name: of.astype(np.float32) for name, of in known.items()})
