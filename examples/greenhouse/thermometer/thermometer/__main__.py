"""Serves the temperature on port 8080: ``{"celsius": 21.5}``, or null without a sensor."""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from smbus2 import SMBus

from thermometer import read_celsius


def measured():
    """Return the temperature; None if the sensor does not answer."""
    try:
        with SMBus("/dev/i2c-1") as bus:
            return read_celsius(bus)
    except OSError:
        return None


class Page(BaseHTTPRequestHandler):
    """The only page."""

    def do_GET(self):
        """Answer with the temperature."""
        body = json.dumps({"celsius": measured()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Print nothing: the health check asks every ten seconds."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server = ThreadingHTTPServer(("", 8080), Page)
print("listening on port 8080")
server.serve_forever()
