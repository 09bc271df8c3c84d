"""aiohttp's own runner around one of the applications: `python -m tests.integrations.aiohttp_runner tests.integrations.applications:<name>`."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys

from aiohttp import web


async def serve(named: str) -> None:
    module, _, name = named.partition(":")
    runner = web.AppRunner(getattr(importlib.import_module(module), name)())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        print(f"running on http://127.0.0.1:{runner.addresses[0][1]}", file=sys.stderr, flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
