"""The committed Python of the contract is what the .proto files say today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.contract.compatibility import ROOT

COMMITTED = ROOT / "src/playhead/v1"


def test_generating_again_changes_no_byte(tmp_path: Path) -> None:
    subprocess.run(
        [ROOT / "proto/generate.sh", tmp_path],
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        capture_output=True,
    )
    generated = _files(tmp_path / "playhead/v1")
    committed = _files(COMMITTED)
    del committed["__init__.py"]  # written by hand
    assert generated.keys() == committed.keys()
    assert [name for name in generated if generated[name] != committed[name]] == []


def test_all_messages_and_enums_are_names_of_the_v1_package() -> None:
    from playhead import v1

    exported = (COMMITTED / "__init__.py").read_text()
    modules = [path.stem for path in COMMITTED.glob("*_pb2.py")]
    assert [module for module in modules if f"from playhead.v1.{module} import *" not in exported] == []
    assert v1.State(type=v1.RUNNING).type == v1.StateType.RUNNING


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
