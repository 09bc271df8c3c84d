"""A program that serves on a free port, alone or with two workers, for the tests to start, kill and stop."""

from __future__ import annotations

import os
import socket
import sys

from holdfast.edge.serve import serve
from holdfast.edge.settings import EdgeConfig, mounted
from holdfast.edge.workers import supervise
from holdfast.wire.exchange import Response
from tests.edge.tiny import Broadcast, Identity, Settled, Ticket, TinyFace, Uploads, plain_app


def tell_pid(request):
    if request.target == "/dav/die":
        os._exit(3)
    if request.target == "/dav/park":
        return Response(0, [], Ticket(at_hasten=Response(423, [], b"later")))
    if request.target == "/dav/live":
        return Response(200, [], Broadcast(f"{os.getpid()}".encode()))
    return Response(200, [], f"{os.getpid()}".encode())


def serve_worker(settings, sockets, on_ready):
    if settings == "broken":
        raise SystemExit(7)
    config = EdgeConfig(
        route=mounted({"/dav": TinyFace(tell_pid)}), identifier=Identity(), settle=Settled(), new_upload=Uploads()
    )
    serve(plain_app, config, sockets, graceful_s=5, on_ready=on_ready)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    if sys.argv[1] == "single":
        serve_worker("single", [listening], lambda: print(port, flush=True))
        print("stopped", flush=True)
        sys.exit(0)
    code = supervise(serve_worker, sys.argv[1], [listening], 2, on_ready=lambda: print(port, flush=True))
    print("stopped", code, flush=True)
    sys.exit(code)
