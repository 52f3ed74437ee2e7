"""YAML of the tests by libyaml; PyYAML's own reader and writer take ten times as long."""

from __future__ import annotations

from typing import Any

import yaml


def loaded(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


def dumped(data: object) -> str:
    return yaml.dump(data, Dumper=yaml.CSafeDumper)
