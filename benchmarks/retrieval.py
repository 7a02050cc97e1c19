"""The retrieval agent's update against a loop over samples, and the cost of training it.

``python -m benchmarks.retrieval`` prints two Markdown tables, and exits with 1 if a bar is missed.
*Update*: one minibatch of 256 and 50 slots, with clipping of the gradient and Adam's step, in
float32 on one thread, at least 25 times as fast as the same loss with a hypernetwork that is called
for each sample and slot, as in the released code but without its anomaly detection. Both take
turns, and the fastest of each counts. *Training*: a piece of a training on MiniGridMT7, from which
the processor time of 560,000 steps (80,000 a task) follows: at most 150 seconds. The loop computes
what the tests hold the agents to.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pkubench.agents.families.retrieval.networks import LARGEST, Hypernetwork, MultitaskNet
from pkubench.agents.families.retrieval.presets import make_learner
from pkubench.agents.families.retrieval.training import RetrievalTraining
from pkubench.agents.learner import Context
from pkubench.agents.registry import preset
from pkubench.envs.core.batch import SOLE_AGENT
from pkubench.tasks.registry import make_task

UPDATE_BAR, SECONDS_BAR, STEPS = 25.0, 150.0, 560_000
AGENT, TASK, SEED = "retrieval-hypernetwork", "MiniGridMT7-v0", 1000


class Samples(NamedTuple):
    """A minibatch (B, ...) and the slots (S, ...) as the paper has them."""

    images: Tensor
    tasks: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor
    slot_images: Tensor
    slot_values: Tensor
    slot_tasks: Tensor


class Rules(NamedTuple):
    """What profiles differ in, and the weights of the loss."""

    normalise: bool
    scale: float
    gradient: str
    floor: float = 0.1
    clip: float = 0.2
    entropy: float = 0.01
    value_weight: float = 0.5


def convolved(net: MultitaskNet, images: Tensor, normalise: bool) -> Tensor:
    """Return the encoder's features by torch's convolutions."""
    first, second, third = net.policy.encoder.layers
    x = images.permute(0, 3, 1, 2).to(first.weight.dtype)
    if normalise:
        x = x / torch.tensor(LARGEST, dtype=x.dtype)[:, None, None]
    x = functional.max_pool2d(functional.relu(first(x)), 2)
    return functional.relu(third(functional.relu(second(x)))).flatten(1)


def generated(hyper: Hypernetwork, task: int, role: int) -> tuple[Tensor, Tensor]:
    """Call the hypernetwork for one sample: weights (64, 64) and biases (64,)."""
    which = torch.zeros(len(hyper.missions) + 1, dtype=hyper.missions.dtype)
    which[task], which[-1] = 1.0, float(role)
    z = torch.cat([hyper.text(hyper.missions[task]), hyper.role(which)])
    return hyper.weight(z).view(64, 64), hyper.bias(z)


def per_sample_loss(net: MultitaskNet, given: Samples, rules: Rules) -> Tensor:
    """Return the paper's loss, sample by sample."""
    hyper: Any = net.hypernetwork
    seen = convolved(net, given.images, rules.normalise)
    stored = convolved(net, given.slot_images, rules.normalise)
    keys = []
    for e, task in zip(stored, given.slot_tasks.tolist(), strict=True):
        weight, bias = generated(hyper, task, 1)
        keys.append(e @ weight + bias)
    losses = []
    for b, (e, task) in enumerate(zip(seen, given.tasks.tolist(), strict=True)):
        weight, bias = generated(hyper, task, 0)
        h = e @ weight + bias
        log_p = net.policy.actor.net(h).log_softmax(-1)
        value = net.critic.net(h)[0]
        weight, bias = generated(hyper, task, 1)
        query = e @ weight + bias
        attention = torch.stack([rules.scale * (query @ key) for key in keys]).softmax(0)
        remembered = (attention * given.slot_values).sum()
        confidence = attention.max()
        if rules.gradient != "all":
            confidence = confidence.detach()
        if confidence < rules.floor:
            confidence = torch.full_like(confidence, rules.floor)
        old, target = given.values[b], given.returns[b]
        plain = (1 - confidence) * (value - target) ** 2 + confidence * (value - remembered) ** 2
        clipped = old + (value - old).clamp(-rules.clip, rules.clip)
        ratio = (log_p[given.actions[b]] - given.log_probs[b]).exp()
        gain = given.advantages[b]
        surrogate = torch.min(ratio * gain, ratio.clamp(1 - rules.clip, 1 + rules.clip) * gain)
        entropy = -(log_p.exp() * log_p).sum()
        value_loss = torch.max(plain, (clipped - target) ** 2)
        losses.append(-surrogate - rules.entropy * entropy + rules.value_weight * value_loss)
    return torch.stack(losses).mean()


def learner(agent: str = AGENT) -> RetrievalTraining:
    """Return an agent's training on MiniGridMT7."""
    task = make_task(TASK)
    settings = preset(agent).config(task)
    made: Any = make_learner(
        Context(agent=agent, task=task, settings=settings, seed=SEED, total=STEPS)
    )
    return made  # type: ignore[no-any-return]


def update_seconds(rounds: int) -> tuple[float, float]:
    """Return the processor seconds of an update by the loop and by the agent."""
    made = learner()
    made.iterate()
    data = made.collect()
    batch = made.prepare(data)
    assert made.slots is not None
    contents = made.slots.contents(made.net.policy.encoder)
    assert contents is not None
    images = torch.from_numpy(data.observations[SOLE_AGENT][..., :3].reshape(-1, 7, 7, 3).copy())
    slot_images = torch.from_numpy(made.slots.images[made.slots.filled])
    rules = Rules(normalise=True, scale=1 / 8, gradient="weights")
    loop = agent = float("inf")
    for rows in list(made._minibatches(data))[:rounds]:
        given = Samples(
            images[rows],
            *(of[rows] for of in batch[1:7]),
            slot_images,
            contents.values,
            contents.tasks,
        )
        start = time.process_time()
        made.optimiser.step(per_sample_loss(made.net, given, rules))
        loop = min(loop, time.process_time() - start)
        for _ in range(10):
            start = time.process_time()
            made.optimiser.step(made.objective(batch, rows, contents, data)[0])
            agent = min(agent, time.process_time() - start)
    made.close()
    return loop, agent


def training_seconds(steps: int) -> float:
    """Return the processor seconds of 560,000 steps, from a piece of at least ``steps``."""
    made = learner()
    made.iterate()
    begun, start = made.counters.environment_steps, time.process_time()
    while made.counters.environment_steps < begun + steps:
        made.iterate()
    seconds = time.process_time() - start
    piece = made.counters.environment_steps - begun
    made.close()
    return seconds * STEPS / piece


def main() -> int:
    """Measure, print the tables, and compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=40_000, help="of the piece of a training")
    options = parser.parse_args()
    loop, agent = update_seconds(options.rounds)
    seconds = training_seconds(options.steps)
    print("| an update of 256 | loop, ms | agent, ms | ratio | bar |")
    print("|------|------:|------:|------:|------:|")
    ratio = loop / agent
    print(f"| {AGENT} | {1000 * loop:.1f} | {1000 * agent:.2f} | {ratio:.1f} | {UPDATE_BAR:g} |")
    print(f"\n| processor seconds of {STEPS:,} steps | bar |")
    print("|------:|------:|")
    print(f"| {seconds:.0f} | {SECONDS_BAR:g} |")
    missed = ["update"] if ratio < UPDATE_BAR else []
    missed += ["training"] if seconds > SECONDS_BAR else []
    print(f"\nMISSED: {', '.join(missed)}" if missed else "\nmet: both bars")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
