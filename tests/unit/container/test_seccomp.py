"""The default seccomp profile, judged as the kernel would judge a call.

Expected values are written out from Docker's documentation ("Seccomp security profiles for Docker":
the table of calls that are blocked, and which capability allows them; its profile default.json) and
the kernel's headers (sched.h, socket.h, personality.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from piimage.config.fields import CAPABILITIES
from piimage.container.seccomp import default_profile

ALLOWED = "allowed"
EPERM, ENOSYS = 1, 38


def verdict(profile: Mapping[str, Any], name: str, *arguments: int) -> str | int:
    """What a system call gets: ALLOWED, or an errno. All of a rule's conditions have to fit.

    Sources: OCI runtime-spec, config-linux.md ("Seccomp"); seccomp_rule_add(3).
    """
    for rule in profile["syscalls"]:
        if name in rule["names"] and all(
            _fits(condition, arguments) for condition in rule.get("args", ())
        ):
            if rule["action"] == "SCMP_ACT_ALLOW":
                return ALLOWED
            assert rule["action"] == "SCMP_ACT_ERRNO"
            return int(rule["errnoRet"])
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    return int(profile["defaultErrnoRet"])


def _fits(condition: Mapping[str, Any], arguments: tuple[int, ...]) -> bool:
    argument = arguments[condition["index"]]
    match condition["op"]:
        case "SCMP_CMP_NE":
            return bool(argument != condition["value"])
        case "SCMP_CMP_EQ":
            return bool(argument == condition["value"])
        case "SCMP_CMP_MASKED_EQ":  # the mask comes first, then what has to be left of it
            return bool(argument & condition["value"] == condition["valueTwo"])
    raise AssertionError(condition)


def named(*capabilities: str, architecture: str = "arm64") -> set[str]:
    """Every call that some arguments are allowed for."""
    rules = default_profile(capabilities, architecture)["syscalls"]
    allowing = (rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW")
    return {name for rule in allowing for name in rule["names"]}


def unconditional(*capabilities: str) -> set[str]:
    rules = default_profile(capabilities)["syscalls"]
    return {
        name
        for rule in rules
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


# The documentation's table, except for the calls that it allows with other arguments (clone,
# personality), and ptrace with process_vm_*, which default.json allows since Linux 4.8.
FORBIDDEN = {
    "acct", "add_key", "bpf", "clock_settime", "clone3", "create_module", "delete_module",
    "finit_module", "get_kernel_syms", "get_mempolicy", "init_module", "ioperm", "iopl", "kcmp",
    "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mbind", "mount", "move_pages",
    "nfsservctl", "open_by_handle_at", "perf_event_open", "pivot_root", "query_module", "quotactl",
    "reboot", "request_key", "set_mempolicy", "setns", "settimeofday", "stime", "swapoff", "swapon",
    "sysfs", "_sysctl", "umount", "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vm86",
    "vm86old", "io_uring_setup", "io_uring_enter", "io_uring_register", "chroot", "syslog",
    "fsopen", "fsmount", "fsconfig", "fspick", "move_mount", "open_tree", "mount_setattr",
    "vhangup", "pidfd_getfd", "process_madvise", "fanotify_init", "sethostname", "setdomainname",
}  # fmt: skip


@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_what_engines_forbid_is_forbidden(architecture: str) -> None:
    assert named(architecture=architecture) & FORBIDDEN == set()
    profile = default_profile((), architecture)
    assert {verdict(profile, name) for name in FORBIDDEN - {"clone3"}} == {EPERM}


def test_what_needs_a_look_at_the_arguments_is_never_allowed_without_one() -> None:
    assert named() - unconditional() == {"clone", "personality", "socket"}


NEW_NAMESPACES = {
    "CLONE_NEWNS": 0x00020000, "CLONE_NEWCGROUP": 0x02000000, "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000, "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
}  # fmt: skip
SIGCHLD = 17
# What glibc's pthread_create asks for: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
# PARENT_SETTID, CHILD_CLEARTID.
THREAD = 0x003D0F00


@pytest.mark.parametrize("flag", NEW_NAMESPACES.values(), ids=NEW_NAMESPACES)
def test_no_new_namespace_is_made(flag: int) -> None:
    for more in (0, SIGCHLD, THREAD):
        assert verdict(default_profile(()), "clone", flag | more) == EPERM
        assert verdict(default_profile(["CAP_NET_ADMIN"]), "clone", flag | more) == EPERM
        assert verdict(default_profile(["CAP_SYS_ADMIN"]), "clone", flag | more) == ALLOWED


def test_processes_and_threads_are_made() -> None:
    profile = default_profile(())
    for bit in range(32):
        wanted = EPERM if 1 << bit in NEW_NAMESPACES.values() else ALLOWED
        assert verdict(profile, "clone", 1 << bit) == wanted, hex(1 << bit)
    assert verdict(profile, "clone", THREAD) == ALLOWED
    assert verdict(profile, "clone", SIGCHLD) == ALLOWED


def test_clone3_is_as_if_the_kernel_did_not_have_it() -> None:
    # Its flags lie in memory, and libc falls back to clone on ENOSYS alone.
    assert verdict(default_profile(()), "clone3") == ENOSYS
    assert verdict(default_profile(["CAP_SYS_ADMIN"]), "clone3") == ALLOWED
    # One rule for a call: libseccomp refuses two that contradict one another.
    for capabilities in ([], ["CAP_SYS_ADMIN"]):
        found = default_profile(capabilities)["syscalls"]
        for name in ("clone", "clone3"):
            assert sum(name in rule["names"] for rule in found) == 1


AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_CAN, AF_ALG, AF_VSOCK = (
    1, 2, 10, 16, 17, 29, 38, 40,
)  # fmt: skip


def test_sockets_of_every_family_but_vsock_are_made() -> None:
    for capabilities in ((), CAPABILITIES):
        profile = default_profile(capabilities)
        assert verdict(profile, "socket", AF_VSOCK) == EPERM
        for family in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_CAN, AF_ALG, 39, 41):
            assert verdict(profile, "socket", family) == ALLOWED


@pytest.mark.parametrize(
    ("persona", "expected"),
    [
        (0x0, ALLOWED),  # PER_LINUX
        (0x8, ALLOWED),  # PER_LINUX32
        (0x20000, ALLOWED),  # UNAME26
        (0x20008, ALLOWED),
        (0xFFFFFFFF, ALLOWED),  # the query
        (0x0040000, EPERM),  # ADDR_NO_RANDOMIZE
        (0x0400000, EPERM),  # READ_IMPLIES_EXEC
        (0x1, EPERM),
        (0x40008, EPERM),
    ],
)
def test_the_personalities_that_harden_nothing_away(persona: int, expected: str | int) -> None:
    assert verdict(default_profile(()), "personality", persona) == expected


# default.json; open_tree_attr came with Linux 6.15 and is what open_tree is.
BROUGHT = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": "bpf clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
    "mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd "
    "setdomainname sethostname setns syslog umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_capability_brings_its_calls_and_no_other(capability: str) -> None:
    assert named(capability) - named() == set(BROUGHT.get(capability, "").split())
    assert named() <= named(capability)


def test_some_calls_no_capability_brings() -> None:
    never = {"keyctl", "add_key", "request_key", "kexec_load", "io_uring_setup", "swapon",
             "pivot_root", "userfaultfd", "_sysctl", "nfsservctl"}  # fmt: skip
    assert named(*CAPABILITIES) & never == set()


# What the C library of arm64 (no open, fork, poll or dup2 there) calls for ordinary programs.
ORDINARY = {
    "accept4", "bind", "brk", "chdir", "clock_gettime", "clock_nanosleep", "close", "connect",
    "dup3", "epoll_pwait", "execve", "exit_group", "faccessat", "fchmodat", "fchownat", "fcntl",
    "flock", "fstat", "fsync", "ftruncate", "futex", "getcwd", "getdents64", "getpid", "getrandom",
    "getsockname", "getsockopt", "inotify_add_watch", "ioctl", "kill", "listen", "lseek", "madvise",
    "mkdirat", "mmap", "mprotect", "mremap", "munmap", "nanosleep", "newfstatat", "openat", "pipe2",
    "ppoll", "prctl", "pread64", "prlimit64", "pselect6", "pwrite64", "read", "readlinkat",
    "recvfrom", "recvmsg", "renameat2", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sched_getaffinity", "sched_yield", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_tid_address", "setgid", "setgroups", "setpgid", "setsid", "setsockopt", "setuid",
    "shutdown", "sigaltstack", "socketpair", "statx", "symlinkat", "sysinfo", "tgkill",
    "timerfd_settime", "umask", "uname", "unlinkat", "utimensat", "wait4", "write", "writev",
}  # fmt: skip


def test_ordinary_calls_are_allowed_whatever_their_arguments() -> None:
    assert unconditional() >= ORDINARY


def test_the_architectures_are_those_of_the_machine() -> None:
    assert default_profile(())["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    amd64 = default_profile((), "amd64")
    assert amd64["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert named() - named(architecture="amd64") == {
        "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls",
        "sync_file_range2",
    }  # fmt: skip
    assert named(architecture="amd64") - named() == {"arch_prctl", "modify_ldt"}


def test_no_name_is_written_twice() -> None:
    for rule in default_profile(CAPABILITIES)["syscalls"]:
        assert len(rule["names"]) == len(set(rule["names"]))
        assert rule["names"] == sorted(rule["names"])
