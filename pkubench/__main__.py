"""``python -m pkubench`` is the command line."""

from __future__ import annotations

from pkubench.cli.main import run

if __name__ == "__main__":
    run()
