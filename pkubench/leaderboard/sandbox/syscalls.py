"""A filter of system calls for the sandbox: a program of classic BPF, as seccomp takes it.

Refused is what the limits do not count (memory of System V, ``memfd_create``), what reaches past
the namespaces (sockets of other kinds than ``AF_UNIX``: those to a hypervisor belong to no network
namespace), and what no agent needs and kernels had many faults in (``bpf``, ``io_uring``,
``userfaultfd``, ``perf_event_open``, keys, tracing, mounts, modules). Such a call returns an error;
a program of another architecture is killed.

The instructions are those of ``linux/filter.h``, and what the program reads is ``struct
seccomp_data`` (seccomp(2)): number of the call at 0, architecture at 4, arguments from 16 on.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import NamedTuple

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_AF_UNIX = 1
_X32 = 0x40000000
"""From here on are the calls of x86-64's 32-bit pointers, which would get past the numbers."""

_COMMON = {
    **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432},
    **{"fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447},
}
"""Calls that are younger than the architectures' own numbers."""


class Machine(NamedTuple):
    """An architecture: its name for audits, and the numbers of its calls."""

    audit: int
    """``AUDIT_ARCH_...`` of ``linux/audit.h``."""
    socket: int
    refused: dict[str, int]


MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        socket=41,
        refused={
            **{"shmget": 29, "shmat": 30, "shmctl": 31, "shmdt": 67},
            **{"semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220},
            **{"msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71},
            **{"mq_open": 240, "mq_unlink": 241, "memfd_create": 319},
            **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
            **{"add_key": 248, "request_key": 249, "keyctl": 250},
            **{"perf_event_open": 298, "bpf": 321, "userfaultfd": 323, "fanotify_init": 300},
            **{"personality": 135, "modify_ldt": 154, "syslog": 103, "lookup_dcookie": 212},
            **{"pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "quotactl": 179},
            **{"unshare": 272, "setns": 308, "name_to_handle_at": 303, "open_by_handle_at": 304},
            **{"acct": 163, "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172},
            **{"ioperm": 173, "sethostname": 170, "setdomainname": 171},
            **{"adjtimex": 159, "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305},
            **{"init_module": 175, "delete_module": 176, "finit_module": 313},
            **{"kexec_load": 246, "kexec_file_load": 320},
            **_COMMON,
        },
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        socket=198,
        refused={
            **{"shmget": 194, "shmctl": 195, "shmat": 196, "shmdt": 197},
            **{"semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193},
            **{"msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189},
            **{"mq_open": 180, "mq_unlink": 181, "memfd_create": 279},
            **{"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
            **{"add_key": 217, "request_key": 218, "keyctl": 219},
            **{"perf_event_open": 241, "bpf": 280, "userfaultfd": 282, "fanotify_init": 262},
            **{"personality": 92, "syslog": 116, "lookup_dcookie": 18},
            **{"pivot_root": 41, "chroot": 51, "mount": 40, "umount2": 39, "quotactl": 60},
            **{"unshare": 97, "setns": 268, "name_to_handle_at": 264, "open_by_handle_at": 265},
            **{"acct": 89, "swapon": 224, "swapoff": 225, "reboot": 142},
            **{"sethostname": 161, "setdomainname": 162},
            **{"adjtimex": 171, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266},
            **{"init_module": 105, "delete_module": 106, "finit_module": 273},
            **{"kexec_load": 104, "kexec_file_load": 294},
            **_COMMON,
        },
    ),
}


def syscall_filter() -> bytes | None:
    """Return the filter for this machine; None on one whose calls are not known here."""
    machine = MACHINES.get(platform.machine())
    return None if machine is None else program(machine)


def program(machine: Machine) -> bytes:
    """Return the filter for a machine: instructions of 8 bytes (code, two jumps, operand)."""
    numbers = sorted(machine.refused.values())
    # The ends, which jumps lead forward to by their distance.
    ends = [
        (_RETURN, _ALLOW),
        (_RETURN, _ERROR | errno.EPERM),
        (_RETURN, _ERROR | errno.EAFNOSUPPORT),
        (_RETURN, _KILL),
    ]
    body = [
        (_LOAD, "", "", _ARCHITECTURE_AT),
        (_IF_EQUAL, "", "kill", machine.audit),
        (_LOAD, "", "", _NUMBER_AT),
        (_IF_AT_LEAST, "kill", "", _X32),
        *((_IF_EQUAL, "refuse", "", number) for number in numbers),
        (_IF_EQUAL, "", "allow", machine.socket),
        (_LOAD, "", "", _FIRST_ARGUMENT_AT),
        (_IF_EQUAL, "allow", "unknown", _AF_UNIX),
    ]
    places = {"allow": 0, "refuse": 1, "unknown": 2, "kill": 3}
    found = b""
    for at, (code, if_true, if_false, operand) in enumerate(body):
        jumps = [len(body) + places[name] - at - 1 if name else 0 for name in (if_true, if_false)]
        found += struct.pack("<HBBI", code, *jumps, operand)
    return found + b"".join(struct.pack("<HBBI", code, 0, 0, value) for code, value in ends)
