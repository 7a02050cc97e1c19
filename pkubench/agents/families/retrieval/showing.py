"""What a saved agent retrieves in a state, for films. Acting does not read the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pkubench.agents.components import changed
from pkubench.agents.contract import FloatArray, IntArray
from pkubench.agents.families.retrieval.acting import ActingNetwork
from pkubench.agents.families.retrieval.networks import WIDTH, Groups, TaskLayer
from pkubench.agents.families.retrieval.reading import attention, kernel_weights
from pkubench.agents.families.retrieval.retrievers import (
    AttentionRetriever,
    KernelRetriever,
    NoRetriever,
    Retriever,
)
from pkubench.agents.families.retrieval.setup import missions_of
from pkubench.agents.families.retrieval.slots import Slots
from pkubench.agents.nn.fast.policy import NetworkPolicy, saved_floats
from pkubench.agents.nn.torch_policy import RecurrentPolicy, one_thread
from pkubench.agents.saved.files import EXTRA, SavedAgent, load_extra
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError, UnknownName, WeightsError
from pkubench.retrieval.picture import cards

Array = npt.NDArray[Any]
MEMORY = "remembered"
"""Names the file of what a training remembered at its end, and its entry in the config."""
PLACES = 4
"""States that a film shows, those of the largest weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    retrieval: Retriever = NoRetriever()  # noqa: RUF009 - frozen


def names_of(env: BatchEnv) -> list[str]:
    """Return a short name of each task: its level, or what is asked."""
    names = getattr(env.unwrapped, "levels", None) or missions_of(env)
    return [str(name).removesuffix("-v0") for name in names]


def described(slots: Slots, env: BatchEnv) -> dict[str, Any]:
    """Return what the config says of a memory: how it is read, and names of the tasks."""
    read = slots.settings
    return {"settings": {"retrieval": read.name, **asdict(read)}, "names": names_of(env)}


def remembered(slots: Slots, layer: TaskLayer | None) -> dict[str, Array]:
    """Return a memory as tensors: the slots that are filled, with values as they are read.

    ``layer`` is the projection of queries and keys, for attention.
    """
    at, read = np.flatnonzero(slots.filled), slots.settings
    arrays = {"images": slots.images[at], "values": slots.shown[at], "tasks": slots.tasks[at]}
    if isinstance(read, AttentionRetriever):
        assert layer is not None
        arrays |= {"weight": layer.weight.cpu().numpy(), "bias": layer.bias.cpu().numpy()}
        if read.keys == "random":
            arrays["keys"] = slots.keys[at]
    return arrays


def recall_of(saved: SavedAgent, network: ActingNetwork) -> Recall | None:
    """Return the memory that was saved beside an agent; None where there is none.

    Bundles and shipped weights do not have it.

    Raises:
        WeightsError: it is not what was saved, or is not of this network.
    """
    file = f"{MEMORY}.safetensors"
    if saved.folder is None or file not in saved.config.get(EXTRA, {}):
        return None
    if not (saved.folder / file).is_file():
        return None
    return Recall(network, saved.config.get(MEMORY, {}), load_extra(saved.folder, MEMORY))


class Found(NamedTuple):
    """What a state retrieves."""

    slots: IntArray
    """Those of the largest weights, at most ``PLACES``, the largest first; none where nothing can
    be read."""
    weights: FloatArray
    """Of these slots; the first is the confidence lambda."""
    value: float
    """V_mem, of all slots."""


class Recall:
    """Looks up what a saved agent remembers."""

    def __init__(
        self, network: ActingNetwork, facts: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> None:
        """Take over a memory that was saved with the weights of ``network``.

        Args:
            network: the agent's.
            facts: see :func:`described`.
            arrays: see :func:`remembered`.

        Raises:
            WeightsError: they do not fit each other.
        """
        self.network, count = network, network.net.spec.tasks
        try:
            self.retriever = changed(_Slot(), facts["settings"]).retrieval
            self.names = [str(name) for name in facts["names"]]
            self.images, tasks = arrays["images"], arrays["tasks"]
            is_whole = (
                self.images.shape == (len(tasks), 7, 7, 3)
                and self.images.dtype == np.uint8
                and (tasks.ndim, tasks.dtype.kind, len(self.names)) == (1, "i", count)
                and bool(((tasks >= 0) & (tasks < count)).all())
            )
        except (AttributeError, ConfigError, LookupError, TypeError, UnknownName) as error:
            raise WeightsError(f"the saved memory is incomplete: {error}") from error
        if not is_whole or not isinstance(self.retriever, AttentionRetriever | KernelRetriever):
            raise WeightsError("the saved memory is not of this agent")
        self.tasks: IntArray = tasks.astype(np.int64)
        self.values = saved_floats(arrays, "values", (len(tasks),))
        self.layer: TaskLayer | None = None
        self.keys: torch.Tensor | None = None
        if isinstance(self.retriever, AttentionRetriever):
            weight = saved_floats(arrays, "weight", (count, WIDTH, WIDTH))
            bias = saved_floats(arrays, "bias", (count, WIDTH))
            self.layer = TaskLayer(*(torch.from_numpy(of).double() for of in (weight, bias)))
            if self.retriever.keys == "random":
                keys = saved_floats(arrays, "keys", (len(tasks), WIDTH))
                self.keys = torch.from_numpy(keys).double()

    def look_up(self, x: FloatArray) -> Found:
        """Return what one observation (1, inputs) retrieves."""
        if not len(self.tasks):
            return Found(np.zeros(0, np.int64), np.zeros(0), 0.0)
        with one_thread(), torch.no_grad():
            features, task = self.network.features(x)
            stored = self.network.net.encoder(torch.from_numpy(self.images).double())
            if isinstance(self.retriever, KernelRetriever):
                allowed = torch.from_numpy(self.tasks == task)[None]
                weights, slots = kernel_weights(features, stored, self.retriever, allowed)
            else:
                assert isinstance(self.retriever, AttentionRetriever) and self.layer is not None
                count, keys = self.network.net.spec.tasks, self.keys
                if keys is None:
                    keys = self.layer(stored, Groups.of(self.tasks, count))
                query = self.layer(features, Groups.of(task, count))
                every, _ = attention(query, keys, self.retriever)
                weights, slots = torch.sort(every, dim=1, descending=True, stable=True)
            value = float(weights[0].numpy() @ self.values[slots[0].numpy()])
            shown = weights[0, :PLACES] > 0
            return Found(
                slots[0, :PLACES][shown].numpy(), weights[0, :PLACES][shown].numpy(), value
            )

    def picture(self, x: FloatArray) -> npt.NDArray[np.uint8]:
        """Draw what one observation (1, inputs) retrieves; pictures have one size."""
        slots, weights, value = self.look_up(x)
        names = [self.names[task] for task in self.tasks[slots].tolist()]
        caption = ""
        if len(slots):
            caption = f"read: {value:.2f} with confidence {100 * weights[0]:.0f} %"
        return cards(
            self.images[slots],
            self.values[slots],
            names,
            weights,
            places=PLACES,
            caption=caption,
        )


class ShowingPolicy(NetworkPolicy):
    """An Agent that shows in films what it retrieves."""

    recall: Recall

    def beside(self, observation: Any, state: Any) -> npt.NDArray[np.uint8]:
        """Draw what an observation retrieves; see ``contract.Illustrator``."""
        return self.recall.picture(self.inputs_of(observation))


class ShowingRecurrentPolicy(RecurrentPolicy):
    """The same with a memory within the episode."""

    recall: Recall

    def beside(self, observation: Any, state: Any) -> npt.NDArray[np.uint8]:
        """Draw what an observation retrieves; see ``contract.Illustrator``."""
        return self.recall.picture(self.policy.inputs_of(observation))
