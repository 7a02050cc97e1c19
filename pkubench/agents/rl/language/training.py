"""Training in a language for a session: updates of a method, and the model it exports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pkubench.agents.components import as_plain
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.nn.torch_policy import read_module
from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.language.config import LanguageConfig
from pkubench.agents.rl.language.learners.base import Draws, MethodLearner, Setup
from pkubench.agents.rl.language.models import (
    Headed,
    HeadSpec,
    LanguageModel,
    OwnSpec,
    ScoreModel,
    TrunkSpec,
    spec_of,
)
from pkubench.agents.rl.malloc import keep_freed_memory
from pkubench.agents.rl.trained import tensors_of
from pkubench.agents.saved.files import SavedAgent, load_saved
from pkubench.envs.core.language import Language
from pkubench.errors import ConfigError, WeightsError

ROLES: dict[str, type[Headed]] = {"policy": LanguageModel, "score": ScoreModel}
_TORCH_STREAM = 0x6C616E67
"""Keeps the seeds of torch's generators apart from NumPy's."""


class LanguageTraining:
    """One training seed in a language; see ``pkubench.agents.learner.Learner``.

    Every ``iterate`` draws from new generators, from the seed and the number of iterations.
    """

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Read the inputs and make the models.

        Raises:
            ConfigError: the task has no language; the method needs an input that is not given; or
                both a reference and a model to make one from are given.
            WeightsError: an input is not a model of this language.
            MissingExtra: the transformers library is needed and not installed.
        """
        config: LanguageConfig = context.settings
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config, self.seed = config, context.seed
        self.language = language_of(context)
        inputs = context.inputs
        if {"model", "reference"} <= set(inputs):
            raise ConfigError("give the input 'model' or 'reference', not both: each is the start")
        reference: Any = self._read(inputs, "reference", "policy", context.device)
        reward: Any = self._read(inputs, "reward", "score", context.device)
        cost: Any = self._read(inputs, "cost", "score", context.device)
        if "model" in inputs:
            from pkubench.agents.rl.language.transformers_models import read_folder

            reference = read_folder(Path(inputs["model"]), self.language).to(context.device)
        setup = Setup(
            language=self.language,
            config=config,
            trunk=self._own_trunk() if reference is None else reference.spec.trunk,
            seed=context.seed,
            total=context.total,
            device=context.device,
            reference=reference,
            reward=reward,
            cost=cost,
        )
        self.learner: MethodLearner = config.method.start(setup)
        self.counters = Counters()

    def _own_trunk(self) -> TrunkSpec:
        config, language = self.config, self.language
        return OwnSpec(
            tokens=len(language.tokens),
            context=language.prompts.shape[1] + language.length,
            transformer=TransformerSpec(
                width=config.width,
                layers=config.layers,
                heads=config.heads,
                activation="gelu",
                dropout=0.0,
            ),
        )

    def _read(self, inputs: Mapping[str, Any], name: str, role: str, device: str) -> Headed | None:
        if name not in inputs:
            return None
        model: Headed = read_model(load_saved(Path(inputs[name])), self.language, role)
        return model.to(device)

    def iterate(self) -> dict[str, float]:
        """Do one update of the method."""
        done = self.counters
        key = [self.seed, done.iterations]
        generator = torch.Generator(self.learner.setup.device)
        generator.manual_seed(int(np.random.default_rng([*key, _TORCH_STREAM]).integers(0, 2**62)))
        figures = self.learner.update(Draws(np.random.default_rng(key), generator))
        steps = sum(made.count for made in self.learner.optimisers.values())
        self.counters = done._replace(
            iterations=done.iterations + 1,
            episodes=done.episodes + self.config.batch_size,
            gradient_steps=steps,
            tokens=done.tokens + self.learner.tokens_per_update,
        )
        return {name: round(value, 6) for name, value in figures.items()}

    def state(self) -> State:
        """Return models, optimisers and counters."""
        return {"learner": self.learner.state(), "counters": dict(self.counters._asdict())}

    def load_state(self, state: State) -> None:
        """Restore a state."""
        self.learner.load_state(state["learner"])
        try:
            self.counters = Counters(**state["counters"])
        except TypeError as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the model."""
        net = self.learner.modules["net"]
        role = "policy" if isinstance(net, LanguageModel) else "score"
        described = {
            "role": role,
            "trunk": net.spec.trunk.as_config(),
            "tokens": list(self.language.tokens),
        }
        config = {"settings": as_plain(self.config), "model": described}
        return Export(config, {f"net.{name}": value for name, value in tensors_of(net).items()})

    def close(self) -> None:
        """Hold nothing."""


def language_of(context: Context) -> Language:
    """Return the language of a task's environment.

    Raises:
        ConfigError: it has none.
    """
    env = context.make_env(1)
    try:
        found = getattr(env.unwrapped, "language", None)
    finally:
        env.close()
    if not isinstance(found, Language):
        raise ConfigError(f"{context.task.id} has no language to train a model of")
    return found


def read_model(saved: SavedAgent, language: Language, role: str) -> Any:
    """Return the model that a run folder holds.

    Args:
        saved: what ``load_saved`` read.
        language: the language that it must be of.
        role: ``policy`` or ``score``.

    Raises:
        WeightsError: it is another kind of model, of another language, or damaged.
    """
    described = saved.config.get("model")
    if not isinstance(described, dict) or described.get("role") not in ROLES:
        raise WeightsError("config.json describes no language model")
    if described["role"] != role:
        wanted = {"policy": "a language model", "score": "a reward or cost model"}
        raise WeightsError(f"this is {wanted[described['role']]}; wanted is {wanted[role]}")
    if described.get("tokens") != list(language.tokens):
        raise WeightsError("the model is of another language: its tokens differ")
    spec = HeadSpec(spec_of(described.get("trunk")), language.words if role == "policy" else 1)
    return read_module(ROLES[role], spec, saved.tensors)
