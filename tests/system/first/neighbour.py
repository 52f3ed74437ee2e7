"""Another machine on the network, for the tests: holds a host name, or prints what is announced.

neighbour.py hold NAME      answers to NAME.local until it is ended; prints a line once it does
neighbour.py browse TYPE    prints the services of a type after five seconds, as JSON
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time

from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

ADDRESS = "10.214.7.1"


def hold(name: str) -> None:
    kind = "_workstation._tcp.local."
    info = ServiceInfo(
        kind, f"{name}.{kind}", 9, addresses=[socket.inet_aton(ADDRESS)], server=f"{name}.local."
    )
    network = Zeroconf(interfaces=[ADDRESS])
    network.register_service(info)
    sys.stdout.write("held\n")
    sys.stdout.flush()
    signal.pause()


def browse(kind: str) -> None:
    names: set[str] = set()
    network = Zeroconf(interfaces=[ADDRESS])
    ServiceBrowser(network, f"{kind}.local.", handlers=[lambda name, **_: names.add(name)])
    time.sleep(5)
    found = {}
    for name in names:
        info = network.get_service_info(f"{kind}.local.", name)
        assert info is not None
        found[name] = [info.server, info.port, dict(info.decoded_properties)]
    network.close()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    {"hold": hold, "browse": browse}[sys.argv[1]](sys.argv[2])
