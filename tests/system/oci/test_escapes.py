"""What a container tries in order to get out, and what it meets: by a real runc on this host.

The calls are those that Docker's documentation lists as refused by its default profile ("Seccomp
security profiles for Docker"), without those that piimage's allows (ptrace and process_vm_readv:
see piimage/container/seccomp.py), and the newer ones that reach as far. Prints what each met.
tests/system/boot/test_confinement.py does the same for files, under AppArmor.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.system.oci.test_runc import PYTHON, Host, host

__all__ = ["host"]

# Numbers of x86_64 (Linux, arch/x86/entry/syscalls/syscall_64.tbl).
CALLS = {
    "_sysctl": 156, "acct": 163, "add_key": 248, "bpf": 321, "clock_settime": 227,
    "create_module": 174, "delete_module": 176, "fanotify_init": 300, "finit_module": 313,
    "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433, "get_kernel_syms": 177,
    "get_mempolicy": 239, "init_module": 175, "io_uring_enter": 426, "io_uring_register": 427,
    "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_file_load": 320,
    "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mbind": 237, "migrate_pages": 256,
    "mount": 165, "mount_setattr": 442, "move_mount": 429, "move_pages": 279, "nfsservctl": 180,
    "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "pidfd_getfd": 438,
    "pivot_root": 155, "process_madvise": 440, "query_module": 178, "quotactl": 179,
    "quotactl_fd": 443, "reboot": 169, "request_key": 249, "set_mempolicy": 238,
    "setdomainname": 171, "sethostname": 170, "setns": 308, "settimeofday": 164, "swapoff": 168,
    "swapon": 167, "sysfs": 139, "syslog": 103, "umount2": 166, "unshare": 272, "uselib": 134,
    "userfaultfd": 323, "ustat": 136, "vhangup": 153,
}  # fmt: skip

_PROGRAM = """
import ctypes, errno, json
libc = ctypes.CDLL(None, use_errno=True)
met = {}
for name, number in %r.items():
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    met[name] = "ok" if done >= 0 else errno.errorcode[ctypes.get_errno()]
print(json.dumps(met))
"""


def test_no_system_call_leads_out_of_a_container(
    host: Host,  # the fixture
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (PYTHON, "-I", "-c", _PROGRAM % CALLS)
    met: dict[str, str] = json.loads(host.run_words(*words, binds=["/usr:/usr:ro"]).out)
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {name:20} {result}" for name, result in met.items()))
    assert {name for name, result in met.items() if result != "EPERM"} == set()
    assert len(CALLS) >= 57


def test_it_is_the_profile_that_refuses_them(host: Host) -> None:
    """Without it, most of them meet a kernel that looks at their arguments."""
    safe = {name: CALLS[name] for name in CALLS if name not in ("vhangup", "reboot")}
    words = (PYTHON, "-I", "-c", _PROGRAM % safe)
    out = host.run_words(*words, binds=["/usr:/usr:ro"], seccomp="unconfined").out
    reached = [name for name, result in json.loads(out).items() if result not in ("EPERM",)]
    assert {"keyctl", "bpf", "userfaultfd", "unshare"} & set(reached)
