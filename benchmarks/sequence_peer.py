"""Training speed of the transformers library's Decision Transformer; run in its own environment.

``python sequence_peer.py SECONDS WIDTH LAYERS HEADS CONTEXT BATCH STATES ACTIONS`` prints, as JSON,
the processor seconds of the fastest gradient step. A step is what kzl/decision-transformer does
with that model: squared error of unpadded actions, gradients clipped to 0.25, AdamW. The batch is
ready in memory, padded on the left with a mask, as that code pads it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
import time

import torch
from transformers import DecisionTransformerConfig, DecisionTransformerModel


def main() -> None:
    """Train, measure, print."""
    seconds = float(sys.argv[1])
    width, layers, heads, context, batch, states, actions = (int(word) for word in sys.argv[2:])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = DecisionTransformerConfig(
        state_dim=states,
        act_dim=actions,
        hidden_size=width,
        n_layer=layers,
        n_head=heads,
        n_inner=4 * width,
        activation_function="relu",
        max_ep_len=1000,
        resid_pdrop=0.1,
        embd_pdrop=0.1,
        attn_pdrop=0.1,
    )
    model = DecisionTransformerModel(config).train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
    taken = torch.rand(batch, context, actions) * 2 - 1
    mask = torch.ones(batch, context, dtype=torch.long)
    mask[: batch // 16, : context // 2] = 0
    inputs = {
        "states": torch.randn(batch, context, states),
        "actions": taken,
        "returns_to_go": torch.rand(batch, context, 1),
        "timesteps": torch.arange(context).expand(batch, -1),
        "attention_mask": mask,
    }
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.process_time()
        found = model(**inputs).action_preds
        loss = (found[mask > 0] - taken[mask > 0]).square().mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        adam.step()
        best = min(best, time.process_time() - start)
    print(json.dumps({"seconds": best}))


if __name__ == "__main__":
    main()
