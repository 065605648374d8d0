"""The edge: the service over gRPC.

It promises to add nothing to the answers: messages of `playhead.v1` go to the services and back, commands through a
process of their own that writes; errors leave as statuses with their reason and facts, and a server that is told to
stop finishes what it has begun.

    run(host, port, uds, database)   a server until SIGTERM or SIGINT, for a blocking caller
    serve(..., stop)                 a server until an event is set, in an event loop that runs already
    status_of(error)                 the google.rpc.Status of an error

Read caller.py, status.py, servicers.py, writing.py, commanding.py, server.py in this order.
"""

from playhead.grpc_server.server import run, serve
from playhead.grpc_server.status import status_of

__all__ = ["run", "serve", "status_of"]
