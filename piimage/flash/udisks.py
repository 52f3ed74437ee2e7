"""Opens one device through udisks2; on a desktop, polkit prompts for a password in a window.

Source: udisks2's reference manual, org.freedesktop.UDisks2.Manager.ResolveDevice and
org.freedesktop.UDisks2.Block.OpenDevice.
"""

from __future__ import annotations

import os
from typing import Any, Final

from piimage.errors import DeviceRefused
from piimage.flash.medium import in_use

_SERVICE: Final = "org.freedesktop.UDisks2"
_MANAGER: Final = "/org/freedesktop/UDisks2/Manager"
_TIMEOUT: Final = 180.0  # seconds, in which the user types a password
_FLAGS: Final = os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT


def open_by_udisks(path: str) -> int:
    """Open the device `path` exclusively through udisks2 and return a descriptor.

    Raises DeviceRefused ``flash.no-permission`` if udisks2 is missing or denies it, ``flash.held``
    if the device is in use.
    """
    # Imported here because most users can open the device themselves.
    from jeepney import DBusErrorResponse  # noqa: PLC0415
    from jeepney.io.blocking import open_dbus_connection  # noqa: PLC0415

    try:
        with open_dbus_connection("SYSTEM", enable_fds=True) as bus:
            objects = _call(bus, _MANAGER, "Manager", "ResolveDevice", "a{sv}a{sv}",
                            ({"path": ("s", path)}, {}))  # fmt: skip
            if not objects:
                raise _denied(path, "udisks2 does not know the device")
            descriptor = _call(bus, objects[0], "Block", "OpenDevice", "sa{sv}",
                               ("rw", {"flags": ("i", _FLAGS)}))  # fmt: skip
            return int(descriptor.to_raw_fd())
    except DBusErrorResponse as error:
        text = " ".join(map(str, error.data))
        if "busy" in text.lower():
            raise in_use(path) from error
        raise _denied(path, f"udisks2 did not open it ({error.name.rpartition('.')[2]})") from error
    except OSError as error:
        raise _denied(path, "udisks2 is not running") from error


def _call(
    bus: Any,  # noqa: ANN401  # the library has no type hints
    object_path: str,
    interface: str,
    method: str,
    signature: str,
    arguments: tuple[object, ...],
) -> Any:  # noqa: ANN401
    from jeepney import DBusAddress, new_method_call  # noqa: PLC0415
    from jeepney.wrappers import unwrap_msg  # noqa: PLC0415

    address = DBusAddress(object_path, _SERVICE, f"{_SERVICE}.{interface}")
    message = new_method_call(address, method, signature, arguments)
    return unwrap_msg(bus.send_and_get_reply(message, timeout=_TIMEOUT))[0]


def _denied(path: str, reason: str) -> DeviceRefused:
    return DeviceRefused(
        "flash.no-permission",
        f"you may not write to the device, and {reason}",
        place=path,
        hint="run the command as root, or ask an administrator for access to the device",
    )
