from tests.system.boot.test_tryboot import *
from tests.system.boot.conftest import *


def test_look(pi):
    pi.say(TRY_BOOT)
    tried = pi.session.wait_restart(PATIENCE)
    up(pi)
    print(
        pi.say(
            "dmesg | grep -i -E 'watchdog|i6300'; cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout /sys/class/watchdog/watchdog0/timeleft; ps | grep -i dog; for p in $(pidof watchdogd); do ls -l /proc/$p/fd; done; ls -l /dev/watchdog*; ls -l /proc/[0-9]*/fd 2>/dev/null | grep watchd; uptime"
        )
    )
    assert 0
