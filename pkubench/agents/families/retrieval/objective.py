"""The loss of a minibatch: PPO's, with a critic that the memory corrects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pkubench.agents.families.retrieval.config import RetrievalConfig
from pkubench.agents.families.retrieval.losses import (
    corrected_value_loss,
    memory_weight,
    policy_loss,
)
from pkubench.agents.families.retrieval.networks import Groups, Layers, MultitaskNet
from pkubench.agents.families.retrieval.reading import Optima, Read, attend, best, nearest
from pkubench.agents.families.retrieval.retrievers import (
    AttentionRetriever,
    KernelRetriever,
    OracleRetriever,
    SlotRetriever,
)
from pkubench.agents.families.retrieval.slots import Contents
from pkubench.agents.nn.distributions import Categorical
from pkubench.agents.rl.rollout import Rollout
from pkubench.envs.core.batch import SOLE_AGENT


class Batch(NamedTuple):
    """The data of an update, steps flattened: M = T N of them; tensors on the device."""

    patches: Tensor
    """(M, 4, 9, 12) of views, see ``GridEncoder``."""
    tasks: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor
    episodes: Tensor
    optima: Optima | None = None
    """Of the states; None where the retriever does not know them."""

    def select(self, rows: Tensor) -> Batch:
        """Return some rows."""
        optima = None
        if self.optima is not None:
            optima = Optima(*(of.index_select(0, rows) for of in self.optima))
        return Batch._make([*(of.index_select(0, rows) for of in self[:-1]), optima])


class Objective:
    """From rows of an update's data to the loss that Adam descends."""

    def __init__(self, config: RetrievalConfig, net: MultitaskNet) -> None:
        """Make the objective of a network."""
        self.config, self.net = config, net

    def __call__(
        self, batch: Batch, rows: Tensor, contents: Contents | None, data: Rollout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of some rows and its parts.

        The hypernetwork is called once; views of the rows and of the slots are encoded together.
        """
        config, net = self.config, self.net
        layers = net.generate(decision_only=contents is None)
        some = batch.select(rows)
        if contents is None:
            features = net.policy.encoder.encode(some.patches)
            stored = features[:0]
        else:
            both = net.policy.encoder.encode(torch.cat([some.patches, contents.patches]))
            features, stored = both.split_with_sizes([len(rows), len(contents.patches)])
        h = self._remembered(features, rows, data) if net.policy.units else features
        groups = Groups.of(some.tasks.cpu().numpy(), net.policy.spec.tasks, rows.device)
        logits, values = net.evaluate(h, some.tasks, groups, layers.decision)
        read = None
        if contents is not None:
            read = self._read(features, stored, groups, some, contents, layers)
        chosen = Categorical.from_logits(logits)
        log_probs = chosen.log_prob(some.actions)
        gain = policy_loss(log_probs, some.log_probs, some.advantages, config.clip)
        entropy = chosen.entropy().mean()
        floor = config.retrieval.floor if isinstance(config.retrieval, SlotRetriever) else 0.0
        value = corrected_value_loss(
            values, some.values, some.returns, read, clip=config.clip, floor=floor
        )
        with torch.no_grad():
            parts = {"policy_loss": gain, "entropy": entropy, "value_loss": value}
            if read is not None:
                parts["memory_weight"] = memory_weight(read, floor).mean()
                parts["memory_error"] = (read.value - some.returns).square().mean()
        return gain - config.entropy * entropy + config.value_weight * value, parts

    def _read(
        self,
        features: Tensor,
        stored: Tensor,
        groups: Groups,
        some: Batch,
        contents: Contents,
        layers: Layers,
    ) -> Read:
        """Read the memory for samples ``some``, of ``features`` and grouped."""
        retriever = self.config.retrieval
        assert isinstance(retriever, SlotRetriever)
        values = contents.values.to(features.dtype)
        if isinstance(retriever, OracleRetriever):
            assert some.optima is not None
            return best(some.optima, contents.optima, values)
        allowed = None
        if retriever.exclude_episode:
            allowed = contents.episodes != some.episodes[:, None]
        if isinstance(retriever, KernelRetriever):
            same = contents.tasks == some.tasks[:, None]
            allowed = same if allowed is None else same & allowed
            return nearest(features, stored, values, retriever, allowed)
        assert isinstance(retriever, AttentionRetriever) and layers.retrieval is not None
        queries = layers.retrieval(features, groups)
        if retriever.keys == "random":
            keys = contents.keys.to(features.dtype)
        else:
            keys = layers.retrieval(stored, contents.groups)
        return attend(queries, keys, values, retriever, allowed)

    def _remembered(self, features: Tensor, rows: Tensor, data: Rollout) -> Tensor:
        """Return the memory's outputs for rows of whole environments, time first."""
        steps, envs = data.first.shape
        some = rows[: len(rows) // steps].cpu() % envs
        hidden = torch.from_numpy(data.hidden[SOLE_AGENT])[some].to(features.device)
        first = torch.from_numpy(data.first)[:, some].to(features.device)
        outputs, _ = self.net.policy.remember(features.view(steps, len(some), -1), first, hidden)
        return outputs.flatten(0, 1)
