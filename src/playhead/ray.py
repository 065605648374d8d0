"""Tasks on a Ray cluster. Needs the extra `ray`: pip install 'playhead[ray]', in a clone -e '.[ray]'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from playhead.engine.execution.effects import CalledOff, WorkerLost
from playhead.engine.execution.remote_calls import answer
from playhead.task_runners import LOOK_S, ClusterTaskRunner

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise ImportError(
        f"RayTaskRunner needs Ray ({error}): pip install 'playhead[ray]'; in a clone: pip install -e '.[ray]'"
    ) from error

_options: ContextVar[dict[str, Any] | None] = ContextVar("remote_options", default=None)


class RayTaskRunner(ClusterTaskRunner):
    """Runs tasks on the workers of a Ray cluster.

    address       unless this process is connected to Ray, the address of a cluster, "auto", "ray://host:10001", or
                  "local" for a Ray that is started on this machine for the flow run; by default the cluster that
                  `ray.init` finds (RAY_ADDRESS, `ray start` on this machine), else as "local"
    init_kwargs   further arguments of `ray.init`
    """

    def __init__(self, address: str | None = None, init_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"address": address, "init_kwargs": init_kwargs}
        self._own = False
        self._answer: Any = None

    def options(self) -> dict[str, Any]:
        """What it was made with, by name."""
        return self._options

    def connect(self) -> None:
        """Connect to Ray, unless this process is connected."""
        if not ray.is_initialized():
            ray.init(self._options["address"], **(self._options["init_kwargs"] or {}))
            self._own = True
        self._answer = ray.remote(answer)

    def workers(self) -> int:
        """How many CPUs the cluster has."""
        return int(ray.cluster_resources().get("CPU", 0))

    def send(self, call: bytes) -> bytes:
        """Have a worker answer."""
        answers = self._answer.options(**{**(_options.get() or {}), "max_retries": 0}).remote(call)
        try:
            while not ray.wait([answers], timeout=LOOK_S)[0]:
                self.look()
            reply: bytes = ray.get(answers)
            return reply
        except CalledOff:
            ray.cancel(answers, force=True)
            raise
        except RayTaskError:
            raise
        except RayError as error:
            raise WorkerLost(f"The Ray worker that ran the task was lost: {error}") from None

    def disconnect(self) -> None:
        """End the connection that was made."""
        if self._own:
            ray.shutdown()


@contextmanager
def remote_options(**options: Any) -> Iterator[None]:
    """Options of Ray for the tasks submitted inside: `num_cpus`, `num_gpus`, `resources`, …"""
    token = _options.set({**(_options.get() or {}), **options})
    try:
        yield
    finally:
        _options.reset(token)
