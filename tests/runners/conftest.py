"""The runners that call functions in other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from playhead.task_runners import ProcessPoolTaskRunner
from tests.sdk.conftest import embedded, server_address, service

__all__ = ["embedded", "server_address", "service"]

MakeRunner = Callable[[], Any]


@pytest.fixture(scope="session")
def dask_scheduler() -> Iterator[str]:
    """The address of a Dask cluster of two processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[str]:
    """What Ray has on disk, gone after the tests. In /tmp: the paths of Ray's sockets must not be long."""
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture(scope="session")
def ray_cluster(ray_folder: str) -> Iterator[None]:
    """This process is connected to a Ray of two CPUs."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, _temp_dir=ray_folder)
    yield
    ray.shutdown()


# One worker of pytest has all tests of a runner, so that no two clusters of a kind start at a time: Ray's node gives up
# when its agent does not answer 15 s after its start, which no setting of Ray's changes.
RUNNERS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("processes", "dask", "ray")]


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> MakeRunner:
    """A runner with two workers of one thread each."""
    if request.param == "dask":
        from playhead.dask import DaskTaskRunner

        address = request.getfixturevalue("dask_scheduler")
        return lambda: DaskTaskRunner(address=address)
    if request.param == "ray":
        from playhead.ray import RayTaskRunner

        request.getfixturevalue("ray_cluster")
        return RayTaskRunner
    return lambda: ProcessPoolTaskRunner(max_workers=2)
