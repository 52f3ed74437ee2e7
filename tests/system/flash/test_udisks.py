"""A user who may not open a device gets it from the real udisks2, if polkit lets him.

Bus, polkit and udisks2 are started for the test, in a mount namespace of their own: there is no
desktop here, and no udevd, whose word on the device a file in /run/udev stands for.
"""

from __future__ import annotations

import itertools
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.flash.conftest import MIB, loop

ALLOWED, REFUSED = "nobody", "daemon"
RULE = f"""
polkit.addRule(function(action, subject) {{
    if (action.id.indexOf("org.freedesktop.udisks2.open-device") == 0)
        return subject.user == "{ALLOWED}" ? polkit.Result.YES : polkit.Result.NO;
}});
"""
SERVERS = """
set -e
mount -t tmpfs none /run
mkdir -p /run/udev/data /run/udisks2 /run/mount /run/dbus /run/rules
printf 'I:1000000\\nE:ID_X=1\\nG:systemd\\nQ:systemd\\nV:1\\n' >/run/udev/data/b$NUMBER
: >/run/udev/control
cp "$RULE" /run/rules/10-test.rules
chmod -R a+rX /run/rules
mount --bind /run/rules /etc/polkit-1/rules.d
dbus-daemon --config-file=/usr/share/dbus-1/system.conf --address="$DBUS_SYSTEM_BUS_ADDRESS" \
    --nofork --nopidfile --nosyslog &
until [ -S "$SOCKET" ]; do sleep 0.1; done
/usr/lib/polkit-1/polkitd --no-debug &
# A udisks2 that does not find polkit refuses everybody as long as it runs.
until gdbus call --system -d org.freedesktop.DBus -o /org/freedesktop/DBus \
    -m org.freedesktop.DBus.NameHasOwner org.freedesktop.PolicyKit1 | grep -q true; do
    sleep 0.1
done
exec /usr/libexec/udisks2/udisksd
"""
# What the verb does with it: as the user, without a right to the device.
ASKING = """
import os, sys
# The user might not be allowed to read these: an interpreter can lie in somebody's home.
import jeepney.io.blocking, jeepney.wrappers
from piimage.errors import DeviceRefused
from piimage.flash import medium
from piimage.flash.udisks import open_by_udisks
device, user, group = sys.argv[1:]
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
assert not os.access(device, os.W_OK)
try:
    with medium.opened(device, os.stat(device).st_rdev, None, open_by_udisks) as card:
        data = medium.buffer(4096)
        data[:5] = b"owned"
        card.write(0, data)
except DeviceRefused as error:
    print(error.code, error.message)
else:
    print("written")
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("udisks")
    # polkit's user has to reach the bus; every session of pytest shuts the folder of all sessions.
    shared = Path(tempfile.gettempdir())
    for parent in itertools.takewhile(lambda found: found != shared, (folder, *folder.parents)):
        parent.chmod(0o755)
    with (folder / "disk").open("wb") as file:
        file.truncate(32 * MIB)
    (folder / "rule").write_text(RULE)
    socket = folder / "bus"
    address = f"unix:path={socket}"
    with loop(folder / "disk") as found, pytest.MonkeyPatch.context() as patch:
        number = Path(found).stat().st_rdev
        patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        patch.setenv("NUMBER", f"{os.major(number)}:{os.minor(number)}")
        patch.setenv("RULE", str(folder / "rule"))
        patch.setenv("SOCKET", str(socket))
        # A process namespace: what was started ends with its first process.
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        log = (folder / "log").open("wb")
        servers = subprocess.Popen(
            [*words, "sh", "-c", SERVERS], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(300):
                # Asked too early, the bus would try to start udisks2 by itself.
                if "Acquired the name" in (folder / "log").read_text():
                    break
                assert servers.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
            assert "loop" in answer_of(found), (folder / "log").read_text()
            yield found
        finally:
            servers.kill()  # unshare itself takes no other signal
            servers.wait()


def answer_of(device: str) -> str:
    """What udisks2 answers where it is asked for the device: its path on the bus."""
    words = ["gdbus", "call", "--system", "--timeout", "20", "-d", "org.freedesktop.UDisks2"]
    words += ["-o", "/org/freedesktop/UDisks2/Manager"]
    words += ["-m", "org.freedesktop.UDisks2.Manager.ResolveDevice"]
    done = subprocess.run(
        [*words, f"{{'path': <'{device}'>}}", "{}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def flash_as(user: str, device: str) -> str:
    account = pwd.getpwnam(user)
    done = subprocess.run(
        [sys.executable, "-c", ASKING, device, str(account.pw_uid), str(account.pw_gid)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_who_is_allowed_gets_the_device_and_nothing_else(device: str) -> None:
    assert flash_as(ALLOWED, device) == "written"
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    assert Path(device).read_bytes()[:5] == b"owned"


def test_who_is_not_allowed_is_told_so(device: str) -> None:
    output = flash_as(REFUSED, device)
    assert output.startswith(
        "flash.no-permission you may not write to the device, and udisks2 did not open"
    )


def test_a_device_that_is_in_use_is_not_handed_out(device: str) -> None:
    held = os.open(device, os.O_RDWR | os.O_EXCL)
    try:
        assert flash_as(ALLOWED, device).startswith("flash.held")
    finally:
        os.close(held)
