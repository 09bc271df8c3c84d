"""Logs: their two forms, and the line about an answered request.

Owns: how a record is written, request ids, and that no line holds a credential: of a request only its method, path,
principal and status are told, never its fields, query or body. Must not know: what others have to say.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Final

from holdfast.config import LogFormat
from holdfast.wire.exchange import Request, Response

__all__ = ["ACCESS", "REQUEST_ID", "RequestLog", "set_up_logs"]

ACCESS: Final = "holdfast.access_log"
"""The logger of answered requests."""

REQUEST_ID: Final = "X-Request-Id"

_FAILED: Final = "holdfast.requests"
_REQUEST_ID_FIELD: Final = b"x-request-id"
_USABLE_ID: Final = re.compile(r"[A-Za-z0-9._:+=@-]{1,128}")
_TOLD: Final = ("request_id", "client", "principal", "method", "path", "status", "ms")
"""What a record may carry beside its message."""


class _JsonLines(logging.Formatter):
    """One JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, logger, message, what else the record carries, and the traceback of an exception."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _TOLD:
            value: object = getattr(record, name, None)
            if value is not None:
                told[name] = value
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)


def set_up_logs(form: LogFormat) -> None:
    """Write warnings, and all that is said of requests, to standard error in this form; harmless when repeated."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if handler.get_name() == __name__:
            root.removeHandler(handler)
            handler.close()
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name(__name__)
    handler.setFormatter(_JsonLines() if form is LogFormat.JSON else logging.Formatter("%(message)s"))
    root.addHandler(handler)
    logging.captureWarnings(capture=form is LogFormat.JSON)


class RequestLog:
    """Gives requests their ids, and writes the line about each that was answered."""

    def __init__(self, *, writes_all: bool) -> None:
        """With `writes_all` there is a line for each answer, else only for a 500; `note` is called for these alone."""
        self._writes_all = writes_all
        self._access = logging.getLogger(ACCESS)
        self._failed = logging.getLogger(_FAILED)
        if writes_all:
            self._access.setLevel(logging.INFO)

    def note(self, request: Request, response: Response, seconds: float | None) -> None:
        """Write the line, and let the client know the id. `seconds` it took, None where it was parked."""
        request_id = request_id_of(request)
        response.headers.append((REQUEST_ID, request_id))
        if not self._writes_all and response.status != 500:
            return
        principal = None if request.principal is None else request.principal.name
        taken = None if seconds is None else round(seconds * 1000, 3)
        logger, level = (self._access, logging.INFO) if self._writes_all else (self._failed, logging.ERROR)
        logger.log(
            level,
            '%s %s "%s %s" %d %s id=%s',
            request.client or "-",
            principal or "-",
            request.method,
            request.target,
            response.status,
            "-" if taken is None else f"{taken:g}ms",
            request_id,
            extra={
                "request_id": request_id,
                "client": request.client,
                "principal": principal,
                "method": request.method,
                "path": request.target,
                "status": response.status,
                "ms": taken,
            },
        )


def request_id_of(request: Request) -> str:
    """The id that the client, or a proxy before it, gave the request; a new one where that is missing or of odd form."""
    sent = request.headers.get(_REQUEST_ID_FIELD)
    return sent if sent is not None and _USABLE_ID.fullmatch(sent) else os.urandom(8).hex()
