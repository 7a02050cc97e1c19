"""Speed of TRL's updates; run in its own environment.

``python trl_peer.py KIND SECONDS WIDTH LAYERS HEADS TOKENS PROMPT LENGTH BATCH`` prints, as JSON,
the processor seconds of the fastest update. KIND is dpo, kto or reward; an update is what the
trainer does with a batch that it has drawn: loss, gradients, clipping and a step of AdamW. The
model is a GPT-2 of the given sizes in float32 without dropout; a batch has BATCH pairs of
responses.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import json
import random
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

BATCHES = 8
"""Of the data set, so that drawing batches is rarely begun again."""


def tokenizer_of(tokens: int) -> Any:
    """Return a tokenizer of the words w0, w1, ..."""
    words = {f"w{k}": k for k in range(tokens)} | {"<pad>": tokens, "<end>": tokens + 1}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<pad>"
    )


def rows(kind: str, tokens: int, prompt: int, length: int, batch: int) -> Any:
    """Return a data set of some batches."""
    draw = random.Random(0)

    def text(count: int) -> str:
        return " ".join(f"w{draw.randrange(tokens)}" for _ in range(count))

    pairs = [{"prompt": text(prompt), "chosen": f" {text(length)}", "rejected": f" {text(length)}"}
             for _ in range(BATCHES * batch)]  # fmt: skip
    if kind != "kto":
        return Dataset.from_list(pairs)
    return Dataset.from_list(
        [
            {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
            for row in pairs
            for side in ("chosen", "rejected")
        ]
    )


class Fastest(TrainerCallback):
    """Measures every update, and ends the training after some seconds."""

    def __init__(self, seconds: float) -> None:
        """Stop after ``seconds`` of the clock."""
        self.seconds, self.best, self.start, self.end = seconds, float("inf"), 0.0, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Take the time at which a batch is there."""
        self.end = self.end or time.perf_counter() + self.seconds
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Take the time at which the step is done."""
        self.best = min(self.best, time.process_time() - self.start)
        control.should_training_stop = time.perf_counter() > self.end


def trainer_of(kind: str, sizes: list[int], folder: str) -> Any:
    """Return TRL's trainer on one batch."""
    width, layers, heads, tokens, prompt, length, batch = sizes
    config = GPT2Config(
        vocab_size=tokens + 2,
        n_positions=prompt + length + 2,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        pad_token_id=tokens,
        eos_token_id=tokens + 1,
        bos_token_id=tokens + 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        num_labels=1,
    )
    given = {
        "output_dir": folder,
        "per_device_train_batch_size": 2 * batch if kind == "kto" else batch,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "num_train_epochs": 10**6,
        "save_strategy": "no",
        "logging_strategy": "no",
    }
    make, settings, model = {
        "dpo": (DPOTrainer, DPOConfig, GPT2LMHeadModel),
        "kto": (KTOTrainer, KTOConfig, GPT2LMHeadModel),
        "reward": (RewardTrainer, RewardConfig, GPT2ForSequenceClassification),
    }[kind]
    net = model(config)
    # Without one, the trainer would look for the reference in the folder that the model came from.
    reference = {} if kind == "reward" else {"ref_model": copy.deepcopy(net)}
    return make(
        model=net,
        **reference,
        args=settings(**given),
        train_dataset=rows(kind, tokens, prompt, length, batch),
        processing_class=tokenizer_of(tokens),
    )


def main() -> None:
    """Train, measure, print."""
    kind, seconds = sys.argv[1], float(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(kind, [int(word) for word in sys.argv[3:]], folder)
        fastest = Fastest(seconds)
        trainer.add_callback(fastest)
        trainer.train()
    print(json.dumps({"seconds": fastest.best}))


if __name__ == "__main__":
    main()
