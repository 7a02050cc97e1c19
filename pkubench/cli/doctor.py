"""``pkubench doctor``: checks the installation and suggests fixes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer
from rich.text import Text

from pkubench import __version__
from pkubench.cli.extras import EXTRAS, missing_modules
from pkubench.cli.options import (
    Json,
    Quiet,
    verb_app,
)
from pkubench.cli.output import Column, Output
from pkubench.errors import ConfigError
from pkubench.plugins import GROUPS, load_entry_points, registrants

app = verb_app()

LOW_DISK_BYTES = 2 * 1024**3
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MARKS = {"ok": "green", "warn": "yellow", "fail": "red", "absent": "dim"}

# One frame of an empty scene; in a process of its own, because a wrong GL library can crash it.
_DRAW = """
import mujoco
renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 32, 32)
renderer.render()
"""


class Finding(NamedTuple):
    """One thing that was checked."""

    area: str
    name: str
    status: str
    """``ok``, ``warn`` (works with a caveat), ``fail`` (must be fixed), ``absent`` (optional)."""
    value: str
    advice: str = ""


@app.command()
def doctor(json: Json = False, quiet: Quiet = False) -> None:
    """Check the installation: what is installed, what is missing and how to fix it.

    Exit code 1 if something must be fixed.
    """
    with Output(json=json, quiet=quiet) as output:
        findings = [*_versions(), *_extras(), *_plugins(), *_machine(), *_folders()]
        broken = [finding for finding in findings if finding.status == "fail"]
        if json:
            output.document({"ok": not broken, "findings": [f._asdict() for f in findings]})
        else:
            columns = (
                Column("", style="dim", rank=1),
                Column("what", style="bold"),
                Column(""),
                Column("found", wraps=True),
            )
            last, rows = "", []
            for f in findings:
                mark = Text(f.status, style=_MARKS[f.status])
                rows.append((f.area if f.area != last else "", f.name, mark, f.value))
                last = f.area
            output.show(output.table(f"pkubench {__version__}", columns, rows))
            advice = [finding for finding in findings if finding.advice]
            if advice:
                output.show("")
            for finding in advice:
                style = _MARKS[finding.status]
                output.show(Text.assemble((finding.name, style), f": {finding.advice}"))
            output.show("")
            output.next("pkubench evaluate random SimpleSpread-v0")
    if broken:
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    yield Finding("core", "python", "ok", f"{python} on {platform.platform(terse=True)}")
    for name in ("numpy", "scipy", "gymnasium", "typer", "rich"):
        version = _version(name)
        if version is None:
            yield Finding("core", name, "fail", "not installed", f"pip install {name}")
        else:
            yield Finding("core", name, "ok", version)


def _extras() -> Iterator[Finding]:
    for name, extra in EXTRAS.items():
        missing = missing_modules(name)
        if missing:
            yield Finding(
                "extras",
                name,
                "absent",
                f"for {extra.purpose}; missing: {', '.join(missing)}",
                f"{extra.caution}; left out of pkubench[all]"
                if extra.caution
                else f"pip install 'pkubench[{name}]'",
            )
        else:
            version = _version(extra.modules[0]) or ""
            yield Finding("extras", name, "ok", f"{extra.modules[0]} {version}".strip())


def _plugins() -> Iterator[Finding]:
    """Load the plug-ins of every group: installed packages, and modules of PKUBENCH_PLUGINS."""
    for group in GROUPS:
        try:
            load_entry_points(group)
        except ConfigError as error:
            yield Finding("plug-ins", group.partition(".")[2], "fail", "broken", str(error))
            return
    found = registrants()
    value = ", ".join(found) if found else "none"
    yield Finding("plug-ins", "modules", "ok" if found else "absent", value)


def _version(module: str) -> str | None:
    distributions = {"pyspiel": "open-spiel", "PIL": "pillow"}
    try:
        return importlib.metadata.version(distributions.get(module, module.replace("_", "-")))
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("machine", "processors", "ok", f"{usable} (evaluate with --workers {usable})")
    # The command itself sets OMP_NUM_THREADS where the user has not, so what is left to find is
    # a setting of the user's own.
    pins = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    wide = [f"{name}={value}" for name, value in pins.items() if value != "1"]
    if wide:
        yield Finding(
            "machine",
            "BLAS threads",
            "warn",
            ", ".join(wide),
            "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 (small networks are slower on "
            "many threads, and results may differ in the last bits)",
        )
    else:
        yield Finding("machine", "BLAS threads", "ok", "1")
    yield _cuda()
    yield _drawing()
    sandbox = shutil.which("bwrap")
    if sandbox:
        yield Finding("machine", "bubblewrap", "ok", sandbox)
    else:
        yield Finding(
            "machine",
            "bubblewrap",
            "absent",
            "submitted code cannot be run",
            "install bubblewrap (apt-get install bubblewrap)",
        )


def _cuda() -> Finding:
    if missing_modules("agents"):
        return Finding("machine", "CUDA", "absent", "torch is not installed")
    import torch

    if torch.cuda.is_available():
        return Finding("machine", "CUDA", "ok", torch.cuda.get_device_name(0))
    if shutil.which("nvidia-smi"):
        return Finding(
            "machine",
            "CUDA",
            "warn",
            f"there is an NVIDIA driver, but torch {torch.__version__} does not use it",
            "install a CUDA build of torch (https://pytorch.org/get-started/locally)",
        )
    return Finding("machine", "CUDA", "absent", "no NVIDIA GPU; everything runs on the processor")


def _drawing() -> Finding:
    if missing_modules("mujoco"):
        return Finding("machine", "drawing", "absent", "mujoco is not installed")
    chosen = os.environ.get("MUJOCO_GL")
    backends = [chosen] if chosen else ["egl", "osmesa", *(["glfw"] if _has_screen() else [])]
    for backend in backends:
        if _can_draw(backend):
            return Finding("machine", "drawing", "ok", f"MUJOCO_GL={backend}")
    return Finding(
        "machine",
        "drawing",
        "warn",
        f"no robot can be drawn with MUJOCO_GL={' or '.join(backends)}",
        "install a GL library (apt-get install libegl1 libosmesa6), then export MUJOCO_GL=egl "
        "or osmesa",
    )


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _can_draw(backend: str) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DRAW],
            env={**os.environ, "MUJOCO_GL": backend},
            cwd=tempfile.gettempdir(),
            capture_output=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _folders() -> Iterator[Finding]:
    here = Path.cwd()
    for name, folder in (
        ("runs", here / "runs"),
        ("results", here / "results"),
        ("temporary", Path(tempfile.gettempdir())),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        value = f"{folder} ({free / 1024**3:.0f} GB free)"
        if not _is_writeable(existing):
            advice = f"{existing} cannot be written; choose another folder with --out"
            yield Finding("folders", name, "fail", value, advice)
        elif free < LOW_DISK_BYTES:
            yield Finding("folders", name, "warn", value, "less than 2 GB free; free some space")
        else:
            yield Finding("folders", name, "ok", value)


def _is_writeable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
