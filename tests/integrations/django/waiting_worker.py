"""A process of its own in the tests of Django's line: python -m tests.integrations.django.waiting_worker DATABASE NAME.

DATABASE is Django's setting of one, as JSON. Each line on standard input is something to do, of which one line tells what came of it.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def configure(database: dict[str, Any]) -> None:
    """Django with nothing but the locks, in this database."""
    import django
    import pymysql
    from django.conf import settings

    pymysql.version_info = (2, 2, 7, "final", 0)  # as Django asks of mysqlclient, in whose place it is
    pymysql.install_as_MySQLdb()
    settings.configure(
        INSTALLED_APPS=["holdfast.integrations.django"],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def main() -> None:
    """Until the end of the input."""
    database, name = sys.argv[1:]
    configure(json.loads(database))
    from django.core.management import call_command
    from django.db import connections, transaction

    from holdfast.core.paths import ResourcePath
    from holdfast.integrations import LockedError
    from holdfast.integrations.backends import Locks, Wanted
    from holdfast.integrations.django.database import DjangoBackend
    from holdfast.integrations.django.models import LockPlace

    locks = Locks(backend=DjangoBackend())
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["migrate"]:
                call_command("migrate", verbosity=0)
                call_command("makemigrations", check=True, dry_run=True, verbosity=0)
                print("migrated", flush=True)
            case ["line"]:
                print(
                    json.dumps(list(LockPlace.objects.order_by("seq").values_list("principal", flat=True))), flush=True
                )
            case ["acquire" | "acquire-atomic" as how, wait]:
                wanted = Wanted(resource=ResourcePath("/a"), principal=name, wait=float(wait), ttl=60)
                try:
                    if how == "acquire":
                        held = locks.acquire(wanted)
                    else:
                        with transaction.atomic():
                            held = locks.acquire(wanted)
                except LockedError as error:
                    print(json.dumps(str(error)), flush=True)
                    continue
                print(held.fencing_token, flush=True)
            case ["release"]:
                locks.release(held.id, held.token, name)
                print("released", flush=True)
            case ["lapse"]:
                LockPlace.objects.update(kept_until_ms=0)
                print("lapsed", flush=True)
            case _:
                break
    connections.close_all()


if __name__ == "__main__":
    main()
