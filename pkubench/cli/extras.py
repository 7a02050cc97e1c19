"""The optional sets of dependencies: what each is for, and the modules it installs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Extra(NamedTuple):
    """One pip extra."""

    modules: tuple[str, ...]
    """Import names, the first is the distribution that matters most."""
    purpose: str
    caution: str = ""
    """Why ``pkubench[all]`` leaves it out, where it does."""


_LATER = "nothing in this release uses it"

EXTRAS: dict[str, Extra] = {
    "agents": Extra(("torch", "safetensors", "stable_baselines3"), "training, loading weights"),
    "marl": Extra(("pettingzoo",), "PettingZoo form of team environments"),
    "mujoco": Extra(("mujoco", "gymnasium_robotics"), "robots"),
    "games": Extra(("pyspiel", "open_spiel"), "poker and other games"),
    "plots": Extra(("matplotlib", "imageio", "imageio_ffmpeg", "PIL"), "plots and videos"),
    "leaderboard": Extra(
        ("sqlalchemy", "alembic", "jinja2", "fastapi", "uvicorn", "psycopg", "python_multipart"),
        "boards, their site and their server",
    ),
    "onnx": Extra(("onnx", "onnxruntime", "onnxscript"), "ONNX policies, both ways"),
    "minigrid": Extra(("minigrid",), "levels of MiniGrid and BabyAI by their names"),
    "llm": Extra(
        ("httpx", "transformers"),
        "language models, on servers and in folders",
        "local models need torch and hundreds of MB",
    ),
    "inspect": Extra(("inspect_ai",), "models of inspect-ai, and our tasks in it"),
    "openenv": Extra(("openenv",), "environments in words as OpenEnv servers"),
    "data": Extra(("minari", "h5py"), "recorded data sets"),
    "search": Extra(
        ("usearch",),
        "approximate search in large memory banks",
        "no verb uses it",
    ),
    "meshes": Extra(("coacd",), "cutting your own meshes into convex parts", "no verb uses it"),
    "cluster": Extra(("ray",), "evaluation beyond one machine", _LATER),
    "trackers": Extra(
        ("trackio", "wandb"),
        "train --track trackio or wandb",
        "both bring web servers that training itself does not need",
    ),
    "warp": Extra(("mujoco_warp", "warp"), "grasping on NVIDIA GPUs", "no verb uses it"),
}


def extra_of_module(module: str) -> str | None:
    """Return the extra that installs a module, None if no extra does."""
    top = module.partition(".")[0]
    return next((name for name, extra in EXTRAS.items() if top in extra.modules), None)


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed; nothing is imported."""
    return [module for module in EXTRAS[extra].modules if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
