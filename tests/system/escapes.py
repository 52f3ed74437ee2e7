"""What a container tries in order to get out by files and commands; for tests with a kernel."""

from __future__ import annotations

from collections.abc import Sequence

# Each of these paths exists on the Pi.
READS = """
    /proc/kcore /proc/keys /proc/kmsg /proc/timer_list /proc/interrupts /sys/firmware/fdt
    /sys/kernel/security/lsm /sys/kernel/security/apparmor/profiles /dev/mem /dev/kmsg /dev/vda
    /containers/services/sshd/config.json /data/ssh/dropbear_ed25519_host_key
"""
WRITES = """
    /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe
    /proc/sys/kernel/hostname /proc/sys/vm/swappiness /proc/sys/net/ipv4/ip_forward
    /proc/irq/default_smp_affinity /sys/class/mem/null/uevent
    /sys/module/kernel/parameters/panic /sys/fs/cgroup/cgroup.procs
    /sys/kernel/security/apparmor/.replace /sys/bus/virtio/drivers_probe
"""
COMMANDS = {
    "mount": "mount -t tmpfs none /tmp",
    "unshare": "unshare -r true",
    "chroot": "chroot / true",
    "mknod": "mknod /dev/vda b 254 0",
    "reboot": "reboot -f",
    "hostname": "hostname other",
    "dmesg": "dmesg",
    "route": "ip link add x type dummy",
    "ping": "ping -c 1 -W 1 127.0.0.1",
    "nice": "nice -n -5 true",
    "chown": "chown 5 /proc/self/fd/0 /dev/null",
    "root-of-1": "ls /proc/1/root/containers",
    "shm": "dd if=/dev/zero of=/dev/shm/x bs=1M count=65",
}


def script(reads: str, writes: str, commands: Sequence[str] = tuple(COMMANDS)) -> str:
    """Return what a shell with busybox tries: it prints ``NAME refused`` or ``NAME OUT`` each.

    `reads` and `writes` are paths, or a variable of the shell that has them.
    """
    tries = "; ".join(
        f"busybox {COMMANDS[name]} >/dev/null 2>&1 && echo {name} OUT || echo {name} refused"
        for name in commands
    )
    return f"""
    for path in {reads}; do
        size=$(busybox head -c 9 $path 2>/dev/null | busybox wc -c)
        [ "$size" = 0 ] && echo $path refused || echo $path OUT
    done
    for path in {writes}; do
        (echo 0 >$path) 2>/dev/null && echo $path OUT || echo $path refused
    done
    {tries}
    rm -f /dev/shm/x
    """
