"""Training speed of OmniSafe's own PPOLag; run in its own environment (`OMNISAFE` of the peers).

``python omnisafe_peer.py TASK STEPS ITERATIONS BATCH ENVIRONMENTS EPOCHS`` prints, as JSON, the
environment steps per second of the best epoch, its seconds of rollout and of update, and the steps
per second of processor time over all epochs, which depends less on other load. An epoch is STEPS
steps and ITERATIONS passes over them in minibatches of BATCH, with no early stop, so that the
number of updates is the same for both; all else is OmniSafe's preset.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Train, read what OmniSafe logged, print."""
    task = sys.argv[1]
    steps, iterations, batch, environments, epochs = (int(word) for word in sys.argv[2:])
    stdout = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        import omnisafe

        settings = {
            "train_cfgs": {
                "total_steps": steps * epochs,
                "vector_env_nums": environments,
                "torch_threads": 1,
            },
            "algo_cfgs": {
                "steps_per_epoch": steps,
                "update_iters": iterations,
                "batch_size": batch,
                "kl_early_stop": False,
            },
            "logger_cfgs": {"use_wandb": False, "use_tensorboard": False},
        }
        agent = omnisafe.Agent("PPOLag", f"Safety{task}-v0", custom_cfgs=settings)
        spent = time.process_time()
        agent.learn()
        spent = time.process_time() - spent
        (log,) = Path(folder).rglob("progress.csv")
        with log.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        os.chdir("/")
    best = min(rows, key=lambda row: float(row["Time/Epoch"]))
    os.dup2(stdout, 1)
    found = {
        "steps": steps / float(best["Time/Epoch"]),
        "rollout_s": float(best["Time/Rollout"]),
        "update_s": float(best["Time/Update"]),
        "cpu_steps": steps * epochs / spent,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
