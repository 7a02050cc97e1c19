"""What a saved agent retrieves in a state, for films. Acting does not read the memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
from pkubench.envs.core.batch import BatchEnv
from pkubench.errors import ConfigError, DataError, UnknownName, WeightsError
from pkubench.retrieval.bank import packed, read_arrays
from pkubench.retrieval.picture import cards

MEMORY = "memory.npz"
"""File of a saved agent that has what its training remembered at the end."""
PLACES = 4
"""States that a film shows, those of the largest weights."""
_FORMAT, _VERSION = "pkubench agent memory", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    retrieval: Retriever = NoRetriever()  # noqa: RUF009 - frozen


def names_of(env: BatchEnv) -> list[str]:
    """Return a short name of each task: its level, or what is asked."""
    names = getattr(env.unwrapped, "levels", None) or missions_of(env)
    return [str(name).removesuffix("-v0") for name in names]


def packed_memory(slots: Slots, layer: TaskLayer | None, names: Sequence[str]) -> bytes:
    """Return the file of a memory: the same bytes for the same content.

    Args:
        slots: those that are filled are written, with values as they are read.
        layer: the projection of queries and keys, for attention.
        names: of the tasks.
    """
    at, read = np.flatnonzero(slots.filled), slots.settings
    arrays = {"images": slots.images[at], "values": slots.shown[at], "tasks": slots.tasks[at]}
    if isinstance(read, AttentionRetriever):
        assert layer is not None
        arrays |= {"weight": layer.weight.cpu().numpy(), "bias": layer.bias.cpu().numpy()}
        if read.keys == "random":
            arrays["keys"] = slots.keys[at]
    facts = {"retrieval": read.name, **asdict(read)}
    return packed(
        arrays,
        {"format": _FORMAT, "version": _VERSION, "names": list(names), "settings": facts},
    )


class Recall:
    """Looks up what a saved agent remembers."""

    def __init__(self, network: ActingNetwork, data: bytes) -> None:
        """Read a memory that was saved with the weights of ``network``.

        Raises:
            WeightsError: it is damaged, or is not of this network.
        """
        self.network, count = network, network.net.spec.tasks
        try:
            facts, arrays = read_arrays(io.BytesIO(data), _FORMAT, _VERSION)
            self.retriever = changed(_Slot(), facts["settings"]).retrieval
            self.names = [str(name) for name in facts["names"]]
            self.images, tasks = arrays["images"], arrays["tasks"]
            is_whole = (
                self.images.shape == (len(tasks), 7, 7, 3)
                and self.images.dtype == np.uint8
                and (tasks.ndim, tasks.dtype.kind, len(self.names)) == (1, "i", count)
                and bool(((tasks >= 0) & (tasks < count)).all())
            )
        except (DataError, ConfigError, UnknownName, LookupError, TypeError) as error:
            raise WeightsError(f"{MEMORY} is damaged: {error}") from error
        if not is_whole or not isinstance(self.retriever, AttentionRetriever | KernelRetriever):
            raise WeightsError(f"{MEMORY} is damaged, or of another agent")
        self.tasks: IntArray = tasks.astype(np.int64)
        self.values = saved_floats(arrays, "values", (len(tasks),))
        self.layer, self.keys = None, None
        if isinstance(self.retriever, AttentionRetriever):
            weight = saved_floats(arrays, "weight", (count, WIDTH, WIDTH))
            bias = saved_floats(arrays, "bias", (count, WIDTH))
            self.layer = TaskLayer(*(torch.from_numpy(of).double() for of in (weight, bias)))
            if self.retriever.keys == "random":
                keys = saved_floats(arrays, "keys", (len(tasks), WIDTH))
                self.keys = torch.from_numpy(keys).double()

    def look_up(self, x: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the slots of the largest weights for one observation (1, inputs), and the weights.

        There are at most ``PLACES``, the largest first; none where nothing can be read.
        """
        if not len(self.tasks):
            return np.zeros(0, np.int64), np.zeros(0)
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
            shown = weights[0, :PLACES] > 0
            return slots[0, :PLACES][shown].numpy(), weights[0, :PLACES][shown].numpy()

    def picture(self, x: FloatArray) -> npt.NDArray[np.uint8]:
        """Draw what one observation (1, inputs) retrieves; pictures have one size."""
        slots, weights = self.look_up(x)
        names = [self.names[task] for task in self.tasks[slots].tolist()]
        return cards(self.images[slots], self.values[slots], names, weights, places=PLACES)


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
