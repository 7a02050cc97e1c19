"""Training of a moderator for a session: gradient steps on labelled pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pkubench.agents.components import as_plain
from pkubench.agents.families.moderation.networks import LinearHead
from pkubench.agents.families.moderation.presets import ModerationConfig, Reads
from pkubench.agents.learner import Context, Counters, Export, State
from pkubench.agents.rl.optimiser import Optimiser, adamw, cosine, decayed_weights, warmed_up
from pkubench.envs.core.labelled_texts import ShowsLabelledTexts
from pkubench.errors import ConfigError, WeightsError


class ModerationTraining:
    """One training seed; see ``pkubench.agents.learner.Learner``.

    The loss is the binary cross-entropy, mean over pairs and labels, as in BeaverTails'
    QA-moderation. Batches are drawn from a new generator for every ``iterate``, from the seed and
    the number of gradient steps.
    """

    is_anytime = False
    ended = ""

    def __init__(self, context: Context) -> None:
        """Read the environment's training pairs and make the network.

        Raises:
            ConfigError: the environment has no labelled pairs, or the settings do not fit.
            AgentError, MissingExtra: the encoder cannot be loaded.
        """
        config: ModerationConfig = context.settings
        torch.set_num_threads(config.threads)
        self.config, self.seed, self.total = config, context.seed, context.total
        self.device = context.device
        env = context.make_env(1)
        try:
            shown = env.unwrapped
            if not isinstance(shown, ShowsLabelledTexts):
                raise ConfigError(f"{context.task.id} shows no labelled texts")
            known = shown.labelled_texts()
        finally:
            env.close()
        texts = texts_read(known.prompts, known.responses, config.reads)
        self.reader = config.model.fit(texts, context.inputs.get("encoder"))
        self.data = known
        arrays = self.reader(texts)
        self.inputs = tuple(torch.from_numpy(array).to(self.device) for array in arrays)
        self.labels = torch.from_numpy(known.labels.astype(np.float32)).to(self.device)
        generator = torch.Generator().manual_seed(context.seed)
        self.network = config.model.network(self.reader, len(known.names), generator)
        if isinstance(self.network, LinearHead):
            self.network.standardise(self.inputs[0].cpu())
        self.network = self.network.to(self.device)
        self.optimiser = make_optimiser(self.network, config, context.total)
        self.counters = Counters()

    def iterate(self) -> dict[str, float]:
        """Take some gradient steps."""
        done = self.counters
        rng = np.random.default_rng([self.seed, done.gradient_steps])
        steps = min(self.config.updates, max(self.total - done.gradient_steps, 1))
        summed = 0.0
        for _ in range(steps):
            rows = torch.from_numpy(rng.integers(0, len(self.labels), self.config.batch_size))
            logits = self.network(*(array[rows] for array in self.inputs))
            loss = functional.binary_cross_entropy_with_logits(logits, self.labels[rows])
            self.optimiser.step(loss)
            summed += float(loss.detach())
        self.counters = done._replace(
            iterations=done.iterations + 1, gradient_steps=done.gradient_steps + steps
        )
        return {"loss": round(summed / steps, 6)}

    def state(self) -> State:
        """Return network, optimiser and counters."""
        tensors = {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}
        return {
            "network": tensors,
            "optimiser": self.optimiser.state(),
            "counters": dict(self.counters._asdict()),
        }

    def load_state(self, state: State) -> None:
        """Restore a state."""
        try:
            tensors = {name: torch.from_numpy(v.copy()) for name, v in state["network"].items()}
            self.network.load_state_dict(tensors)
            self.optimiser.load_state(state["optimiser"])
            self.counters = Counters(**state["counters"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"the state does not fit this run: {error}") from error

    def export(self) -> Export:
        """Return the moderator."""
        config = {
            "settings": as_plain(self.config),
            "reader": dict(self.reader.described()),
            "labels": list(self.data.names),
            "data_sha256": self.data.sha256,
        }
        tensors = {
            name: value.detach().cpu().numpy().copy()
            for name, value in self.network.state_dict().items()
        }
        return Export(config, tensors, self.reader.files())

    def close(self) -> None:
        """Release nothing: the environment is closed after its pairs were read."""


def texts_read(
    prompts: Sequence[str], responses: Sequence[str], reads: Reads
) -> list[tuple[str, ...]]:
    """Return the texts of each pair that a moderator sees."""
    if reads == "prompt":
        return [(prompt,) for prompt in prompts]
    if reads == "response":
        return [(response,) for response in responses]
    return list(zip(prompts, responses, strict=True))


def make_optimiser(network: nn.Module, config: ModerationConfig, total: int) -> Optimiser:
    """Return AdamW with a warm-up and a cosine; biases and norms do not decay."""
    rise, fall = warmed_up(config.warmup_steps), cosine(total)

    return Optimiser(
        adamw(config.lr, config.weight_decay),
        decayed_weights(network),
        schedule=lambda step: rise(step) * fall(step),
        max_grad_norm=1.0,
    )
