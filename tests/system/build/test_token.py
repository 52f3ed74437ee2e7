"""A key in a token signs as a file does: SoftHSM stands for the token."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from piimage.run import Runner
from piimage.signing import Signer
from tests.unit.signing_keys import pair


def test_a_key_in_a_token_gives_the_bytes_that_its_file_gives(tmp_path: Path) -> None:
    settings = tmp_path / ".config/softhsm2/softhsm2.conf"
    settings.parent.mkdir(parents=True)
    (tmp_path / "tokens").mkdir()
    settings.write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    runner = Runner(
        environment={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    )
    ours = pair(tmp_path, "ours")
    softhsm = ("softhsm2-util", "--token", "garden", "--pin", "1234")
    label = ("softhsm2-util", "--init-token", "--free", "--label", "garden")
    subprocess.run(
        [*label, "--pin", "1234", "--so-pin", "1234"],
        env=dict(runner.environment), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    subprocess.run(
        [*softhsm, "--import", ours.key, "--label", "system", "--id", "01"],
        env=dict(runner.environment), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (tmp_path / "pin").write_text("1234")
    uri = f"pkcs11:token=garden;object=system?pin-source=file:{tmp_path}/pin"
    signature = Signer(uri, ours.certificate).sign(b"a recipe", runner)
    assert signature == ours.signer.sign(b"a recipe", Runner())
