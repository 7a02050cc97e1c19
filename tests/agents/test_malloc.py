"""Freed arrays stay with the process after ``keep_freed_memory``."""

import platform
import subprocess
import sys

import pytest

from pkubench.agents.rl.malloc import keep_freed_memory

_COUNT_FAULTS = """
import resource, sys
import numpy as np
from pkubench.agents.rl.malloc import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def churn(rounds):
    for _ in range(rounds):
        arrays = [np.ones(1 << 20, np.float32) for _ in range(8)]  # 4 MiB each
churn(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
is_glibc = platform.libc_ver()[0] == "glibc"


def test_reports_whether_the_setting_was_accepted() -> None:
    assert keep_freed_memory() is is_glibc


@pytest.mark.skipif(not is_glibc, reason="only glibc accepts the setting")
def test_reused_arrays_cost_no_new_pages() -> None:
    def faults(advice: str) -> int:
        command = [sys.executable, "-c", _COUNT_FAULTS, advice]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # 10 rounds of 8 x 4 MiB are 80 Ki pages of 4 KiB when each array is new
    assert faults("none") > 10_000
    assert faults("keep") < 1_000
