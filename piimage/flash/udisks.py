"""Asking udisks2 for one device: on a desktop, polkit asks the user for a password in a window.

Source: udisks2's reference manual, org.freedesktop.UDisks2.Manager.ResolveDevice and
org.freedesktop.UDisks2.Block.OpenDevice.
"""

from __future__ import annotations

import os
from typing import Any, Final

from piimage.errors import DeviceRefused
from piimage.flash.medium import held

_SERVICE: Final = "org.freedesktop.UDisks2"
_MANAGER: Final = "/org/freedesktop/UDisks2/Manager"
_PATIENCE: Final = 180.0  # seconds: somebody looks for a password
_FLAGS: Final = os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT


def open_by_udisks(path: str) -> int:
    """Return a descriptor of the device `path` that udisks2 opened, for this process alone.

    Raises DeviceRefused ``flash.no-permission`` when there is no udisks2 or it does not allow it,
    ``flash.held`` when the device is in use.
    """
    # Only who may not open a device pays for these.
    from jeepney import DBusErrorResponse  # noqa: PLC0415
    from jeepney.io.blocking import open_dbus_connection  # noqa: PLC0415

    try:
        with open_dbus_connection("SYSTEM", enable_fds=True) as bus:
            found = _call(bus, _MANAGER, "Manager", "ResolveDevice", "a{sv}a{sv}",
                          ({"path": ("s", path)}, {}))  # fmt: skip
            if not found:
                raise _denied(path, "udisks2 does not know it")
            opened = _call(bus, found[0], "Block", "OpenDevice", "sa{sv}",
                           ("rw", {"flags": ("i", _FLAGS)}))  # fmt: skip
            return int(opened.to_raw_fd())
    except DBusErrorResponse as error:
        text = " ".join(map(str, error.data))
        if "busy" in text.lower():
            raise held(path) from error
        raise _denied(path, f"udisks2 did not open it ({error.name.rpartition('.')[2]})") from error
    except OSError as error:
        raise _denied(path, "udisks2 is not there to open it") from error


def _call(
    bus: Any,  # noqa: ANN401  # the library has no type hints
    place: str,
    interface: str,
    method: str,
    signature: str,
    arguments: tuple[object, ...],
) -> Any:  # noqa: ANN401
    from jeepney import DBusAddress, new_method_call  # noqa: PLC0415
    from jeepney.wrappers import unwrap_msg  # noqa: PLC0415

    address = DBusAddress(place, _SERVICE, f"{_SERVICE}.{interface}")
    message = new_method_call(address, method, signature, arguments)
    return unwrap_msg(bus.send_and_get_reply(message, timeout=_PATIENCE))[0]


def _denied(path: str, why: str) -> DeviceRefused:
    return DeviceRefused(
        "flash.no-permission",
        f"you may not write to it, and {why}",
        place=path,
        hint="run the command as root, or have an administrator give you the device",
    )
