"""Every environment still plays its golden episode."""

from __future__ import annotations

import pytest

from tests.envs import golden
from tests.envs.tape import SAMPLE

TOLERANCE = {
    "particle": 2e-5,
    "linear_quadratic": 1e-5,
    "credit": 2e-5,
    "battle": 1e-5,
    "memory": 1e-6,
    "safety": 1e-3,
    "multi_mujoco": 1e-3,
    "games": 0.0,
    "alignment": 1e-6,
    "diagnostics": 1e-6,
    "minigrid": 0.0,
    "grasp": 1e-3,
}
"""How far a number may lie from the written one, relatively or (below 1) absolutely."""


def differences(now: str, then: str, tolerance: float) -> list[str]:
    """Return the lines that differ by more than rounding."""
    lines, wanted = now.splitlines(), then.splitlines()
    found = [f"{len(lines)} lines, {len(wanted)} written"] if len(lines) != len(wanted) else []
    for number, (line, want) in enumerate(zip(lines, wanted, strict=False), start=1):
        if not all(_alike(*pair, tolerance) for pair in _pairs(line, want)):
            found.append(f"line {number}: {line!r}, written {want!r}")
    return found


def _pairs(line: str, want: str) -> list[tuple[str, str]]:
    words, wanted = line.split(), want.split()
    longer = max(len(words), len(wanted))
    words += [""] * (longer - len(words))
    wanted += [""] * (longer - len(wanted))
    return list(zip(words, wanted, strict=True))


def _alike(word: str, want: str, tolerance: float) -> bool:
    if word == want:
        return True
    try:
        number, wanted = float(word), float(want)
    except ValueError:
        return False
    return abs(number - wanted) <= tolerance * max(1.0, abs(wanted))


@pytest.mark.parametrize("env", SAMPLE)
def test_it_plays_as_it_did(env: str) -> None:
    file = golden.path(env)
    assert file.exists(), f"write it: python -m tests.envs.golden --write {env}"
    tolerance = TOLERANCE[golden.family(env)]
    found = differences(golden.trace(env), file.read_text(encoding="utf-8"), tolerance)
    assert found == [], "an environment that behaves differently is a new -vN"


def test_no_playthrough_is_left_over() -> None:
    assert {file.name for file in golden.FOLDER.glob("*.txt")} == {
        golden.path(env).name for env in SAMPLE
    }


def test_a_difference_is_found() -> None:
    then = "step 1\n  agent earns -1.50000\n"
    assert differences(then, then, 0.0) == []
    assert differences(then.replace("-1.5", "-1.50001"), then, 2e-5) == []
    assert differences(then.replace("-1.5", "-1.6"), then, 2e-5) != []
    assert differences(then.replace("agent", "actor"), then, 1.0) != []
    assert differences(then + "truncated\n", then, 1.0) != []
    assert differences(then.replace("1.50000", "1.50000 2"), then, 1.0) != []
