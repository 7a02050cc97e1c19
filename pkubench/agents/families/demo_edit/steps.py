"""How long scripts may be."""

from typing import Final

MAX_REACH_STEPS: Final = 85
"""With closing, lift and hold a script then fills an episode of 200 steps."""
