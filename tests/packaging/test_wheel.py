"""A wheel built from a clean checkout has all rooms as real files, takes one name in site-packages, and works there."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import Environment

ROOMS = ("journal", "projector", "logs", "engine", "replay", "grpc_server")

# One worker builds, and builds once.
pytestmark = pytest.mark.xdist_group("packaging")


def test_the_wheel_has_every_module_of_the_checkout(checkout: Path, wheel: Path) -> None:
    modules = {f"playhead/{path.relative_to(checkout)}" for room in ROOMS for path in (checkout / room).rglob("*.py")}
    sources = checkout / "src"
    modules |= {str(path.relative_to(sources)) for path in sources.rglob("*.py")}
    assert modules - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_rooms_are_real_files_in_the_wheel(wheel: Path) -> None:
    entries = zipfile.ZipFile(wheel).infolist()
    symlink = 0o120000
    assert [entry.filename for entry in entries if (entry.external_attr >> 16) & 0o170000 == symlink] == []
    names = {entry.filename for entry in entries}
    assert [room for room in ROOMS if f"playhead/{room}/__init__.py" not in names] == []


def test_the_wheel_takes_one_name_in_site_packages(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"playhead"}


def test_the_wheel_has_its_types_descriptors_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"playhead/py.typed", "playhead/v1/state_pb2.pyi", "playhead/v1/descriptors.binpb"} <= set(names)
    assert [name for name in names if name.endswith("dist-info/licenses/LICENSE")] != []


def test_the_sdist_has_the_rooms(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert [room for room in ROOMS if f"src/playhead/{room}/__init__.py" not in names] == []


def test_it_imports_from_an_empty_environment(environment: Environment, tmp_path: Path) -> None:
    imported = environment.run("-c", "import playhead; print(playhead.__path__[0])", cwd=tmp_path)
    assert Path(imported.strip()) == environment.site_packages / "playhead"


def test_every_room_imports_from_an_empty_environment(environment: Environment, tmp_path: Path) -> None:
    rooms = ", ".join(f"playhead.{room}" for room in ROOMS)
    environment.run("-c", f"from playhead import v1; import {rooms}", cwd=tmp_path)


def test_a_users_own_engine_module_and_the_room_are_two_things(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text("steam = True\n")
    environment.run("-c", "import engine, playhead.engine; assert engine.steam", cwd=tmp_path)


def test_the_first_flow_of_the_readme_runs_from_an_empty_environment(
    environment: Environment, checkout: Path, tmp_path: Path
) -> None:
    _, _, rest = (checkout / "README.md").read_text().partition("```python\n")
    (tmp_path / "hello.py").write_text(rest.partition("```")[0])
    assert environment.run("hello.py", cwd=tmp_path).split() == ["42"]


def test_the_command_line_starts_from_an_empty_environment(environment: Environment, tmp_path: Path) -> None:
    assert "server" in environment.run(str(environment.python.with_name("playhead")), "--help", cwd=tmp_path)
