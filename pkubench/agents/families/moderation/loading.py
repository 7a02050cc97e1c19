"""Loads saved moderators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from pkubench.agents.components import changed
from pkubench.agents.contract import Agent, BoolArray, IntArray
from pkubench.agents.families.moderation.models.base import Reader, Saved
from pkubench.agents.families.moderation.presets import PRESETS, ModerationConfig, Reads
from pkubench.agents.families.moderation.training import texts_read
from pkubench.agents.nn.fast.policy import saved_floats
from pkubench.agents.nn.torch_policy import one_thread
from pkubench.agents.saved.files import SavedAgent
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.envs.core.labelled_texts import Bytes, ShowsLabelledTexts, to_texts
from pkubench.envs.core.registry import make_batch
from pkubench.errors import AgentError, ConfigError, UnknownName, WeightsError

if TYPE_CHECKING:
    from pkubench.tasks.task import Task


class Moderator:
    """Gives each label of a pair a probability, in double precision on one thread."""

    def __init__(self, reader: Reader, network: torch.nn.Module, reads: Reads) -> None:
        """Take over ``network`` and widen it to double precision."""
        self.reader, self.reads = reader, reads
        self.network = network.double().eval()

    def begin(self, seeds: IntArray) -> None:
        """Return None: no state, and no randomness."""

    def act(
        self, observation: Bytes, state: None, active: BoolArray
    ) -> tuple[npt.NDArray[np.float32], None]:
        """Return probabilities (episodes, labels), rounded to single precision."""
        prompts, responses = to_texts(observation)
        arrays = self.reader(texts_read(prompts, responses, self.reads))
        with one_thread(), torch.no_grad():
            inputs = (torch.from_numpy(a.astype(np.float64) if a.dtype.kind == "f" else a)
                      for a in arrays)  # fmt: skip
            found = torch.sigmoid(self.network(*inputs)).numpy()
        return found.astype(np.float32), None


def load(
    saved: SavedAgent, task: Task | None = None, acting: Mapping[str, Any] | None = None
) -> Agent:
    """Return the moderator that a folder holds.

    Args:
        saved: what ``load_saved`` read.
        task: the task to act in; None is the one it was trained on.
        acting: nothing.

    Raises:
        ConfigError: there is a setting of acting.
        WeightsError: the weights do not fit their own description.
        AgentError: the task has other labels, or the language model that it reads with is missing.
    """
    if acting:
        raise ConfigError(f"a moderator has no settings of acting, got {', '.join(acting)}")
    try:
        config: ModerationConfig = changed(_ANY, saved.config["settings"])
        labels = [str(name) for name in saved.config["labels"]]
        reader = config.model.restore(Saved(dict(saved.config["reader"]), saved.files))
        network = config.model.network(reader, len(labels), torch.Generator())
        trained_on = str(saved.config["task"])
    except _INCOMPLETE as error:
        raise WeightsError(f"the saved agent is incomplete: {error}") from error
    _check_labels(labels, trained_on if task is None else task.id, task)
    shapes = network.state_dict()
    network.load_state_dict(
        {
            key: torch.from_numpy(saved_floats(saved.tensors, key, tuple(value.shape)))
            for key, value in shapes.items()
        }
    )
    return Moderator(reader, network, config.reads)


_ANY = PRESETS["tfidf-moderator"]
_INCOMPLETE = (
    ArithmeticError,
    AttributeError,
    ConfigError,
    LookupError,
    RuntimeError,
    TypeError,
    UnknownName,
    ValueError,
)


def _check_labels(labels: list[str], name: str, task: Task | None) -> None:
    env = make_batch(name, 1, **({} if task is None else task.env_kwargs))
    try:
        space = env.action_spaces[SOLE_AGENT]
        if not isinstance(space, spaces.Box) or space.shape != (len(labels),):
            raise AgentError(
                f"the moderator gives probabilities of {len(labels)} labels; the task takes {space}"
            )
        shown = env.unwrapped
        if isinstance(shown, ShowsLabelledTexts) and list(shown.labelled_texts().names) != labels:
            raise AgentError(f"the moderator's labels are others than those of {name}")
    finally:
        env.close()
