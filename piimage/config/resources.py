"""LinuxKit's `resources`: limits by cgroup, as the OCI runtime specification has them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from piimage.config.values import Part, Scalar, Size, Texts, form, problem, quoted


def _own_files(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if "/" in name or not name.strip("."):
            raise problem(f"{quoted(name)} is no file of a control group", "such as memory.high")
    return values


class Memory(Part):
    """Memory limits in bytes; sizes such as 64M are allowed."""

    limit: Size | None = Field(default=None, description="Hard limit.")
    reservation: Size | None = Field(default=None, description="Soft limit.")
    swap: Size | None = Field(
        default=None, description="Memory and swap together; -1 for no limit."
    )
    kernel: Size | None = Field(default=None, description="Kernel memory (cgroup v1 only).")
    kernel_tcp: Size | None = Field(default=None, description="TCP buffers (cgroup v1 only).")
    swappiness: int | None = Field(
        default=None, ge=0, le=100, description="0 to 100 (cgroup v1 only)."
    )
    disable_oom_killer: bool | None = Field(default=None, description="cgroup v1 only.")


class Cpu(Part):
    """Processor time."""

    shares: int | None = Field(default=None, ge=0, description="Weight against other containers.")
    quota: int | None = Field(default=None, description="Microseconds of each period.")
    period: int | None = Field(default=None, ge=0, description="Microseconds.")
    realtime_runtime: int | None = Field(default=None, description="cgroup v1 only.")
    realtime_period: int | None = Field(default=None, ge=0, description="cgroup v1 only.")
    cpus: Scalar | None = Field(default=None, description="Which processors, such as 0-2.")
    mems: Scalar | None = Field(default=None, description="Which memory nodes.")


class Pids(Part):
    """Number of processes."""

    limit: int = Field(description="At most so many.")


class DeviceRule(Part):
    """A rule of the device cgroup."""

    allow: bool = Field(description="Allow or deny.")
    type: Literal["a", "b", "c"] | None = Field(
        default=None, description="a all, b block, c character."
    )
    major: int | None = Field(default=None, description="Major number; any if left out.")
    minor: int | None = Field(default=None, description="Minor number; any if left out.")
    access: Annotated[str, *form("[rwm]{1,3}", "access", "of r, w and m")] | None = Field(
        default=None, description="Read, write, mknod."
    )


class WeightDevice(Part):
    """Weight of one block device."""

    major: int = Field(description="Major number.")
    minor: int = Field(description="Minor number.")
    weight: int | None = Field(default=None, description="Weight.")
    leaf_weight: int | None = Field(default=None, description="cgroup v1 only.")


class ThrottleDevice(Part):
    """Rate limit of one block device."""

    major: int = Field(description="Major number.")
    minor: int = Field(description="Minor number.")
    rate: int = Field(ge=0, description="Bytes or operations a second.")


class BlockIo(Part):
    """Block device input and output."""

    weight: int | None = Field(default=None, description="10 to 1000.")
    leaf_weight: int | None = Field(default=None, description="cgroup v1 only.")
    weight_device: tuple[WeightDevice, ...] = Field(default=(), description="Weight by device.")
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Bytes read."
    )
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Bytes written."
    )
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = Field(default=(), description="Reads.")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = Field(
        default=(), description="Writes."
    )


class HugepageLimit(Part):
    """Limit of huge pages of one size."""

    page_size: Scalar = Field(description="Such as 2MB.")
    limit: Size = Field(description="Bytes.")


class InterfacePriority(Part):
    """Priority of traffic through an interface."""

    name: str = Field(description="Interface.")
    priority: int = Field(ge=0, description="Priority.")


class NetworkResources(Part):
    """Network class and priorities (cgroup v1 only)."""

    class_id: int | None = Field(
        default=None, ge=0, description="Class of the container's packets."
    )
    priorities: tuple[InterfacePriority, ...] = Field(
        default=(), description="Priority by interface."
    )


class Resources(Part):
    """Limits by cgroup, as the OCI runtime specification has them."""

    devices: tuple[DeviceRule, ...] = Field(default=(), description="Device rules, later ones win.")
    memory: Memory | None = Field(default=None, description="Memory limits.")
    cpu: Cpu | None = Field(default=None, description="Processor time.")
    pids: Pids | None = Field(default=None, description="Number of processes.")
    blockio: BlockIo | None = Field(default=None, description="Block device input and output.")
    hugepage_limits: tuple[HugepageLimit, ...] = Field(default=(), description="Huge pages.")
    network: NetworkResources | None = Field(default=None, description="Network (cgroup v1 only).")
    unified: Annotated[Texts, AfterValidator(_own_files)] = Field(
        default={}, description="Files of the container's cgroup v2, such as memory.high."
    )
