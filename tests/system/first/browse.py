"""A program of the tests: prints the services of a type on the network, as JSON.

browse.py TYPE: name to server, port and texts, of those that answer within five seconds.
"""

from __future__ import annotations

import json
import sys
import time

from zeroconf import ServiceBrowser, Zeroconf


def browse(kind: str) -> dict[str, object]:
    names: set[str] = set()
    found: dict[str, object] = {}
    network = Zeroconf()
    ServiceBrowser(network, f"{kind}.local.", handlers=[lambda name, **_: names.add(name)])
    time.sleep(5)
    for name in names:
        info = network.get_service_info(f"{kind}.local.", name)
        if info is not None:
            found[name] = [info.server, info.port, dict(info.decoded_properties)]
    network.close()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(browse(sys.argv[1])))
