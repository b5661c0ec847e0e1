"""Classes of fault: what another try can cure, how often it is worth one, and how long to wait before it. Pure.

| class | for example | tries again | waits |
| --- | --- | --- | --- |
| out of memory | the micro-batch is too large | `resources.retries` | no time: the next takes half the micro-batch |
| device | the process was killed | `resources.retries` | `resources.retry_delay_seconds`, doubled each time |
| network | MLflow or a store does not answer | `LONG_TRIES` | 5 s, doubled each time, a minute at most |
| disk full | no space, or no quota, is left | `LONG_TRIES` | as for the network: somebody may free some |
| none | the spec, the data, a loss that is not finite | never | |

Three minutes of a network that is gone, or of a full disk, are bridged; a wrong spec never costs a second try. A user
error is none of these while its user waits, even when a lost connection caused it: an address may be wrong. A run that
nobody waits for tries again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from posttrain.errors import OutOfMemory, TransientError, UserError

LONG_TRIES = 6
FIRST_LONG_WAIT = 5.0
LONGEST_WAIT = 60.0
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "TransportError", "TimeoutError")
"""Names of errors, and of their parents, that mean that somebody did not answer, whoever raises them."""
BUSY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes of a server that is there and cannot answer now."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Kind = Literal["out of memory", "device", "network", "disk full"]
LONG: tuple[Kind, ...] = ("network", "disk full")
"""What passes in minutes, if it passes."""


@dataclass(frozen=True)
class Retry:
    """Whether a fault is worth another try: the how manieth try failed, of how many, and how long to wait now."""

    kind: Kind
    attempt: int
    tries: int
    wait: float
    reason: str

    @property
    def again(self) -> bool:
        """Whether there is another try."""
        return self.attempt < self.tries

    def __str__(self) -> str:
        return f"try {self.attempt} of {self.tries} failed ({self.kind}): {self.reason}"


def weigh(error: BaseException, attempt: int, retries: int, delay: float, *, unattended: bool = False) -> Retry | None:
    """What to do after try number `attempt` (1 for the first) failed; None when no try can cure the fault.

    `retries` and `delay` are the spec's `resources.retries` and `resources.retry_delay_seconds`; `unattended` runs were
    started by a schedule.
    """
    kind = kind_of(error)
    if kind is None or (isinstance(error, UserError) and not unattended):
        return None
    first = FIRST_LONG_WAIT if kind in LONG else 0.0 if kind == "out of memory" else delay
    tries = 1 + (LONG_TRIES if kind in LONG else retries)
    reason = " ".join(str(error).split()) or type(error).__name__
    if kind == "disk full":
        reason += "; free some, `posttrain clean SPEC` lists what may go"
    return Retry(kind, attempt, tries, min(first * 2.0 ** (attempt - 1), LONGEST_WAIT), reason)


def kind_of(error: BaseException) -> Kind | None:
    """The class of a fault; None for what only a person can put right."""
    if isinstance(error, OutOfMemory):
        return "out of memory"
    if isinstance(error, TransientError):
        return "device"
    causes = list(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno in NO_SPACE for cause in causes):
        return "disk full"
    return "network" if any(map(_is_network, causes)) else None


def _is_network(error: BaseException) -> bool:
    if getattr(error, "error_code", None) in BUSY:
        return True
    return any(parent.__name__ in UNREACHABLE for parent in type(error).__mro__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: MLflow tells of a lost connection by an error of its own."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
