"""LinuxKit's `resources`: limits by cgroup, as the OCI runtime specification has them.

Values that runc or the kernel refuse at the start are refused here. Sources: runc 1.1,
libcontainer/cgroups/{utils,fs2}; Linux, Documentation/admin-guide/cgroup-v2.rst,
kernel/sched/core.c (tg_set_cfs_bandwidth), kernel/cgroup/pids.c.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from piimage.config.values import (
    Part,
    Scalar,
    Size,
    as_text,
    check_numbers,
    did_you_mean,
    form,
    problem,
    quoted,
)

_MOST: Final = 2**63 - 1
# Docker's minimum of 6 MiB (linuxMinMemory) is too low on arm64: runc 1.1.15 is killed.
_LEAST_MEMORY: Final = 16 << 20
_PERIOD: Final = 100_000  # microseconds, the kernel's default
_LEAST_PART: Final = 100
_MOST_PIDS: Final = 4_194_304
_PROCESSORS: Final = 4
_CONTROLS: Final = """
    cgroup.freeze cgroup.max.depth cgroup.max.descendants cgroup.pressure
    cpu.idle cpu.max cpu.max.burst cpu.pressure cpu.uclamp.max cpu.uclamp.min cpu.weight
    cpu.weight.nice cpuset.cpus cpuset.cpus.partition cpuset.mems
    hugetlb.1GB.max hugetlb.2MB.max hugetlb.32MB.max hugetlb.64KB.max
    io.bfq.weight io.latency io.max io.pressure io.prio.class io.weight
    memory.high memory.low memory.max memory.min memory.oom.group memory.pressure
    memory.swap.high memory.swap.max memory.zswap.max memory.zswap.writeback
    misc.max pids.max rdma.max
"""


def _limit(value: int) -> int:
    if not -1 <= value <= _MOST:
        raise problem(f"{value} bytes is not a valid limit", "a size from 0, or -1 for no limit")
    return value


def _memory(value: int) -> int:
    """Refuse a limit that is too low for runc, which starts within it."""
    if 0 < _limit(value) < _LEAST_MEMORY:
        raise problem(f"{value} bytes is too low for a container to start", "16M or more")
    return value


def _processors(value: str) -> str:
    for part in value.split(","):
        first, _, last = part.partition("-")
        if not int(first) <= int(last or first) < _PROCESSORS:
            raise problem(
                f"{quoted(value)} is not a valid list of processors",
                "processors 0 to 3, such as 0-2 or 1,3",
            )
    return value


def _zero_or(least: int, most: int, unit: str, value: int) -> int:
    if value and not least <= value <= most:
        raise problem(f"{value} is out of range", f"{least} to {most}{unit}, or 0 for the default")
    return value


def _shares(value: int) -> int:
    return _zero_or(2, 262_144, "", value)


def _period(value: int) -> int:
    return _zero_or(1000, 1_000_000, " microseconds", value)


def _quota(value: int) -> int:
    if value < 0 and value != -1:
        raise problem(
            f"{value} microseconds is not a valid quota", "-1 for no limit, or 1000 or more"
        )
    return value if value < 0 else _zero_or(1000, 2**44 - 1, " microseconds", value)


def _pids(value: int) -> int:
    if not -1 <= value <= _MOST_PIDS:
        raise problem(
            f"{value} is not a valid number of processes", f"1 to {_MOST_PIDS}, or -1 for no limit"
        )
    return value


def _weight(value: int) -> int:
    return _zero_or(10, 1000, "", value)


def _control(name: str) -> str:
    known = _CONTROLS.split()
    if name not in known:
        raise problem(f"{quoted(name)} is not a file of cgroup v2", did_you_mean(name, known))
    return name


Limit = Annotated[Size, AfterValidator(_limit)]
Number32 = Annotated[int, Field(ge=0, lt=2**32)]
Weight = Annotated[int, AfterValidator(_weight)]


class Memory(Part):
    """Memory limits in bytes; sizes such as 64M are allowed."""

    limit: Annotated[Size, AfterValidator(_memory)] | None = Field(
        default=None, description="Hard limit, 16M or more; -1 for no limit."
    )
    reservation: Limit | None = Field(default=None, description="Soft limit.")
    swap: Limit | None = Field(
        default=None, description="Memory and swap together; -1 for no limit."
    )
    kernel: Limit | None = Field(default=None, description="Kernel memory (cgroup v1 only).")
    kernel_tcp: Limit | None = Field(default=None, description="TCP buffers (cgroup v1 only).")
    swappiness: int | None = Field(
        default=None, ge=0, le=100, description="0 to 100 (cgroup v1 only)."
    )
    disable_oom_killer: bool | None = Field(default=None, description="cgroup v1 only.")

    @model_validator(mode="after")
    def _swap_above_limit(self) -> Self:
        if self.swap is not None and self.swap > 0:
            if self.limit is None or self.limit <= 0:
                raise problem("swap without limit", "limit: as well")
            if self.swap < self.limit:
                raise problem("swap, which includes memory, is below limit", "swap >= limit")
        return self


class Cpu(Part):
    """Processor time."""

    shares: Annotated[int, AfterValidator(_shares)] | None = Field(
        default=None,
        description="Weight relative to other containers, 2 to 262144; the default is 1024.",
    )
    quota: Annotated[int, AfterValidator(_quota)] | None = Field(
        default=None,
        description="Processor time in each period in microseconds, 1000 or more; -1 for no limit.",
    )
    period: Annotated[int, AfterValidator(_period)] | None = Field(
        default=None,
        description="Length of a period in microseconds, 1000 to 1000000; 100000 if left out.",
    )
    realtime_runtime: int | None = Field(
        ge=-1, le=_MOST, default=None, description="cgroup v1 only."
    )
    realtime_period: int | None = Field(default=None, ge=0, le=_MOST, description="cgroup v1 only.")
    cpus: (
        Annotated[
            str,
            BeforeValidator(as_text),
            *form(
                r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*",
                "processor list",
                "a list such as 0-2 or 1,3",
            ),
            AfterValidator(_processors),
        ]
        | None
    ) = Field(default=None, description="Processors that the container may use, such as 0-2.")
    mems: (
        Annotated[
            str,
            BeforeValidator(as_text),
            *form("0", "memory node list", "0, the only one that a Pi has"),
        ]
        | None
    ) = Field(default=None, description="Memory nodes that the container may use; a Pi has only 0.")

    @model_validator(mode="after")
    def _enough_to_start(self) -> Self:
        period = self.period or _PERIOD
        if self.quota is not None and 0 < self.quota * _LEAST_PART < period:
            raise problem(
                f"{self.quota} of {period} microseconds is too little to start", "1 % or more"
            )
        return self


class Pids(Part):
    """Number of processes."""

    limit: Annotated[int, AfterValidator(_pids)] = Field(
        description="Highest number of processes; -1 for no limit."
    )


class DeviceRule(Part):
    """A rule of the device cgroup."""

    allow: bool = Field(description="true: allow; false: deny.")
    type: Literal["a", "b", "c"] | None = Field(
        default=None, description="a: all, b: block, c: character."
    )
    major: int | None = Field(default=None, description="Major number; any if left out.")
    minor: int | None = Field(default=None, description="Minor number; any if left out.")
    access: (
        Annotated[str, *form("[rwm]{1,3}", "device access", "one or more of r, w and m")] | None
    ) = Field(default=None, description="One or more of r (read), w (write), m (mknod).")

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        check_numbers(self.major, self.minor, least=-1)
        return self


class WeightDevice(Part):
    """Weight of one block device."""

    major: int = Field(description="Major number.")
    minor: int = Field(description="Minor number.")
    weight: Weight | None = Field(default=None, description="10 to 1000.")
    leaf_weight: Weight | None = Field(default=None, description="cgroup v1 only.")

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        check_numbers(self.major, self.minor, least=0)
        return self


class ThrottleDevice(Part):
    """Rate limit of one block device."""

    major: int = Field(description="Major number.")
    minor: int = Field(description="Minor number.")
    rate: int = Field(ge=1, le=_MOST, description="Bytes or operations per second.")

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        check_numbers(self.major, self.minor, least=0)
        return self


class BlockIo(Part):
    """Block device input and output."""

    weight: Weight | None = Field(default=None, description="10 to 1000.")
    leaf_weight: Weight | None = Field(default=None, description="cgroup v1 only.")
    weight_device: tuple[WeightDevice, ...] = Field(default=(), description="Weights of devices.")
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Limits of bytes read per second."
    )
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Limits of bytes written per second."
    )
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Limits of reads per second."
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Limits of writes per second."
    )


class HugepageLimit(Part):
    """Limit of huge pages of one size."""

    page_size: Literal["64KB", "2MB", "32MB", "1GB"] = Field(
        description="Size of the pages, such as 2MB."
    )
    limit: Limit = Field(description="Limit in bytes.")


class InterfacePriority(Part):
    """Priority of traffic through an interface."""

    name: str = Field(description="Name of the interface.")
    priority: Number32 = Field(description="Priority of its traffic.")


class NetworkResources(Part):
    """Network class and priorities (cgroup v1 only)."""

    class_id: Number32 | None = Field(default=None, description="Class of the container's packets.")
    priorities: tuple[InterfacePriority, ...] = Field(
        default=(), description="Priority by interface."
    )


class Resources(Part):
    """Limits by cgroup, as the OCI runtime specification has them."""

    devices: tuple[DeviceRule, ...] = Field(
        default=(), description="Device rules; later rules override earlier ones."
    )
    memory: Memory | None = Field(default=None, description="Memory limits.")
    cpu: Cpu | None = Field(default=None, description="Processor time.")
    pids: Pids | None = Field(default=None, description="Number of processes.")
    blockio: BlockIo | None = Field(default=None, description="Block device input and output.")
    hugepage_limits: tuple[HugepageLimit, ...] = Field(
        default=(), description="Limits of huge pages."
    )
    network: NetworkResources | None = Field(default=None, description="Network (cgroup v1 only).")
    unified: dict[Annotated[str, AfterValidator(_control)], Scalar] = Field(
        default={},
        description="Files of the container's cgroup (v2) and their values, such as memory.high.",
    )
