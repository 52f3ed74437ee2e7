"""What may be mounted in a container; each refusal is one of the runtime's or the kernel's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from piimage.config.container import ContainerConfig

# From mount(8), tmpfs(5), proc(5); and LinuxKit's examples.
GOOD = [
    {"tmpfs": ["/run:size=10%,mode=755,nodev"]},
    {"tmpfs": ["/run", "/tmp:", "/x:nr_inodes=4k,uid=1000,gid=1000,noexec"]},
    {"binds": ["/a:/b", "/a:/b:ro", "/a:/b:rw,rshared,rbind", "/a:/b:rprivate,nosuid,defaults"]},
    {"binds": ["/proc:/proc:ro", "/sys:/sys", "/sys/fs:/sys/fs:ro", "/dev:/dev"]},
    {"binds": ["/var/lib/lxcfs/proc/uptime:/proc/uptime:ro"]},
    {"mounts": [{"type": "proc", "options": ["hidepid=2", "nosuid"]}]},
    {"mounts": [{"type": "cgroup2", "options": ["nsdelegate"]}]},
    {"mounts": [{"destination": "/dev", "options": ["mode=755", "size=64k"]}]},
    {"mounts": [{"type": "devpts", "options": ["newinstance", "ptmxmode=0666", "max=8"]}]},
    {"mounts": [{"type": "ext4", "source": "/dev/sda1", "destination": "/m",
                 "options": ["data=journal"]}]},
    {"mounts": [{"type": "bind", "source": "/a", "destination": "/b", "options": ["rbind"]}]},
]  # fmt: skip
BAD = [
    ({"tmpfs": ["/run:size=big"]}, "'size=big' has an invalid value"),
    ({"tmpfs": ["/run:sise=1M"]}, "'sise=1M' is not an option of a tmpfs mount; instead: size"),
    ({"tmpfs": ["/run:mode=rwx"]}, "'mode=rwx' has an invalid value"),
    ({"tmpfs": ["/"]}, "a mount over the root of the container"),
    ({"tmpfs": ["/x/.."]}, "a mount over the root of the container"),
    ({"tmpfs": ["/proc/driver"]}, "nothing can be mounted at '/proc/driver'"),
    ({"binds": ["/a:/b:or"]}, "'or' is not an option of a bind mount"),
    ({"binds": ["/a:/b:remount"]}, "remount is not possible for a new mount"),
    ({"binds": ["/a:/proc/self"]}, "nothing can be mounted at '/proc/self'"),
    ({"binds": ["/a:/proc"]}, "only proc can be mounted at /proc"),
    ({"binds": ["/a:/x/../proc/sys"]}, "nothing can be mounted at '/proc/sys'"),
    ({"mounts": [{"type": "tmfs", "destination": "/a"}]}, "'tmfs' is not a file system type; "),
    ({"mounts": [{"type": "bind", "destination": "/a"}]}, "a bind mount without a source"),
    ({"mounts": [{"type": "tmpfs", "destination": "/a", "options": ["bind"]}]},
     "a bind mount without a source"),
    ({"mounts": [{"type": "proc", "options": ["hidepid=9"]}]}, "'hidepid=9' has an invalid value"),
    ({"mounts": [{"type": "bind", "source": "/a", "destination": "/b"}]},
     "a bind mount without its option; instead: bind or rbind"),
    ({"mounts": [{"type": "sysfs", "source": "/proc", "destination": "/proc"}]},
     "only proc can be mounted at /proc"),
    ({"mounts": [{"type": "mqueue", "options": ["defaults"]}]}, "'defaults' is not an option of a"),
    ({"tmpfs": ["/a:rbind"]}, "a tmpfs mount cannot have the option rbind"),
    ({"binds": ["/etc:/sys/fs"]}, "/sys/fs would have no folder for the cgroup"),
    ({"binds": ["/etc:/sys"]}, "/sys would have no folder for the cgroup"),
    ({"binds": ["/proc/sys:/proc"]}, "only proc can be mounted at /proc"),
    ({"tmpfs": ["/a:uid=4294967295"]}, "'uid=4294967295' has an invalid value"),
    ({"tmpfs": ["/a:mpol=x"]}, "'mpol=x' has an invalid value"),
    ({"mounts": [{"type": "tmpfs", "destination": "/proc"}]}, "only proc can be mounted at /proc"),
]  # fmt: skip


@pytest.mark.parametrize("fields", GOOD)
def test_a_mount_that_the_kernel_makes_passes(fields: dict[str, object]) -> None:
    ContainerConfig.model_validate(fields)


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_a_mount_that_would_be_refused_on_the_pi_is_refused_here(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        ContainerConfig.model_validate(fields)
    assert message in str(caught.value)
