"""The schemas of hawkBit's device interface notice what hawkBit would refuse."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.programs.deploy.ddi_schema import answer_faults, request_faults
from tests.programs.deploy.ddi_server import ddi_server

DEVICE = "/DEFAULT/controller/v1/10000a1b"
FEEDBACK = f"{DEVICE}/deploymentBase/7/feedback"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
CLOSED = {"status": {"execution": "closed", "result": {"finished": "success"}, "details": ["ok"]}}


def faults(method: str, target: str, body: object = None, **headers: str) -> list[str]:
    return list(request_faults(method, target, HEADERS | headers, body))


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", DEVICE, None),
        ("GET", f"{DEVICE}/deploymentBase/7?c=-2127183556&actionHistory=10", None),
        ("POST", FEEDBACK, {"time": "2023-08-03T12:31:41.890992967Z", **CLOSED}),
        ("PUT", f"{DEVICE}/configData", {"mode": "merge", "data": {"VIN": "JH4TB2H26CC000000"}}),
        ("POST", f"{DEVICE}/confirmationBase/10/feedback", {"confirmation": "denied", "code": 5}),
        ("POST", f"{DEVICE}/confirmationBase/activateAutoConfirm", {"initiator": "a user"}),
        ("POST", f"{DEVICE}/confirmationBase/deactivateAutoConfirm", None),
    ],
)
def test_what_hawkbits_documentation_shows_is_right(method: str, target: str, body: object) -> None:
    assert faults(method, target, body) == []


@pytest.mark.parametrize(
    ("method", "target", "body", "why"),
    [
        ("PUT", FEEDBACK, CLOSED, "no such operation"),
        ("GET", "/DEFAULT/10000a1b", None, "no such operation"),
        ("POST", FEEDBACK, None, "None is not of type 'object'"),
        ("POST", FEEDBACK, {"status": {"execution": "closed"}}, "'result' is a required"),
        ("POST", FEEDBACK, {"status": {**CLOSED["status"], "execution": "done"}}, "'done' is not"),
        ("POST", FEEDBACK, {"status": {**CLOSED["status"], "details": "ok"}}, "'ok' is not of"),
        ("POST", FEEDBACK, {**CLOSED, "stats": 1}, "'stats' was unexpected"),
        ("PUT", f"{DEVICE}/configData", {"data": {}}, "data"),
        ("PUT", f"{DEVICE}/configData", {"data": {"a": 1}}, "1 is not of type 'string'"),
        ("PUT", f"{DEVICE}/configData", {"data": {"a": "x" * 129}}, "does not match"),
        ("PUT", f"{DEVICE}/configData", {"data": {"a": "gewächshaus"}}, "does not match"),
        ("POST", f"{DEVICE}/confirmationBase/deactivateAutoConfirm", {}, "not of type 'null'"),
    ],
)
def test_what_hawkbit_would_refuse_is_noticed(
    method: str, target: str, body: object, why: str
) -> None:
    (found,) = faults(method, target, body)
    assert why in found


def test_types_of_contents_are_those_that_hawkbit_takes() -> None:
    assert "another type" in faults("POST", FEEDBACK, CLOSED, **{"Content-Type": "text/plain"})[0]
    assert "does not accept" in faults("GET", DEVICE, Accept="text/html")[0]


def test_answers_are_held_too() -> None:
    assert list(answer_faults("GET", DEVICE, {"config": {"polling": {"sleep": "00:05:00"}}})) == []
    (found,) = answer_faults("GET", DEVICE, {"config": {"polling": {"sleep": 300}}})
    assert "300 is not of type 'string'" in found


def test_a_request_that_hawkbit_would_refuse_fails_the_test_that_sent_it() -> None:
    with pytest.raises(AssertionError, match="'stats' was unexpected"), ddi_server() as ddi:
        body = json.dumps({**CLOSED, "stats": 1}).encode()
        target = f"{ddi.url}/t/controller/v1/pi/deploymentBase/7/feedback"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(urllib.request.Request(target, body, HEADERS))
