"""Agents of every kind and suite give the same bytes under every kernel and SIMD level.

Each setting is a fresh process, because NumPy, OpenBLAS, ONNX Runtime and torch read it when they
are loaded. Settings that the processor at hand cannot run are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from pkubench.evaluation.run.machine import environment_of, machine

Pairs = tuple[tuple[str, str, int], ...]
ROOT = Path(__file__).parents[2]
QUICK = (
    ("happo", "SimpleSpread-v0", 16),
    ("hasac", "SimpleSpreadContinuous-v0", 16),
    ("ppo-lag@1", "HopperVelocity-v0", 1),
    ("cpo", "PointCircle1-v0", 1),
    ("psro@0", "LeducPoker-v0", 1),
    ("scripted:optimum", "SpeedLimit-v0", 16),
    ("random", "MultiHalfCheetah2x3-v1", 1),
    ("onnx:{folder}/policy", "SimpleSpreadContinuous-v0", 16),
    ("sb3:{folder}/dense.zip", "SpeedLimit-v0", 16),
    ("sb3:{folder}/predicting.zip", "SpeedLimit-v0", 16),
)
"""Agent, task and episodes: each kind (on policy, off policy, population, scripted, random, ONNX,
SB3 rebuilt and through ``predict``), each suite."""
FEW = (QUICK[0], QUICK[2])
"""A team's network on particles, and one whose actions drive MuJoCo."""
THOROUGH = (
    *QUICK,
    ("happo", "MultiAnt4x2-v1", 2),
    ("mappo", "MultiHalfCheetah2x3-v1", 4),
    ("hatd3", "MultiHopper3x1-v0", 8),
    ("ppo", "HalfCheetahVelocity-v0", 4),
    ("ppo-lag", "PointGoal1-v0", 4),
    ("trpo-lag", "CarGoal1-v0", 2),
    ("ppo-saute", "PointCircle1-v0", 8),
    ("sac-lag", "PointCircle1-v0", 8),
    ("happo-lag", "MultiHalfCheetah2x3Velocity-v1", 4),
    ("mappo", "SimpleReference-v0", 64),
    ("psro", "KuhnPoker-v0", 1),
    ("scripted:equilibrium", "KuhnPoker-v0", 1),
    ("scripted:optimum", "RiskyCorridor-v0", 64),
    ("random", "SimpleSpeakerListenerContinuous-v0", 64),
)
KERNELS = ("", "Haswell", "SkylakeX", "Nehalem")
LEVELS = ("", "X86_V4 AVX512_ICL AVX512_SPR", "X86_V3 X86_V4 AVX512_ICL AVX512_SPR")
"""What of NumPy's SIMD levels is switched off."""

SCRIPT = """
import hashlib, json, pathlib, sys, tempfile
import pkubench
from pkubench.evaluation.run.machine import machine
found = {}
for agent, task, episodes in json.loads(sys.argv[1]):
    with tempfile.TemporaryDirectory() as out:
        report = pkubench.evaluate(
            agent, task, episodes=episodes, workers=0, out=out, trust=agent.startswith("sb3:")
        )
        assert report.failed == 0, (agent, report.failures)
        lines = b"".join(p.read_bytes() for p in sorted(pathlib.Path(out).rglob("episodes.jsonl")))
    found[f"{agent} {task}"] = hashlib.sha256(lines).hexdigest()
print(json.dumps({"machine": machine(), "found": found}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the agents that are files."""
    import gymnasium
    import stable_baselines3 as sb3
    from torch import nn

    import pkubench
    from pkubench.agents.adapters.onnx_export import export_onnx

    folder = tmp_path_factory.mktemp("agents")
    export_onnx(pkubench.load_agent("happo", "SimpleSpreadContinuous-v0"), folder / "policy")
    env = gymnasium.make("pkubench/SpeedLimit-v0")
    sb3.PPO("MlpPolicy", env, seed=0, device="cpu").save(folder / "dense.zip")
    settings = {"activation_fn": nn.GELU}  # which the exporter does not support
    sb3.PPO("MlpPolicy", env, seed=0, device="cpu", policy_kwargs=settings).save(
        folder / "predicting.zip"
    )
    return folder


def settings(thorough: bool) -> Iterator[dict[str, str]]:
    """Yield the variables of each setting that this processor can run, the plain one first."""
    here = machine()
    library, _, own = here["blas"].rpartition(" ")
    seen = set()
    for kernel, off in product(KERNELS, LEVELS):
        simd = " ".join(level for level in here["simd"].split() if level not in off.split())
        facts = {**here, "simd": simd, "blas": f"{library} {kernel or own}"}
        variables = environment_of([facts], here)
        if variables and (simd, kernel or own) not in seen:
            seen.add((simd, kernel or own))
            yield {**variables, "ATEN_CPU_CAPABILITY": "default" if off and kernel else ""}
    if thorough:
        yield {"ATEN_CPU_CAPABILITY": "default"}


def hashes(
    pairs: Pairs, folder: Path, variables: dict[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Evaluate in a fresh process; return the machine it reports, and the hash of each record."""
    env = {**os.environ, **{name: value for name, value in variables.items() if value}}
    env["OMP_NUM_THREADS"] = "1"
    if "OPENBLAS_CORETYPE" in variables:
        env.pop("OPENBLAS_L2_SIZE", None)
    spelled = [(agent.format(folder=folder), *rest) for agent, *rest in pairs]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(spelled)]
    ran = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer = json.loads(ran.stdout.splitlines()[-1])
    return answer["machine"], answer["found"]


def check(
    pairs: tuple[tuple[str, str, int], ...], folder: Path, chosen: list[dict[str, str]]
) -> None:
    facts, expected = hashes(pairs, folder, chosen[0])
    for variables in chosen[1:]:
        there, found = hashes(pairs, folder, variables)
        is_another = any(there[fact] != facts[fact] for fact in ("simd", "blas"))
        assert is_another or variables.get("ATEN_CPU_CAPABILITY"), "the setting changed nothing"
        assert found == expected, (variables, there)


def two_settings() -> list[dict[str, str]]:
    every = list(settings(thorough=False))
    assert len(every) >= 2, "this processor runs one setting only"
    return [every[0], every[-1]]


def test_records_are_the_same_bytes_under_another_kernel_and_simd_level(tmp_path: Path) -> None:
    check(FEW, tmp_path, two_settings())


@pytest.mark.slow
def test_records_of_every_kind_of_agent_are_the_same_bytes_under_another(folder: Path) -> None:
    check(QUICK, folder, two_settings())


@pytest.mark.slow
def test_records_are_the_same_bytes_under_every_setting_that_the_processor_can_run(
    folder: Path,
) -> None:
    check(THOROUGH, folder, list(settings(thorough=True)))
