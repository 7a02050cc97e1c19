"""How folders of the transformers library are read: nothing in them is run, and nothing fetched."""

from __future__ import annotations

from typing import Any, Final

DATA_ONLY: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}
"""For every ``from_pretrained``. Without the second the library asks on the terminal whether to run
the folder's own Python."""
WEIGHTS: Final[dict[str, Any]] = {**DATA_ONLY, "use_safetensors": True}
"""For models: weights in pickled files (``.bin``) can hold code, and are refused."""
