"""The observer of answers: each is counted and measured, and noted in the log where that is wanted.

Owns: what an address is called in the metrics, and that this costs a request next to nothing. Must not know: how
numbers are kept or lines are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

from holdfast.logs import RequestLog
from holdfast.metrics import Metrics
from holdfast.wire.exchange import Request, Response

__all__ = ["observer"]


def observer(
    metrics: Metrics,
    log: RequestLog,
    *,
    labels: Mapping[str, str],
    otherwise: str,
    notes_all: bool,
    simulated: str = "",
) -> Callable[[Request, Response], None]:
    """What the edge tells of every answer. `labels` names the face of an address by its first segment, the busiest first.

    With `notes_all` each answer goes to `log`, else each of 500 and above. What is answered below the address `simulated`
    is counted apart and is no failure to be noted: whoever asked for a 500 there got what they wanted.
    """
    answers = {segment: metrics.answers_of(face) for segment, face in labels.items()}
    others = metrics.answers_of(otherwise)
    segment, busiest = next(iter(answers.items()))
    prefix = f"/{segment}/"
    # By class: whoever asks there chooses the status, and 500 of them by each method would be as many series.
    pretended = metrics.answers_of("simulator", by_class=True)
    below = f"{simulated}/" if simulated else ""
    note = log.note
    least = 0 if notes_all else 500

    def observe(request: Request, response: Response) -> None:
        status = response.status
        started = request.started
        seconds = perf_counter() - started if started else None
        target = request.target
        if target.startswith(prefix):
            busiest.add(request.method, status, seconds)
        elif below and target.startswith(below):
            pretended.add(request.method, status, seconds)
            if not notes_all:
                return
        else:
            answers.get(target.lstrip("/").partition("/")[0], others).add(request.method, status, seconds)
        if status >= least:
            note(request, response, seconds)

    return observe
