"""A process that changes what is locked, in the tests of turns: python -m tests.integrations.django.changing_worker DATABASE NAME.

DATABASE is Django's setting of one, as JSON. Each line on standard input is something to do, of which one line tells what came of it.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Any

from tests.integrations.django.waiting_worker import configure


def main() -> None:
    """Until the end of the input."""
    database, name = sys.argv[1:]
    configure(json.loads(database))
    from django.core.management import call_command
    from django.db import connections

    from holdfast.core.decisions import Effect, Reach
    from holdfast.core.model import Depth
    from holdfast.core.paths import ResourcePath
    from holdfast.integrations import LockedError
    from holdfast.integrations.backends import Locks, Wanted
    from holdfast.integrations.django.database import DjangoBackend
    from holdfast.integrations.django.rows import NowMs

    class Later(NowMs):
        added_ms = 0

        def as_sql(self, compiler: Any, connection: Any, *args: Any, template: str | None = None, **more: Any) -> Any:
            return super().as_sql(compiler, connection, *args, template=f"({template} + {Later.added_ms})", **more)

    backend = DjangoBackend(now=Later())
    locks = Locks(backend=backend)
    block = ExitStack()
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["migrate"]:
                call_command("migrate", verbosity=0)
                told: object = "migrated"
            case ["later", seconds]:
                Later.added_ms = int(seconds) * 1000
                told = "later"
            case ["acquire", resource, ttl, depth, *reason]:
                wanted = Wanted(resource=ResourcePath(resource), principal=name, ttl=float(ttl), depth=Depth(depth))
                if reason:
                    wanted = Wanted(resource=ResourcePath(resource), principal=name, break_first="x", may_break=True)
                try:
                    lock = locks.acquire(wanted)
                    told = [lock.fencing_token, lock.id, lock.token]
                except LockedError as error:
                    told = [str(error)]
            case ["break", lock_id, after]:
                locks.break_(lock_id, name, "deploy", after=float(after), may_break=True)
                told = "broken"
            case ["change", reach, resource, *tokens]:
                block.enter_context(backend.holding(tokens))
                refused = backend.check([Effect(ResourcePath(resource), Reach(reach))], tokens, name)
                told = "changing" if refused is None else "refused"
            case ["commit"]:
                block.close()
                told = "committed"
            case _:
                break
        print(told if isinstance(told, str) else json.dumps(told), flush=True)
    block.close()
    connections.close_all()


if __name__ == "__main__":
    main()
