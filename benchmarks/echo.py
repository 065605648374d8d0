"""The baseline: a bare grpc.aio server that sends each proposal back, with the (de)serialisers of the real one."""

from __future__ import annotations

import asyncio

import grpc

from playhead import v1

METHOD = "/benchmarks.Echo/Say"


async def say(request: v1.ProposeStateRequest, context: object) -> v1.ProposeStateRequest:
    """The request is the answer."""
    return request


async def main() -> None:
    """Serve on a free loopback port, print the address, go on until the process is ended."""
    handler = grpc.unary_unary_rpc_method_handler(
        say,
        request_deserializer=v1.ProposeStateRequest.FromString,
        response_serializer=v1.ProposeStateRequest.SerializeToString,
    )
    service, name = METHOD.strip("/").split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
