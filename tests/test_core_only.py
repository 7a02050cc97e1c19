"""What works with the core dependencies alone, and what a missing extra says.

A finder in front of all others hides the modules of every extra from a fresh interpreter, which is
what an environment made by ``pip install pkubench`` looks like to the code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pkubench.cli.extras import EXTRAS
from pkubench.envs.core.registry import environments

HIDDEN = sorted({module for extra in EXTRAS.values() for module in extra.modules})
HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
RUN = "from pkubench.cli.main import run; run()"
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from pkubench.cli.main import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([words, code, err.getvalue()]))
"""
STEP = """
import json
import sys
import numpy as np
import pkubench
from pkubench.errors import MissingExtra
said = {}
for name in sys.argv[1:]:
    try:
        envs = pkubench.make_batch(name, num_envs=2)
        envs.reset(np.arange(2))
        actions = {
            a: np.stack([space.sample(), space.sample()]) for a, space in envs.action_spaces.items()
        }
        said[name] = str(envs.step(actions).rewards.shape[0])
    except MissingExtra as error:
        said[name] = str(error)
print(json.dumps(said))
"""


def core_only(
    program: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDE + program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


def test_the_modules_of_extras_are_really_hidden() -> None:
    done = core_only("import torch")
    assert done.returncode == 1
    assert "No module named 'torch'" in done.stderr


def test_environments_run_on_the_core_or_name_the_extra_they_need() -> None:
    # other tests of this process may have registered their own environments
    names = {
        w: spec for w, spec in environments().items() if spec.entry_point.startswith("pkubench.")
    }
    done = core_only(STEP, *names, "matrix:cyclic(7)", "openspiel:kuhn_poker")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, spec in names.items():
        expected = f"pip install 'pkubench[{spec.extra}]'" if spec.extra else "2"
        assert expected in said[name], name
    assert said["matrix:cyclic(7)"] == "2"
    assert "pip install 'pkubench[games]'" in said["openspiel:kuhn_poker"]


def test_the_command_line_runs_on_the_core_and_says_which_extra_to_install(tmp_path: Path) -> None:
    wanted: dict[tuple[str, ...], tuple[int, ...]] = {
        ("--help",): (0,),
        ("list",): (0,),
        ("claims", "--paper", "HARL"): (0,),
        ("doctor",): (0, 1),
        ("train", "happo", "SimpleSpread-v0", "--steps", "100"): (2,),
    }
    done = core_only(ONE_AFTER_ANOTHER, json.dumps([*wanted]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, code, error), codes in zip(lines, wanted.values(), strict=True):
        assert code in codes, (words, error)
        assert "Traceback" not in error
    assert "pip install 'pkubench[agents]'" in lines[-1][2]


def test_random_play_is_scored_on_the_core(tmp_path: Path) -> None:
    done = core_only(
        RUN, "evaluate", "random", "SimpleSpread-v0", "--quick", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "SimpleSpread" in done.stdout
