"""What is said to a cluster, and how one is left."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from playhead import flow
from playhead.dask import DaskTaskRunner, LostCallsFail
from playhead.engine.execution import remote_calls
from playhead.exceptions import ConfigurationError
from playhead.ray import RayTaskRunner, remote_options
from playhead.task_runners import CALLS_MAX, ClusterTaskRunner, TaskConcurrencyType
from tests.runners import work
from tests.sdk.conftest import Service

dask = pytest.mark.xdist_group("dask")
ray = pytest.mark.xdist_group("ray")

_DASK_SCRIPT = """
import os
from playhead import flow, task
from playhead.dask import DaskTaskRunner

@task
def pid(x):
    return os.getpid()

one = {"n_workers": 1, "dashboard_address": "127.0.0.1:0"}

@flow(task_runner=DaskTaskRunner(cluster_kwargs=one, adapt_kwargs=ADAPT))
def main():
    return os.getpid() in pid.map([1, 2, 3]).result()

print("elsewhere", main())
"""

_RAY_SCRIPT = """
import os
from playhead import flow, task
from playhead.ray import RayTaskRunner

@task
def pid(x):
    return os.getpid()

one = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False, "_temp_dir": FOLDER}

@flow(task_runner=RayTaskRunner(init_kwargs=one))
def main():
    return os.getpid() in pid.map([1, 2, 3]).result()

print("elsewhere", main())
import ray
assert not ray.is_initialized()
"""


def run_script(folder: Path, text: str) -> str:
    """What a script prints."""
    script = folder / "script.py"
    script.write_text(text)
    environment = {**os.environ, "PLAYHEAD_HOME": str(folder / "home")}
    done = subprocess.run([sys.executable, str(script)], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dask
@pytest.mark.parametrize("adapt", [None, {"minimum": 0, "maximum": 1, "interval": "10ms"}], ids=["fixed", "adaptive"])
def test_a_plain_script_makes_a_dask_cluster_and_is_not_called_by_its_workers(
    tmp_path: Path, adapt: dict[str, Any] | None
) -> None:
    printed = run_script(tmp_path, _DASK_SCRIPT.replace("ADAPT", repr(adapt)))
    assert printed.splitlines().count("elsewhere False") == 1


@ray
def test_a_plain_script_starts_a_ray_of_its_own_and_ends_it(ray_folder: str, tmp_path: Path) -> None:
    assert run_script(tmp_path, _RAY_SCRIPT.replace("FOLDER", repr(ray_folder))) == "elsewhere False\n"


@dask
def test_a_cluster_that_is_there_is_used_and_left_as_it_is(embedded: Service) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:

        @flow(task_runner=DaskTaskRunner(cluster=cluster))
        def using() -> Any:
            return work.pid.submit().result()

        assert using() == using() == os.getpid()
        assert cluster.status.name == "running"


@dask
def test_a_call_that_has_lost_its_worker_is_not_called_again_by_dask(
    dask_scheduler: str, embedded: Service, tmp_path: Path
) -> None:
    @flow(task_runner=DaskTaskRunner(address=dask_scheduler))
    def losing() -> str:
        state = work.die_once.submit(tmp_path / "died").wait()
        assert state is not None
        return f"{state.message} {state.result(raise_on_failure=False)}"

    assert losing().startswith("The Dask worker that ran the task was lost: ")


@ray
def test_the_ray_of_the_tests_listens_on_this_machine_alone(ray_cluster: None) -> None:
    addresses = set()
    for process in [me := psutil.Process(), *me.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # a worker that had nothing to do has ended
            heard = process.net_connections("inet")
            addresses |= {at.laddr.ip.removeprefix("::ffff:") for at in heard if at.status == psutil.CONN_LISTEN}
    assert addresses
    assert {address for address in addresses if not ip_address(address).is_loopback} == set()


@ray
def test_one_worker_of_pytest_has_all_tests_of_a_cluster(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@ray"), "pytest-xdist does not group the tests: make .venv/dev.stamp"


@ray
def test_options_of_ray_go_with_what_is_submitted(ray_cluster: None, embedded: Service) -> None:
    @flow(task_runner=RayTaskRunner())
    def using() -> Any:
        with remote_options(num_cpus=2, runtime_env={"env_vars": {"ANSWER": "42"}}):
            future = work.variable.submit("ANSWER")
        return future.result(), work.variable.submit("ANSWER").result()

    assert using() == ("42", None)


@pytest.mark.parametrize(("module", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_without_its_library_a_runner_says_what_to_install(module: str, library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import playhead.{module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"pip install 'playhead[{module}]'; in a clone: pip install -e '.[{module}]'" in done.stderr


def test_other_runners_load_neither_library() -> None:
    program = "import sys, playhead.task_runners; sys.exit(bool({'distributed', 'dask', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="Cannot specify `address` together with `cluster_class`, `adapt_kwargs`"):
        DaskTaskRunner(address="tcp://here:1", cluster_class="x.Y", adapt_kwargs={"minimum": 1})
    with pytest.raises(ValueError, match="Cannot specify `cluster` together with `address`"):
        DaskTaskRunner(cluster=object(), address="tcp://here:1")
    with pytest.raises(ValueError, match="`client_kwargs` cannot set `asynchronous`"):
        DaskTaskRunner(client_kwargs={"asynchronous": True})


@pytest.mark.parametrize("runner", [DaskTaskRunner(address="tcp://here:1"), RayTaskRunner("auto", {"num_cpus": 1})])
def test_each_flow_run_has_a_runner_of_its_own_with_the_same_options(runner: ClusterTaskRunner) -> None:
    other = runner.duplicate()
    assert other is not runner
    assert other == runner != type(runner)()
    assert runner.concurrency_type == TaskConcurrencyType.PARALLEL
    assert runner.name in ("dask", "ray")


def test_a_scheduler_that_is_not_there_fails_the_submission(embedded: Service) -> None:
    @flow(task_runner=DaskTaskRunner(address="tcp://127.0.0.1:9", client_kwargs={"timeout": 0.1}))
    def submitting() -> None:
        with pytest.raises(OSError, match="Timed out trying to connect"):
            work.pid.submit()

    submitting()


class Growing(ClusterTaskRunner):
    """A cluster whose workers are a number."""

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.size = size

    def options(self) -> dict[str, Any]:
        return {"size": self.size}

    def connect(self) -> None:
        pass

    def workers(self) -> int:
        return self.size

    def send(self, call: bytes) -> bytes:
        return remote_calls.answer(call)

    def disconnect(self) -> None:
        pass


def test_a_cluster_that_can_not_be_connected_to_is_left_as_far_as_it_was_entered(embedded: Service) -> None:
    left = []

    class Unreachable(Growing):
        def connect(self) -> None:
            raise OSError("nobody is there")

        def disconnect(self) -> None:
            left.append(True)

    @flow(task_runner=Unreachable())
    def submitting() -> None:
        with pytest.raises(OSError, match="nobody is there"):
            work.pid.submit()

    submitting()
    assert left == [True]


@pytest.mark.parametrize(("workers", "calls"), [(0, 1), (1, 2), (16, 32), (CALLS_MAX, CALLS_MAX)])
def test_twice_as_many_calls_as_workers_are_under_way(workers: int, calls: int) -> None:
    runner = Growing(workers)
    assert runner._start()._slots == calls


def test_a_cluster_that_has_grown_gets_more_calls_and_one_that_has_shrunk_fewer() -> None:
    runner = Growing(1)
    pool = runner._pool = runner._start()
    for runner.size, slots in ((4, 8), (2, 4)):
        runner._looked_at = 0.0
        runner.look()
        assert pool._slots == slots


def test_a_file_is_not_opened_as_the_journal_on_another_machine(
    embedded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moving(Growing):
        def send(self, call: bytes) -> bytes:
            with monkeypatch.context() as other:
                other.setattr("platform.node", lambda: "there")
                return remote_calls.answer(call)

    @flow(task_runner=Moving())
    def moving() -> None:
        error = work.add.submit(1).result(raise_on_failure=False)
        assert isinstance(error, ConfigurationError)
        assert "start a server with `playhead server start`, and set PLAYHEAD_API_URL" in str(error)

    moving()


def test_the_plugin_takes_dasks_own_tries_from_calls_of_playhead_alone() -> None:
    class Task:
        suspicious = 0

    class Scheduler:
        allowed_failures = 3

        def __init__(self) -> None:
            self.tasks = {"playhead-1": Task(), "other": Task()}

    scheduler, plugin = Scheduler(), LostCallsFail()
    plugin.start(scheduler)
    for key in scheduler.tasks:
        plugin.transition(key, "waiting", "processing")
    assert {key: task.suspicious for key, task in scheduler.tasks.items()} == {"playhead-1": 3, "other": 0}
