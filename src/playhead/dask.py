"""Tasks on a Dask cluster. Needs the extra `dask`: pip install 'playhead[dask]', in a clone -e '.[dask]'."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import Event
from typing import Any

from playhead.engine.execution.effects import CalledOff, WorkerLost
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.remote_calls import answer
from playhead.task_runners import LOOK_S, ClusterTaskRunner

try:
    from distributed import CancelledError, Client, KilledWorker, LocalCluster, SchedulerPlugin
except ImportError as error:
    raise ImportError(
        f"DaskTaskRunner needs Dask ({error}): pip install 'playhead[dask]'; in a clone: pip install -e '.[dask]'"
    ) from error

_KEY = "playhead-"


class DaskTaskRunner(ClusterTaskRunner):
    """Runs tasks on the workers of a Dask cluster.

    cluster           a cluster that is there, a `distributed` cluster object
    address           the address of a scheduler, "tcp://host:8786"
    cluster_class     what makes a cluster for each flow run: a class or its import path; by default LocalCluster, which
                      is processes of this machine
    cluster_kwargs    its arguments
    adapt_kwargs      let the made cluster adapt itself: {"minimum": 0, "maximum": 10}
    client_kwargs     further arguments of the Dask client

    A script that makes a LocalCluster is run again by its workers, as `multiprocessing` does; its flows are not called
    there. When a flow run is cancelled, functions that run on workers of a cluster that stays go on, unheard.

    Raises ValueError for options that contradict each other.
    """

    def __init__(
        self,
        cluster: Any = None,
        address: str | None = None,
        cluster_class: str | Callable[..., Any] | None = None,
        cluster_kwargs: dict[str, Any] | None = None,
        adapt_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._options = {
            "cluster": cluster,
            "address": address,
            "cluster_class": cluster_class,
            "cluster_kwargs": cluster_kwargs,
            "adapt_kwargs": adapt_kwargs,
            "client_kwargs": client_kwargs,
        }
        _check(self._options)
        self._own_cluster: Any = None
        self._client: Any = None

    def options(self) -> dict[str, Any]:
        """What it was made with, by name."""
        return self._options

    def connect(self) -> None:
        """Connect to the scheduler, or make a cluster."""
        options = self._options
        where = options["cluster"] or options["address"]
        if not where:
            where = self._own_cluster = _class(options["cluster_class"])(**(options["cluster_kwargs"] or {}))
            if options["adapt_kwargs"]:
                where.adapt(**options["adapt_kwargs"])
        self._client = Client(where, **{"set_as_default": False, **(options["client_kwargs"] or {})})
        self._client.register_plugin(LostCallsFail(), name="playhead")

    def workers(self) -> int:
        """How many threads the workers have."""
        return sum(self._client.nthreads().values())

    def send(self, call: bytes) -> bytes:
        """Have a worker answer."""
        future = self._client.submit(answer, call, key=f"{_KEY}{new_id()}", pure=False)
        ended = Event()
        # The future is waited for here: `result(timeout)` can lose the answer when it comes as the time is over.
        future.add_done_callback(lambda _: ended.set())
        try:
            while not ended.wait(LOOK_S):
                self.look()
            reply: bytes = future.result()
            return reply
        except CalledOff:
            future.cancel()
            raise
        except KilledWorker as error:
            raise WorkerLost(f"The Dask worker that ran the task was lost: {error}") from None
        except CancelledError as error:
            raise WorkerLost(f"The Dask cluster has given up the task: {error}") from None

    def disconnect(self) -> None:
        """Leave the scheduler, and end the cluster that was made."""
        if self._client is not None:
            self._client.close()
        if self._own_cluster is not None:
            self._own_cluster.close()


class LostCallsFail(SchedulerPlugin):  # type: ignore[misc]  # Dask's types are not looked at
    """On the scheduler: a call whose worker is lost fails at once.

    Dask itself would call the function again, up to `allowed-failures` times. Whether it is tried again is for the
    retry policy of its run to say.
    """

    idempotent = True

    def start(self, scheduler: Any) -> None:
        """Called by the scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Called by the scheduler when a task changes its state: one that is given to a worker has no other try."""
        if finish == "processing" and isinstance(key, str) and key.startswith(_KEY):
            self._scheduler.tasks[key].suspicious = self._scheduler.allowed_failures


def _check(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value and name != "client_kwargs"]
    if len(given) > 1 and given[0] in ("cluster", "address"):
        others = ", ".join(f"`{name}`" for name in given[1:])
        raise ValueError(f"Cannot specify `{given[0]}` together with {others}.")
    for name in ("cluster_kwargs", "client_kwargs"):
        if "asynchronous" in (options[name] or {}):
            raise ValueError(f"`{name}` cannot set `asynchronous`: the runner waits in threads of its own.")


def _class(chosen: str | Callable[..., Any] | None) -> Callable[..., Any]:
    if not isinstance(chosen, str):
        return chosen or LocalCluster
    module, _, name = chosen.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found
