from __future__ import annotations

import pytest

from piimage.config.fields import CAPABILITIES
from piimage.oci.seccomp import default_profile


def allowed(*capabilities: str, architecture: str = "arm64") -> set[str]:
    profile = default_profile(capabilities, architecture)
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


FORBIDDEN = {
    "acct", "add_key", "bpf", "clock_settime", "create_module", "delete_module", "finit_module",
    "get_mempolicy", "init_module", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load",
    "kexec_load", "keyctl", "mount", "nfsservctl", "open_by_handle_at", "perf_event_open",
    "pivot_root", "quotactl", "reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon",
    "sysfs", "_sysctl", "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vm86", "chroot",
}  # fmt: skip


def test_what_engines_forbid_is_forbidden() -> None:
    assert allowed() & FORBIDDEN == set()


@pytest.mark.parametrize(
    ("capability", "calls"),
    [
        ("CAP_SYS_ADMIN", {"mount", "umount2", "unshare", "setns", "clone", "clone3", "bpf"}),
        ("CAP_SYS_BOOT", {"reboot"}),
        ("CAP_SYS_CHROOT", {"chroot"}),
        ("CAP_SYS_MODULE", {"init_module", "finit_module", "delete_module"}),
        ("CAP_SYS_TIME", {"clock_settime", "settimeofday"}),
        ("CAP_SYS_PTRACE", {"kcmp"}),
        ("CAP_NET_ADMIN", set()),
    ],
)
def test_a_capability_brings_its_calls(capability: str, calls: set[str]) -> None:
    assert allowed(capability) - allowed() >= calls


def test_some_calls_no_capability_brings() -> None:
    never = {"keyctl", "add_key", "request_key", "kexec_load", "io_uring_setup", "swapon"}
    assert allowed(*CAPABILITIES) & never == set()


def test_the_architectures_are_those_of_the_machine() -> None:
    assert default_profile(())["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "cacheflush" in allowed()
    assert "arch_prctl" in allowed(architecture="amd64")
    assert "arch_prctl" not in allowed()


def test_no_name_is_written_twice() -> None:
    for rule in default_profile(CAPABILITIES)["syscalls"]:
        assert len(rule["names"]) == len(set(rule["names"]))
        assert rule["names"] == sorted(rule["names"])
