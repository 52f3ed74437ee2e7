"""The default seccomp profile: which system calls a container may make.

It allows the calls of the common default profile of container engines (Docker's documentation,
"Seccomp security profiles for Docker"): those that ordinary programs use, and none that reaches the
kernel's own state unless the container has the capability for that call. Like engines, it leaves
out io_uring, a source of privilege escalations. All other calls fail with EPERM. libseccomp skips
names that an architecture lacks, so one table serves 64-bit and 32-bit programs.

The kernel compiles the filter for each container that starts, in a time that grows with the square
of its length: a container without 32-bit programs gets no filter for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

_ERRNO_EPERM: Final = 1
_ERRNO_ENOSYS: Final = 38
_AF_VSOCK: Final = 40
# CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: a new namespace of any kind (clone(2)).
_CLONE_NAMESPACES: Final = 0x7E020000
# personality(2): the default, a 32-bit machine name, a 2.6 kernel name, both, and the query.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

ARCHITECTURES: Final[Mapping[str, tuple[str, ...]]] = {
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
}
"""By OCI's name: the native architecture, and the others whose programs it runs."""

LOADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "arm64": ("ld-linux-armhf.so.3", "ld-linux.so.3", "ld-musl-armhf.so.1", "ld-musl-arm.so.1"),
    "amd64": ("ld-linux.so.2", "ld-musl-i386.so.1", "ld-linux-x32.so.2"),
}
"""By OCI's name: the names in /lib of the loaders of 32-bit programs (glibc's and musl's)."""

_FILES: Final = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr
    fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd
    getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr listxattrat listmount
    llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 memfd_create mkdir mkdirat mknod
    mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat
    rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64
    statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_WAITING: Final = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit _newselect pause poll ppoll ppoll_time64 pselect6
    pselect6_time64 select signalfd signalfd4
"""
_MEMORY: Final = """
    brk cachestat madvise map_shadow_stack membarrier memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect remap_file_pages
"""
_PROCESSES: Final = """
    capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority
    getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
    pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease restart_syscall rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32
    sigaltstack sigprocmask sigreturn tgkill tkill ugetrlimit vfork wait4 waitid waitpid
"""
# Debuggers and sanitizers trace their own children, and since Linux 4.8 a tracer cannot escape the
# filter; tracing other processes needs CAP_SYS_PTRACE or the same user in any case.
_TRACING: Final = "process_vm_readv process_vm_writev ptrace"
_TIME: Final = """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep
    setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times
"""
_NETWORK: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
_MESSAGES: Final = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
"""
_SYSTEM: Final = "getrandom sysinfo uname"
_BY_ARCHITECTURE: Final[Mapping[str, str]] = {
    "arm64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "amd64": "arch_prctl modify_ldt",
}
_BY_CAPABILITY: Final[Mapping[str, str]] = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount
        mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd
        setdomainname sethostname setns syslog umount umount2 unshare
    """,
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


def default_profile(
    capabilities: Collection[str], architecture: str = "arm64"
) -> Mapping[str, Any]:
    """Return `linux.seccomp` of the OCI runtime spec for a container with `capabilities`.

    `architecture` is one of `ARCHITECTURES`, as OCI names it.
    """
    groups = [_FILES, _WAITING, _MEMORY, _PROCESSES, _TRACING, _TIME, _NETWORK, _MESSAGES, _SYSTEM]
    groups.append(_BY_ARCHITECTURE[architecture])
    groups += [names for name, names in _BY_CAPABILITY.items() if name in capabilities]
    allowed = {name for group in groups for name in group.split()}
    rules: list[Mapping[str, Any]] = [_allow(sorted(allowed))]
    rules.append(_allow(["socket"], (0, _AF_VSOCK, "SCMP_CMP_NE")))
    rules += [_allow(["personality"], (0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.append(_allow(["clone"], (0, _CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ")))
        # A filter cannot read clone3's flags, which lie in memory; libc falls back to clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ERRNO_ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ERRNO_EPERM,
        "architectures": list(ARCHITECTURES[architecture]),
        "syscalls": rules,
    }


def native_profile(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a default profile by which a call of a 32-bit program ends it."""
    return {**profile, "architectures": profile["architectures"][:1]}


def _allow(names: list[str], *conditions: tuple[int, int, str]) -> Mapping[str, Any]:
    """Return the rule that allows `names` under `conditions` (argument number, value, operator).

    The value of a masked comparison is the mask; the masked argument must be zero.
    """
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ALLOW"}
    if conditions:
        rule["args"] = [
            {"index": index, "value": value, "valueTwo": 0, "op": operator}
            for index, value, operator in conditions
        ]
    return rule
