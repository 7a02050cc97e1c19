"""Suggestions for users who name a file or folder without its prefix."""

from __future__ import annotations

from pathlib import Path

from pkubench.agents.registry import AgentPrefix, prefixes
from pkubench.agents.saved.files import CONFIG, WEIGHTS

_TORCH = (".pt", ".pth", ".ckpt", ".pkl")


def meant(path: Path) -> str:
    """Return a message with the right spelling of an agent; empty if ``path`` may be one.

    Args:
        path: An agent's spelling, which need not be a path.
    """
    for prefix in prefixes().values():
        if hint := _of_prefix(path, prefix):
            return hint
    if not path.is_file():
        return ""
    if path.name in (CONFIG, WEIGHTS):
        return _suggest(path, "one file of a saved agent", str(path.parent))
    if path.suffix == ".py":
        return _suggest(path, "Python code", f"{path.stem}:FACTORY")
    if path.suffix in _TORCH:
        return (
            f"{str(path)!r} is a pickle or a torch file, which does not describe its network; "
            "export it as ONNX (onnx:FILE), or load it in a factory of your own (module:FACTORY)"
        )
    return ""


def _of_prefix(path: Path, prefix: AgentPrefix) -> str:
    """Return the spelling of a file that one of the prefixes reads, or of a folder of them."""
    more = " (with --trust)" if prefix.needs_trust else ""
    for file in prefix.files:
        if file.startswith("."):
            if path.suffix == file and not path.is_dir():
                return _suggest(path, prefix.noun, f"{prefix.prefix}:{path}", more)
        elif path.name == file and path.is_file():
            whole = f"{prefix.prefix}:{path.parent}"
            return _suggest(
                path, f"the list of a folder in which each file is {prefix.noun}", whole
            )
        elif (path / file).is_file() and not (path / CONFIG).is_file():
            whole = f"{prefix.prefix}:{path}"
            return _suggest(path, f"a folder in which each file is {prefix.noun}", whole)
    return ""


def _suggest(path: Path, what: str, spelling: str, more: str = "") -> str:
    if not path.exists():
        return f"there is no file {str(path)!r}; {what} is spelled {spelling}{more}"
    return f"{str(path)!r} is {what}; did you mean {spelling}{more}?"
