"""The example package goes through every verb, uninstalled and installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "examples" / "corridor"
SCRIPT = """
import sys
from pkubench.cli.main import main
for line in {lines!r}:
    sys.argv = ["pkubench", *line.split()]
    print("$", line, flush=True)
    code = main(line.split())
    assert not code, (line, code)
"""
VERBS = (
    "list --suite corridor",
    "show q-learning",
    "show corridor/Corridor-v0",
    "check corridor/Corridor-v0",
    "train q-learning corridor/Corridor-v0 --seeds 0-1 --steps 4000 --out runs --quiet",
    "evaluate runs corridor/Corridor-v0 --episodes 40 --out results --quiet",
    "evaluate random corridor/Corridor-v0 --episodes 40 --out results --quiet",
    "compare results --task corridor/Corridor-v0",
    "verify results/runs/Corridor-v0",
    "plot runs --out curve.svg",
    "bundle results/runs/Corridor-v0 --weights runs --out entry.zip --license MIT",
    "leaderboard export site --results results",
)


def _verbs(folder: Path, path: Path, plugins: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{path}{os.pathsep}{ROOT}",
        "PKUBENCH_PLUGINS": plugins,
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(lines=VERBS)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _check(folder: Path) -> None:
    report = json.loads((folder / "results/runs/Corridor-v0/report.json").read_bytes())
    assert report["metrics"]["return"]["mean"] == pytest.approx(0.975, abs=0.01)
    assert (folder / "curve.svg").stat().st_size > 1000
    assert (folder / "entry.zip").is_file() and (folder / "site/index.html").is_file()


def test_every_verb_works_without_installing(tmp_path: Path) -> None:
    shown = _verbs(tmp_path, PACKAGE, "corridor")
    assert "q-learning" in shown and "corridor/Corridor-v0" in shown
    _check(tmp_path)


def test_every_verb_works_on_the_installed_package(tmp_path: Path) -> None:
    """A wheel is a module and its metadata, laid out here as an installer does."""
    site = tmp_path / "site-packages"
    about = site / "corridor-0.1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(PACKAGE / "corridor.py", site)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: corridor\nVersion: 0.1.0\n")
    text = (PACKAGE / "pyproject.toml").read_text().partition("[project.entry-points")
    points = (text[1] + text[2]).partition("[tool.")[0].replace("project.entry-points.", "")
    (about / "entry_points.txt").write_text(points.replace('"', ""))
    _verbs(tmp_path, site, "")
    _check(tmp_path)


def test_a_module_that_cannot_be_imported_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pkubench", "list"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PKUBENCH_PLUGINS": "no_such_module"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 2 and "PKUBENCH_PLUGINS names the module 'no_such_module'" in done.stderr
    )


def test_the_example_is_short() -> None:
    lines = (PACKAGE / "corridor.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 120
