"""What somebody meant who named a file or folder without saying what it is."""

from __future__ import annotations

from pathlib import Path

from pkubench.agents.saved.files import CONFIG, WEIGHTS

_TEAM = "team.json"
_TORCH = (".pt", ".pth", ".ckpt", ".pkl")


def meant(path: Path) -> str:
    """Return a message with the right spelling of an agent; empty if ``path`` may be one.

    Args:
        path: An agent's spelling, which may be no path at all.
    """
    if path.is_dir():
        return _folder(path)
    if path.name == _TEAM and path.is_file():
        return _ask(path, "the list of a team of ONNX policies", f"onnx:{path.parent}")
    if path.suffix == ".onnx":
        return _ask(path, "an ONNX policy", f"onnx:{path}")
    if path.suffix == ".zip":
        return _ask(path, "a zip of Stable-Baselines3", f"sb3:{path}", " (with --trust)")
    if not path.is_file():
        return ""
    if path.name in (CONFIG, WEIGHTS):
        return _ask(path, "one file of a saved agent", str(path.parent))
    if path.suffix == ".py":
        return _ask(path, "Python code", f"{path.stem}:FACTORY")
    if path.suffix in _TORCH:
        return (
            f"{str(path)!r} is a pickle or a file of torch, which says nothing of its network; "
            "export it as ONNX (onnx:FILE), or load it in a factory of your own (module:FACTORY)"
        )
    return ""


def _folder(folder: Path) -> str:
    if (folder / _TEAM).is_file() and not (folder / CONFIG).is_file():
        return _ask(folder, "a folder of ONNX policies", f"onnx:{folder}")
    return ""


def _ask(path: Path, what: str, spelling: str, more: str = "") -> str:
    if not path.exists():
        return f"there is no file {str(path)!r}; {what} is spelt {spelling}{more}"
    return f"{str(path)!r} is {what}; did you mean {spelling}{more}?"
