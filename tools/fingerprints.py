"""Short trainings of every learner, as hashes of the weights they end with.

Two commits that train identically print the same hashes on one machine, so a change that must not
change any number is checked by a diff:

    python -m tools.fingerprints --out before.json     # at the commit before
    python -m tools.fingerprints --out after.json      # at the commit after
    diff before.json after.json

Only the command line is used, so that it runs at any commit; a run takes a few iterations.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_SMALL = ("num_envs=4", "rollout_steps=32", "hidden=[16,16]")
_REPLAY = (
    "num_envs=4",
    "warmup_steps=200",
    "batch_size=32",
    "hidden=[16,16]",
    "train_interval=10",
    "updates_per_step=1",
)
_SAFE = (*_SMALL, "minibatches=4", "epochs=2", "critic_epochs=2")
_ONE_ROBOT = [
    "policy-gradient",
    "natural-pg",
    "ppo",
    "trpo",
    "ppo-lag",
    "trpo-lag",
    "rcpo",
    "pdo",
    "cppo-pid",
    "trpo-pid",
    "cpo",
    "pcpo",
    "focops",
    "cup",
    "p3o",
    "ipo",
    "crpo",
    "ppo-saute",
    "ppo-early-terminated",
]
_BY_A_STEP = ["natural-pg", "trpo", "trpo-lag", "rcpo", "trpo-pid", "cpo", "pcpo", "crpo"]
_TEAM = [
    "happo",
    "mappo",
    "ippo",
    "hatrpo",
    "haa2c",
    "happo-simultaneous",
    "hatrpo-simultaneous",
    "haa2c-simultaneous",
]
_OFF_TEAM = ["hasac", "hatd3", "haddpg", "masac", "matd3", "maddpg", "hasac-simultaneous"]
_GAMES = [
    "psro",
    "p-psro",
    "psro-rn",
    "dpp-psro",
    "bd-rd-psro",
    "psd-psro",
    "psd-psro-hull",
    "self-play",
    "cfr+",
    "cfr",
    "xfp",
]

RUNS: tuple[tuple[str, str, int, tuple[str, ...]], ...] = (
    *((name, "SpeedLimit-v0", 512, _SAFE) for name in _ONE_ROBOT),
    *((name, "SimpleSpread-v0", 512, _SMALL) for name in _TEAM),
    *((name, "SimpleSpreadContinuous-v0", 512, _SMALL) for name in ("happo", "hatrpo")),
    ("happo", "SimpleSpeakerListener-v0", 512, (*_SMALL, "minibatches=3", "lr_decay=true")),
    ("happo-paper", "SimpleSpread-v0", 512, _SMALL),
    ("ppo", "HopperVelocity-v0", 512, _SAFE),
    ("cpo", "HopperVelocity-v0", 512, _SAFE),
    ("ppo-lag", "PointGoal1-v0", 512, _SAFE),
    ("happo-lag", "MultiHalfCheetah2x3Velocity-v1", 512, (*_SMALL, "minibatches=4")),
    *((name, "SimpleSpreadContinuous-v0", 800, _REPLAY) for name in _OFF_TEAM),
    *((name, "SimpleSpread-v0", 800, _REPLAY) for name in ("hasac", "hatd3", "masac")),
    *(
        (name, "SpeedLimit-v0", 800, _REPLAY)
        for name in ("ddpg", "td3", "sac", "sac-lag", "td3-pid", "ddpg-lag")
    ),
    ("hasac-lag", "MultiHalfCheetah2x3Velocity-v1", 800, _REPLAY),
    ("hasac-paper", "MultiHopper3x1-v0", 800, _REPLAY),
    *((name, "KuhnPoker-v0", 6, ()) for name in _GAMES),
    *((name, "LeducPoker-v0", 4, ()) for name in ("psro", "psd-psro", "cfr+", "xfp")),
    (
        "psro-deep",
        "KuhnPoker-v0",
        2,
        ("hidden=[16]", "parallel_games=16", "response_episodes=160", "batch_size=16"),
    ),
)
"""Agent, task, steps and settings of each run."""


def _train(run: tuple[str, str, int, tuple[str, ...]]) -> tuple[str, str]:
    agent, task, steps, settings = run
    key = " ".join((agent, task, str(steps), *settings))
    with tempfile.TemporaryDirectory() as parent:
        out = Path(parent) / "run"
        command = [sys.executable, "-m", "pkubench", "train", agent, task, "--seed", "7"]
        command += ["--steps", str(steps), "--out", str(out), "--quiet"]
        for setting in settings:
            # a commit that accepts it trains the same: a step has no passes
            if agent not in _BY_A_STEP or not setting.startswith("epochs="):
                command += ["--set", setting]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return key, f"failed: {done.stderr.strip().splitlines()[-1:]}"
        return key, hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """Train all runs and write their hashes, by what was trained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="only runs whose key holds this text")
    options = parser.parse_args()
    chosen = [run for run in RUNS if options.only in " ".join((run[0], run[1]))]
    with ThreadPoolExecutor(options.workers) as pool:
        found = dict(pool.map(_train, chosen))
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    failed = [key for key, value in found.items() if value.startswith("failed")]
    print(f"{len(found)} runs, {len(failed)} failed", *failed, sep="\n")


if __name__ == "__main__":
    main()
