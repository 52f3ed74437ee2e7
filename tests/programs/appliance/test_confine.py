"""The limits of containers that name none, AppArmor's profiles, and the kernel's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.appliance.scripts import APPLIANCE, Pi

GIB = 1 << 20  # in KiB


def confine(pi: Pi, script: str, memory: int = 4 * GIB) -> str:
    """Run `script` after the functions, on a Pi with so much memory in KiB."""
    pi.install_library()
    library = pi.install("confine.sh")
    text = library.read_text().replace("/proc/", f"{pi.root}/proc/")
    library.write_text(text)
    pi.write("proc/meminfo", f"MemTotal:       {memory} kB\nMemFree:        5 kB\n")
    pi.path("sys/fs/cgroup/cgroup.subtree_control")
    return pi.sh(f". {pi.root}/usr/lib/piimage/lib.sh; . {library}; {script}")


@pytest.mark.parametrize(
    ("memory", "rest"),
    [(400_000, 300_000), (GIB, GIB * 3 // 4), (2 * GIB, 2 * GIB * 3 // 4), (8 * GIB, 7.5 * GIB)],
)
def test_the_system_keeps_a_quarter_of_the_memory_and_at_most_512_mib(
    tmp_path: Path, memory: int, rest: float
) -> None:
    assert int(confine(Pi(tmp_path), "containers_memory; echo $REPLY", memory)) == rest


def test_all_containers_and_each_of_them_have_a_limit_by_the_pi_s_size(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    confine(pi, "limit_containers; limit_container services/web", GIB)
    groups = pi.root / "sys/fs/cgroup"
    for folder in (groups, groups / "piimage", groups / "piimage/services"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids\n"
    assert (groups / "piimage/memory.max").read_text() == "786432K\n"
    assert (groups / "piimage/pids.max").read_text() == "6144\n"
    web = groups / "piimage/services/web"
    assert (web / "memory.max").read_text() == "589824K\n"
    assert (web / "pids.max").read_text() == "1024\n"
    assert not (web / "cgroup.subtree_control").exists()
    assert pi.console() == []


def test_a_group_that_another_runner_makes_at_the_same_moment_has_its_limits(
    tmp_path: Path,
) -> None:
    pi = Pi(tmp_path)
    other = 'mkdir() { for FOLDER; do :; done; command mkdir "$FOLDER"; command mkdir "$@"; }'
    confine(pi, f"{other}; limit_container services/web", GIB)
    web = pi.root / "sys/fs/cgroup/piimage/services/web"
    assert (web / "memory.max").read_text() == "589824K\n"
    assert (web / "pids.max").read_text() == "1024\n"


def test_a_limit_that_the_kernel_does_not_take_is_reported_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    pi = Pi(tmp_path)
    pi.path("sys/fs/cgroup/piimage/memory.max/folder").mkdir()
    confine(pi, "limit_containers")
    assert pi.console() == ["piimage: the limit memory.max of piimage cannot be set"]
    assert (pi.root / "sys/fs/cgroup/piimage/pids.max").exists()


def test_a_kernel_without_the_controllers_is_reported_once_and_limits_nothing(
    tmp_path: Path,
) -> None:
    pi = Pi(tmp_path)
    pi.path("sys/fs/cgroup/cgroup.subtree_control/folder").mkdir()
    confine(pi, "limit_containers; limit_container services/web")
    assert pi.console() == [
        "piimage: memory and processes of containers are not limited: the kernel refuses the "
        "controllers"
    ]
    assert not (pi.root / "sys/fs/cgroup/piimage").exists()


def test_profiles_are_loaded_one_by_one_and_one_that_fails_concerns_no_other(
    tmp_path: Path,
) -> None:
    pi = Pi(tmp_path)
    for name in ("a", "bad", "c"):
        pi.write(f"run/piimage/layers/d/apparmor/{name}", f"profile {name}")
    pi.path("sys/kernel/security/apparmor/.replace")
    loaded = confine(
        pi,
        "dd() { case $1 in */bad) return 1 ;; esac; echo $1 $2 $3; }; "
        f"load_profiles {pi.root}/run/piimage/layers/d",
    )
    folder, place = f"{pi.root}/run/piimage/layers/d/apparmor", f"{pi.root}/sys/kernel/security"
    assert loaded.splitlines() == [
        f"if={folder}/{name} of={place}/apparmor/.replace bs=1M" for name in ("a", "c")
    ]
    assert pi.console() == ["piimage: AppArmor profile bad did not load"]


def test_a_containers_layer_without_profiles_loads_none(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    assert confine(pi, f"load_profiles {pi.root}/run/piimage/layers/d") == ""
    assert pi.console() == []


def sysctls(pi: Pi, lines: str) -> None:
    """Apply the lines of a file of sysctl.d."""
    pi.install_library()
    pi.install("confine.sh")
    script = pi.install_functions("boot")
    script.write_text(script.read_text().replace("/proc/sys", f"{pi.root}/proc/sys"))
    pi.write("etc/sysctl.d/10.conf", lines)
    pi.sh(f". {script}; set_sysctls")


def test_a_key_with_a_dash_is_one_that_the_kernel_may_lack(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    pi.write("proc/sys/kernel/sysrq", "1\n")
    pi.write("proc/sys/kernel/yama/ptrace_scope", "0\n")
    sysctls(pi, "kernel.sysrq = 0\n-kernel.yama.ptrace_scope = 2\n-kernel.gone = 1\nnet.gone = 1\n")
    assert (pi.root / "proc/sys/kernel/sysrq").read_text() == "0\n"
    assert (pi.root / "proc/sys/kernel/yama/ptrace_scope").read_text() == "2\n"
    assert pi.console() == ["piimage: sysctl net.gone cannot be set"]


def test_the_form_of_sysctl_d_is_taken_as_its_page_has_it(tmp_path: Path) -> None:
    """Comments, blanks, slashes, a value with blanks, and a last line without its end."""
    pi = Pi(tmp_path)
    for key in ("sysrq", "yama/ptrace_scope"):
        pi.write(f"proc/sys/kernel/{key}", "0\n")
    pi.write("etc/sysctl.d/05.conf", "  # no = key\n; kernel.sysrq = 9\n\nkernel/sysrq=7")
    sysctls(pi, " kernel.yama.ptrace_scope\t=  1 2\t3\n")
    assert (pi.root / "proc/sys/kernel/sysrq").read_text() == "7\n"
    assert (pi.root / "proc/sys/kernel/yama/ptrace_scope").read_text() == "1 2\t3\n"
    assert pi.console() == []


def test_the_system_s_settings_name_each_key_once() -> None:
    text = (APPLIANCE / "rootfs/etc/sysctl.d/10-piimage.conf").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    keys = [line.partition(" = ")[0].lstrip("-") for line in lines]
    assert len(keys) == len(set(keys)) > 30
