"""The global generators of Python, NumPy and torch: seeded, written down, and put back.

Nothing here draws from them; dropout layers, libraries and users' code do. torch is looked at only
where something has imported it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from pkubench.errors import WeightsError

_SEEDED = [0, 0]
"""How often they were seeded in this process, and with what the last time."""


def last_seeding() -> tuple[int, int]:
    """Return the number of the last seeding in this process, from 1, and its seed.

    For agents that act in another process: it seeds its own generators whenever these here are.
    """
    return _SEEDED[0], _SEEDED[1]


def seed_generators(seed: int) -> None:
    """Seed all of them; of a seed beyond 32 bits NumPy's legacy generator takes the lower ones."""
    _SEEDED[:] = [_SEEDED[0] + 1, seed]
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the legacy generator is the global one
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def generator_states() -> dict[str, Any]:
    """Return their states as arrays and plain data, from which ``set_generators`` continues."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    states: dict[str, Any] = {
        "python": {
            "version": version,
            "words": np.array(words, dtype=np.uint32),
            "gauss": gauss,
        },
        "numpy": {
            "kind": str(kind),
            "keys": np.array(keys, dtype=np.uint32),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().copy()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states["cuda"] = [state.numpy().copy() for state in torch.cuda.get_rng_state_all()]
    return states


def set_generators(states: Mapping[str, Any]) -> None:
    """Put the generators back to what ``generator_states`` returned.

    Raises:
        WeightsError: it is something else, or of another number of GPUs.
    """
    try:
        python, numpy = states["python"], states["numpy"]
        random.setstate((int(python["version"]), tuple(python["words"].tolist()), python["gauss"]))
        np.random.set_state(  # noqa: NPY002
            (
                numpy["kind"],
                numpy["keys"],
                numpy["position"],
                numpy["has_gauss"],
                numpy["cached"],
            )
        )
        torch = sys.modules.get("torch")
        if torch is not None and "torch" in states:
            torch.set_rng_state(torch.from_numpy(states["torch"].copy()))
            if "cuda" in states:
                torch.cuda.set_rng_state_all([torch.from_numpy(s.copy()) for s in states["cuda"]])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"the saved states of global generators are damaged: {error}") from error


@contextmanager
def kept_generators() -> Iterator[None]:
    """Let a block draw from the global generators; put them back to where they were after it."""
    before = generator_states()
    try:
        yield
    finally:
        set_generators(before)
