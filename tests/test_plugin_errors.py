"""What goes wrong in a plug-in is reported as the plug-in's; without it, its names are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import UpdateRule
from pkubench.errors import ConfigError

ROOT = Path(__file__).parents[1]
BROKEN = """
from dataclasses import replace
from corridor import FAMILY, PRESET, QLearning
from pkubench import register_family

class Bad(QLearning):
    def iterate(self):
        return 1 / 0

for name, learner in (("bad", "broken:Bad"), ("gone", "no_such_module:Bad")):
    family = replace(FAMILY, name=name, kind=name, learner=learner)
    register_family(family, [replace(PRESET, name=name, family=name)])
"""
TAKEN = """
from dataclasses import dataclass
from pkubench.agents.components import register
from pkubench.agents.rl.update_rules.base import UpdateRule

@register("ppo-clip")
@dataclass(frozen=True, slots=True, kw_only=True)
class Mine(UpdateRule):
    clip: float = 0.2
"""
PROGRAM = """
import contextlib, io, json, os, sys
from pkubench.cli.main import main
said = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said.append([code, out.getvalue(), err.getvalue()])
json.dump(said, sys.stdout)
"""


def _python(folder: Path, plugins: str, program: str, *arguments: str) -> str:
    path = os.pathsep.join(map(str, (folder, ROOT, ROOT / "examples" / "corridor")))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PKUBENCH_PLUGINS": plugins},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _said(folder: Path, plugins: str, *lines: str) -> list[tuple[int, str, str]]:
    words = json.dumps([line.split() for line in lines])
    return [tuple(said) for said in json.loads(_python(folder, plugins, PROGRAM, words))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "taken.py").write_text(TAKEN)
    return tmp_path


def test_the_culprit_is_named_and_nothing_blocks_the_corrected_command(folder: Path) -> None:
    task = "corridor/Corridor-v0"
    hint, elsewhere, bad, gone, good = _said(
        folder,
        "broken",
        "show q-learning",
        "train q-learning SimpleSpread-v0 --out run --quiet",
        f"train bad {task} --out run --quiet",
        f"train gone {task} --out run --quiet",
        f"train q-learning {task} --out run --quiet --steps 500",
    )
    assert f"train q-learning {task}" in hint[2]
    assert elsewhere[0] == 2 and "the plug-in corridor (line " in elsewhere[2]
    assert bad[0] == 2 and "the plug-in broken (line 8) failed: ZeroDivisionError" in bad[2]
    assert gone[0] == 2 and "'no_such_module' declares 'no_such_module:Bad'" in gone[2]
    assert good[0] == 0, good


def test_a_name_that_is_taken_is_the_newcomers_error_and_doctor_says_so(folder: Path) -> None:
    program = """
from pkubench.cli.doctor import _plugins
from pkubench.cli.main import main
print(*next(_plugins()))
assert main(["show", "ppo"]) == 2
"""
    said = _python(folder, "taken", program)
    assert "plug-ins environments fail broken PKUBENCH_PLUGINS names the module 'taken'" in said


def test_a_component_must_have_the_methods_of_its_slot() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Half(UpdateRule):
        pass

    with pytest.raises(ConfigError, match="Half lacks the methods of its slot"):
        register("half")(Half)
    assert "half" not in UpdateRule.registered


def test_workers_import_what_the_parent_has_imported(folder: Path) -> None:
    program = """
import corridor, pkubench
done = pkubench.train("q-learning", "corridor/Corridor-v0", steps=2000, out="runs/one")
report = pkubench.evaluate("runs/one", "Corridor-v0", episodes=20, out="results", workers=1)
print(report.failed)
"""
    assert _python(folder, "", program) == "0\n"
    missing = "PKUBENCH_PLUGINS"
    verified, shown, evaluated, reproduced = _said(
        folder,
        "",
        "verify results",
        "show corridor/Corridor-v0",
        "evaluate runs/one SimpleSpread-v0",
        "reproduce corridor/Corridor-v0",
    )
    for code, _, error in (verified, shown, evaluated, reproduced):
        assert code == 2 and missing in error and "did you mean" not in error, error
    (bundled,) = _said(folder, "corridor", "bundle results/one runs --out entry.zip")
    assert bundled[0] == 0 and "3 files" in bundled[1], bundled


def test_workers_import_the_plug_ins_of_every_group() -> None:
    from pkubench.agents import components
    from pkubench.envs.core import registry as environments
    from pkubench.plugins import GROUPS
    from pkubench.tasks import registry as suites

    assert set(GROUPS) == {of.ENTRY_POINTS for of in (components, environments, suites)}
