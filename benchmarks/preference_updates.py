"""Updates of language models beside TRL's: DPO, KTO and reward models; PPO-Lag's tokens a second.

The same sizes, batch and processor thread on both sides, float32, no dropout, and a batch that is
ready in memory; TRL runs in its own virtual environment, on GPT-2's blocks as ours are. Both take
turns, and the fastest update of each counts, in processor time. TRL has no PPO to compare with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.peers import TRL, run_peer
from pkubench.agents.nn.transformer import TransformerSpec
from pkubench.agents.rl.language.config import LanguageConfig
from pkubench.agents.rl.language.learners.base import Draws, Setup, ordered
from pkubench.agents.rl.language.losses import reward_loss
from pkubench.agents.rl.language.methods.preferences import DPO, KTO
from pkubench.agents.rl.language.methods.supervised import RewardModel
from pkubench.agents.rl.language.methods.token_ppo import LagrangianPPO
from pkubench.agents.rl.language.models import HeadSpec, LanguageModel, OwnSpec

WIDTH, LAYERS, HEADS = 128, 4, 4
TOKENS, PROMPT, LENGTH, BATCH = 512, 16, 32, 16
BAR = 1.0
"""TRL's time over ours, at least."""
KINDS = {"dpo": DPO(), "kto": KTO(), "reward": RewardModel()}
SPEC = OwnSpec(
    tokens=TOKENS + 2,
    context=PROMPT + LENGTH + 2,
    transformer=TransformerSpec(
        width=WIDTH, layers=LAYERS, heads=HEADS, activation="gelu", dropout=0.0
    ),
)


class Words:
    """A language of the sizes of the benchmark; its scores mean nothing."""

    tokens = tuple(f"w{k}" for k in range(TOKENS))
    words, length, limit = TOKENS, LENGTH, 0.0
    prompts = np.random.default_rng(0).integers(0, TOKENS, (64, PROMPT))
    responses = np.zeros((1, LENGTH), dtype=np.int64)

    def score(self, prompts: Any, responses: Any) -> Any:
        """Return a reward and a cost of the first words."""
        return responses[:, 0] / TOKENS, responses[:, 1] / TOKENS - 0.5

    def read(self, observation: Any) -> Any:
        """Read nothing: no environment has this language."""
        return observation, observation


def learner(method: Any) -> Any:
    """Return the learner of a method at the sizes of the benchmark."""
    config = LanguageConfig(
        method=method, batch_size=BATCH, width=WIDTH, layers=LAYERS, heads=HEADS
    )
    reference = LanguageModel(HeadSpec(SPEC, TOKENS), torch.Generator().manual_seed(0))
    words: Any = Words()
    return method.start(Setup(words, config, SPEC, 0, 10_000, "cpu", reference, None, None))


def update(kind: str) -> Callable[[], None]:
    """Return an update on a batch that is ready."""
    made = learner(KINDS[kind])
    draws = Draws(np.random.default_rng(0), torch.Generator().manual_seed(0))
    if kind != "reward":
        pairs = made.pairs(draws)
        return lambda: made.optimisers["net"].step(made.loss(pairs)[0])
    one, other = made.two(draws)
    both = ordered(one, other, np.ones(BATCH, np.bool_))

    def step() -> None:
        better, worse = made.of_both(*both)
        made.optimisers["net"].step(reward_loss(better, worse, made.method.regularisation))

    return step


def seconds_of(step: Callable[[], Any], seconds: float) -> float:
    """Return the processor seconds of the fastest call."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        step()
        best = min(best, time.process_time() - start)
    return best


def compared(rounds: int, seconds: float) -> Iterator[tuple[str, float, float]]:
    """Yield each kind with the best seconds of TRL and of ours.

    Raises:
        PeerError: TRL could not be installed or failed.
    """
    sizes = [str(n) for n in (WIDTH, LAYERS, HEADS, TOKENS, PROMPT, LENGTH, BATCH)]
    for kind in KINDS:
        step, peer, mine = update(kind), float("inf"), float("inf")
        for _ in range(rounds):
            found = run_peer(*TRL[:2], "trl_peer.py", kind, f"{seconds:g}", *sizes)
            peer = min(peer, found["seconds"])
            mine = min(mine, seconds_of(step, seconds))
        yield kind, peer, mine


def tokens_per_second(seconds: float) -> float:
    """Return the words a second of PPO-Lag: drawn, scored, and trained on twice."""
    made = learner(LagrangianPPO())
    number = iter(range(10**6))

    def step() -> None:
        key = next(number)
        made.update(Draws(np.random.default_rng(key), torch.Generator().manual_seed(key)))

    return BATCH * LENGTH / seconds_of(step, seconds)
