"""Write the golden playthroughs again: ``python -m tests.envs.golden --write [ENV ...]``."""

from __future__ import annotations

import argparse

from pkubench.envs.core.registry import resolve
from tests.envs.golden import path, trace
from tests.envs.tape import SAMPLE


def main() -> None:
    """Write the files, or say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files")
    parser.add_argument("env", nargs="*", help="only these environments")
    options = parser.parse_args()
    batch_envs = [resolve(name).id for name in options.env] or SAMPLE
    for env in batch_envs:
        now = trace(env)
        file = path(env)
        if file.exists() and file.read_text(encoding="utf-8") == now:
            continue
        print(f"{env}: {'written' if options.write else 'differs'}")
        if options.write:
            file.write_text(now, encoding="utf-8")


if __name__ == "__main__":
    main()
