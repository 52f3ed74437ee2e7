from __future__ import annotations

import pytest

from piimage.oci.complaints import explain
from piimage.oci.reference import parse

LOG = 'time="2026-11-23T20:00:00Z" level=fatal msg="{}"'


@pytest.mark.provokes("oci.rate-limit", "oci.registry")
@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("reading manifest 1 in h/x: manifest unknown: manifest unknown", "oci.no-image"),
        ("reading manifest 1 in h/x: name unknown: repository name not known", "oci.no-image"),
        ("requested access to the resource is denied", "oci.refused"),
        ("unable to retrieve auth token: invalid username/password: unauthorized", "oci.refused"),
        ("dial tcp: lookup h: no such host", "oci.unreachable"),
        ("lookup h on [::1]:53: Temporary failure in name resolution", "oci.unreachable"),
        ("dial tcp 127.0.0.1:9: connect: connection refused", "oci.unreachable"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "oci.unreachable"),
        ("http: server gave HTTP response to HTTPS client", "oci.plain-http"),
        ("x509: certificate signed by unknown authority", "oci.tls"),
        ("remote error: tls: handshake failure", "oci.tls"),
        ("toomanyrequests: You have reached your pull rate limit", "oci.rate-limit"),
        ("Digest did not match, expected sha256:1, got sha256:2", "oci.digest-mismatch"),
        ("received unexpected HTTP status: 500 Internal Server Error", "oci.registry"),
        ("", "oci.registry"),
    ],
)
@pytest.mark.parametrize("form", ["{}", LOG])
def test_each_complaint_has_its_cause(output: str, code: str, form: str) -> None:
    for others in ("toomanyrequests", "anything else"):
        explain(others, parse("h.example/x"))
    error = explain(form.format(output), parse("h.example/x:1"))
    assert error.code == code
    assert error.place == "h.example/x:1"
    assert error.hint


def test_an_unknown_complaint_is_shown_without_the_log_format() -> None:
    error = explain(LOG.format('the \\"thing\\" broke'), parse("h.example/x"))
    assert error.message == 'h.example failed: the "thing" broke'


def test_the_default_registry_needs_no_name() -> None:
    error = explain("connection refused", parse("x"))
    assert error.message.startswith("the default registry cannot be reached")
