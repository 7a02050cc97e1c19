"""Speed of TRL's updates; run in its own environment.

``python trl_peer.py KIND SECONDS WIDTH LAYERS HEADS TOKENS PROMPT LENGTH BATCH`` prints, as JSON,
the processor seconds of the fastest update. KIND is dpo, kto or reward; an update is the trainer's
``training_step`` on a batch that is ready in memory, and a step of AdamW. The model is a GPT-2 of
the given sizes in float32 without dropout; a batch has BATCH pairs of responses.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

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
)
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer


def tokenizer_of(tokens: int) -> Any:
    """Return a tokenizer of the words w0, w1, ..."""
    words = {f"w{k}": k for k in range(tokens)} | {"<pad>": tokens, "<end>": tokens + 1}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<pad>"
    )


def rows(kind: str, tokens: int, prompt: int, length: int, batch: int) -> Any:
    """Return a data set of one batch."""
    draw = random.Random(0)

    def text(count: int) -> str:
        return " ".join(f"w{draw.randrange(tokens)}" for _ in range(count))

    pairs = [{"prompt": text(prompt), "chosen": f" {text(length)}", "rejected": f" {text(length)}"}
             for _ in range(batch)]  # fmt: skip
    if kind != "kto":
        return Dataset.from_list(pairs)
    return Dataset.from_list(
        [
            {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
            for row in pairs
            for side in ("chosen", "rejected")
        ]
    )


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
    }
    make, settings, model = {
        "dpo": (DPOTrainer, DPOConfig, GPT2LMHeadModel),
        "kto": (KTOTrainer, KTOConfig, GPT2LMHeadModel),
        "reward": (RewardTrainer, RewardConfig, GPT2ForSequenceClassification),
    }[kind]
    return make(
        model=model(config),
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
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.create_optimizer()
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.process_time()
            trainer.optimizer.zero_grad()
            trainer.training_step(trainer.model, batch)
            trainer.optimizer.step()
            best = min(best, time.process_time() - start)
    print(json.dumps({"seconds": best}))


if __name__ == "__main__":
    main()
