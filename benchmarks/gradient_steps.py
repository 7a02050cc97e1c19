"""Microseconds per optimiser step: our trainers compared with autograd and torch's fused Adam.

``python -m benchmarks.gradient_steps`` prints a Markdown table for PPO-Lag's networks on PointGoal1
(60 inputs, 64-64 tanh, two actions, one critic of reward and one of cost). Both sides use the same
minibatches from the same memory, in turns, on one thread; the best of many short measurements
counts, so that other load on the machine matters little. Under a minute.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from pkubench.agents.nn.actor import Actor
from pkubench.agents.nn.fast.loss_gradients import FastTerms
from pkubench.agents.nn.fast.trainers import FastActorTrainer, FastCriticTrainer
from pkubench.agents.nn.networks import MLP, NetworkSpec
from pkubench.agents.rl.constraints.none import NoConstraint
from pkubench.agents.rl.objective import Objective
from pkubench.agents.rl.trainers import Minibatches, Part
from pkubench.agents.rl.update_rules.base import CostTerms
from pkubench.agents.rl.update_rules.ppo_clip import PPOClip, ppo_clip
from pkubench.agents.rl.value_loss import value_loss

INPUTS, ACTIONS, CLIP, L2, MAX_NORM, LR = 60, 2, 0.2, 0.001, 40.0, 3e-4
SAMPLES = 20_000
BATCH, PASSES = 64, 40
OBJECTIVE = Objective(PPOClip(clip=CLIP, entropy=0.0), NoConstraint(), CostTerms())
STEPS = PASSES * (SAMPLES // BATCH)
"""Optimiser steps of an official update, of the actor and of each critic."""


def _spec(outputs: int) -> NetworkSpec:
    return NetworkSpec(
        inputs=INPUTS,
        hidden=(64, 64),
        outputs=outputs,
        activation="tanh",
        layer_norm=False,
        init="kaiming",
        head_gain=1.0,
    )


def _networks() -> tuple[Actor, list[MLP]]:
    generator = torch.Generator().manual_seed(0)
    space = spaces.Box(-1.0, 1.0, (ACTIONS,))
    actor = Actor(_spec(ACTIONS), space, "log", 0.0, generator)
    return actor, [MLP(_spec(1), generator) for _ in range(2)]


def best_us(step: Callable[[], object], spells: int) -> float:
    """Return the microseconds per call, the best of ``spells`` of half a millisecond or so."""
    step()
    started = time.perf_counter()
    step()
    calls = max(1, int(5e-4 / (time.perf_counter() - started)))
    best = float("inf")
    for _ in range(spells):
        started = time.perf_counter()
        for _ in range(calls):
            step()
        best = min(best, (time.perf_counter() - started) / calls)
    return best * 1e6


def _samples() -> tuple[np.ndarray, dict[str, np.ndarray | None]]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:  # type: ignore[type-arg]
        return rng.standard_normal(shape).astype(np.float32)

    actions = draw(ACTIONS, SAMPLES)
    samples: dict[str, np.ndarray | None] = {  # type: ignore[type-arg]
        "actions": actions,
        "log_probs": -0.5 * (actions**2).sum(0) - np.float32(ACTIONS * 0.9189385),
        "weights": draw(SAMPLES),
        "old": draw(2, SAMPLES),
        "targets": draw(2, SAMPLES),
    }
    return draw(SAMPLES, INPUTS), samples


def hand(batch: int) -> dict[str, Callable[[], object]]:
    """Return a step of the actor and one of both critics, by the trainers."""
    actor, nets = _networks()
    settings = {"lr": LR, "epsilon": 1e-8, "max_grad_norm": MAX_NORM}
    mine = FastActorTrainer(actor, **settings)
    critics = FastCriticTrainer(nets, **settings, l2=L2)
    inputs, samples = _samples()
    generator = torch.Generator().manual_seed(0)
    source = Minibatches(mine.networks.prepare(inputs), samples, SAMPLES // batch, generator)

    def parts():  # type: ignore[no-untyped-def]
        while True:
            yield from source.one_pass()

    stream = parts()

    def step_actor() -> None:
        _step_actor(mine, next(stream))

    def step_critics() -> None:
        x, some = next(stream)
        critics.descend(x, some["old"], some["targets"])

    return {"actor": step_actor, "two critics": step_critics}


def autograd(batch: int) -> dict[str, Callable[[], object]]:
    """Return the same steps by autograd and torch's fused Adam, with one gather per minibatch."""
    actor, nets = _networks()
    adams = {id(m): torch.optim.Adam(m.parameters(), lr=LR, fused=True) for m in [actor, *nets]}
    inputs, samples = _samples()
    x = torch.from_numpy(inputs)
    data = {k: torch.from_numpy(np.ascontiguousarray(v.T)) for k, v in samples.items()}  # type: ignore[union-attr]

    def indices():  # type: ignore[no-untyped-def]
        while True:
            yield from torch.tensor_split(torch.randperm(SAMPLES), SAMPLES // batch)

    stream = indices()

    def descend(module: nn.Module, loss: Tensor) -> None:
        adam = adams[id(module)]
        adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), MAX_NORM)
        adam.step()

    def step_actor() -> None:
        index = next(stream)
        pi = actor(x[index])
        ratio = (pi.log_prob(data["actions"][index]) - data["log_probs"][index]).exp()
        weights = data["weights"][index]
        descend(actor, ppo_clip(ratio, weights, torch.ones_like(weights), CLIP))

    def step_critics() -> None:
        for k, net in enumerate(nets):
            index = next(stream)
            old, target = data["old"][index, k], data["targets"][index, k]
            value = net(x[index]).squeeze(-1)
            loss = value_loss(value, old, target, clip=None, huber_delta=None)
            squares = torch.stack([p.pow(2).sum() for p in net.parameters()])
            descend(net, loss + L2 * squares.sum())

    return {"actor": step_actor, "two critics": step_critics}


def whole_update() -> float:
    """Return the processor seconds of an official update: all steps, and the KL after each pass."""
    actor, nets = _networks()
    settings = {"lr": LR, "epsilon": 1e-8, "max_grad_norm": MAX_NORM}
    mine = FastActorTrainer(actor, **settings)
    critics = FastCriticTrainer(nets, **settings, l2=L2)
    inputs, samples = _samples()
    started = time.process_time()
    x = mine.networks.prepare(inputs)
    source = Minibatches(x, samples, SAMPLES // BATCH, torch.Generator().manual_seed(0))
    old = mine.policies(x)
    for _ in range(PASSES):
        for part in source.one_pass():
            _step_actor(mine, part)
        old.kl(mine.policies(x)).mean()  # type: ignore[arg-type]
        for part in source.one_pass():
            critics.descend(part.inputs, part.samples["old"], part.samples["targets"])
    return time.process_time() - started


def _step_actor(mine: FastActorTrainer, part: Part) -> None:
    samples = part.samples
    terms = FastTerms(
        policy=mine.forward(part.inputs),
        start=None,
        actions=samples["actions"],
        old_log_prob=samples["log_probs"],
        weight=samples["weights"],
        factor=samples["weights"],
        cost_advantage=None,
        cost=CostTerms(),
    )
    mine.descend(terms, OBJECTIVE)


def main() -> int:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spells", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| minibatch | step of | autograd, us | ours, us | ratio |")
    print("|------:|------|------:|------:|------:|")
    totals = {"autograd": 0.0, "ours": 0.0}
    for batch in (64, 256):
        sides = {"autograd": autograd(batch), "ours": hand(batch)}
        for what in ("actor", "two critics"):
            best = dict.fromkeys(sides, float("inf"))
            for _ in range(options.rounds):
                for side, steps in sides.items():
                    best[side] = min(best[side], best_us(steps[what], options.spells))
            theirs, mine = best["autograd"], best["ours"]
            print(f"| {batch} | {what} | {theirs:,.0f} | {mine:,.0f} | {theirs / mine:.1f} |")
            if batch == BATCH:
                totals = {side: totals[side] + best[side] for side in sides}
    seconds = {side: total * STEPS / 1e6 for side, total in totals.items()}
    print(
        f"\nThe {STEPS:,} steps of 64 of an official update at these rates: "
        f"{seconds['autograd']:.1f} s by autograd, {seconds['ours']:.1f} s by ours; "
        f"a whole one by ours took {whole_update():.1f} s of processor time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
