"""On what kind of machine records were made, and which kinds this one can imitate.

Agents act in float64 and their actions are rounded to float32, so that records are nearly always
the same bytes everywhere. Where they are not, this says what differs: the processor, the
instruction sets that NumPy uses, the kernel of its linear algebra, and the C library.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import math
import os
import platform
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

MACHINES = "machines"
"""Setting of ``run.json``: the facts of each machine that wrote some of the records."""
DECISIVE = ("simd", "blas", "libc")
"""Facts that may change a bit; two processors with the same ones compute the same."""

_FACTS = ("processor", *DECISIVE)
_MAX_MACHINES = 16
_DISABLED = "NPY_DISABLE_CPU_FEATURES"
_FEATURES = {
    "Nehalem": ("SSE42",),
    "Sandybridge": ("AVX",),
    "Haswell": ("AVX2", "FMA3"),
    "Zen": ("AVX2", "FMA3"),
    "SkylakeX": ("AVX512F", "AVX512_SKX"),
}
"""Kernel of OpenBLAS -> the processor features, as NumPy calls them, that it needs."""


def machine() -> dict[str, str]:
    """Return the facts of this process: ``processor``, ``simd``, ``blas`` and ``libc``."""
    return {
        "processor": _processor(),
        "simd": " ".join(_simd()),
        "blas": _blas(),
        "libc": f"{' '.join(platform.libc_ver()).strip() or platform.system()} {_libm()}",
    }


def machines_of(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the machines that wrote a run's records, as its ``run.json`` says; [] if it does not.

    It is untrusted input: entries that do not have the form that we write are ignored.
    """
    found = settings.get(MACHINES)
    if not isinstance(found, list) or not all(map(_is_machine, found)):
        return []
    return [dict(facts) for facts in found[:_MAX_MACHINES]]


def _is_machine(facts: Any) -> bool:
    return isinstance(facts, dict) and all(
        name in _FACTS and isinstance(value, str) and value.isprintable() and len(value) <= 200
        for name, value in facts.items()
    )


def differences(then: Iterable[Mapping[str, str]], now: Mapping[str, str]) -> list[str]:
    """Return in words what may have changed a bit since records were made; nothing if all agree.

    Args:
        then: the machines that wrote them, as their ``run.json`` says.
        now: this one.
    """
    machines = list(then)
    if not machines:
        return ["the records do not say on what machine they were made"]
    return [
        f"{fact} {found.get(fact, 'unknown')} then, {now[fact]} now"
        for fact in DECISIVE
        for found in machines
        if found.get(fact) != now[fact]
    ]


def environment_of(then: Iterable[Mapping[str, str]], now: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a child process here computes as the recorded machine did.

    OpenBLAS and NumPy take a kernel and a SIMD level from the environment when they are loaded.

    Returns:
        Name -> value; nothing if this processor cannot, or if other facts differ too.
    """
    kinds = {tuple(found.get(fact, "") for fact in DECISIVE) for found in then}
    if len(kinds) != 1:
        return {}
    ((simd, blas, libc),) = kinds
    library, _, kernel = blas.rpartition(" ")
    own_library, _, own_kernel = now["blas"].rpartition(" ")
    available, wanted = set(now["simd"].split()), set(simd.split())
    # NumPy does not start without the instruction sets that it was built to need.
    needed = set(getattr(_umath(), "__cpu_baseline__", ()))
    if libc != now["libc"] or library != own_library or not needed <= wanted <= available:
        return {}
    off = {*os.environ.get(_DISABLED, "").split(), *(available - wanted)}  # stays off, goes off
    variables = {_DISABLED: " ".join(sorted(off))}
    if kernel != own_kernel:
        if not all(map(_has, _FEATURES.get(kernel, ("unknown",)))):
            return {}
        variables["OPENBLAS_CORETYPE"] = kernel
    return variables


def _simd() -> list[str]:
    """Return the instruction sets that NumPy was built for and uses here, lowest first."""
    umath = _umath()
    levels = [*getattr(umath, "__cpu_baseline__", ()), *getattr(umath, "__cpu_dispatch__", ())]
    return [level for level in levels if _has(level)] or ["unknown"]


def _has(feature: str) -> bool:
    return bool(getattr(_umath(), "__cpu_features__", {}).get(feature))


def _umath() -> Any:
    """Return the module that holds what ``numpy.show_runtime`` prints; it has no public name."""
    try:
        return importlib.import_module("numpy._core._multiarray_umath")
    except ImportError:
        return None


def _blas() -> str:
    """Return library, version and kernel of NumPy's linear algebra (SciPy may load its own)."""
    import numpy as np

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    site = Path(np.__file__).parent.parent
    own = [lib for lib in found if _is_below(lib["filepath"], site / "numpy.libs", site / "numpy")]
    for library in own or found:
        words = (library["internal_api"], library["version"], library.get("architecture"))
        return " ".join(str(word) for word in words if word)
    return "unknown"


def _is_below(path: str, *folders: Path) -> bool:
    return any(Path(path).resolve().is_relative_to(folder.resolve()) for folder in folders)


@functools.cache
def _libm() -> str:
    """Return a fingerprint of what the C library's mathematical functions give to the last bit.

    One version of glibc has several variants of each and takes one by the processor (FMA, AVX2), or
    by ``GLIBC_TUNABLES``; physics calls them.
    """
    # The variants differ in about one value of 2,000.
    points = [math.fmod(61.803398874989 * k, 100.0) for k in range(1, 10_001)]
    values = [function(x) for function in (math.sin, math.cos, math.exp) for x in points]
    return hashlib.sha256(struct.pack(f"<{len(values)}d", *values)).hexdigest()[:8]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
