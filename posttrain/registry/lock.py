"""One promotion at a time: a lock that every process on every host sees, kept in the registry itself.

MLflow has no compare-and-swap, but its database refuses a second registered model of the same name. So whoever makes
the registered model `<name>.promoting` holds the lock of `<name>`, and deletes it afterwards.

| what may happen | what follows |
| --- | --- |
| the holder crashes | the lock is taken over once it is `ABANDONED_SECONDS` old and was seen for `SEEN_SECONDS` |
| several take over at once | a second name, made of the lock's own token, lets one of them delete that lock |
| the holder was only asleep | it looks at lock and lease before each write, and gives up (`LockLost`) |
| clocks differ | a lock is never taken over before this process has seen it for `SEEN_SECONDS` by its own clock |

What is left: a holder that is stopped for `ABANDONED_SECONDS` between its last look and the write behind it. Knows
nothing of what the lock protects.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from posttrain import tracking
from posttrain.errors import TransientError, WorkspaceError

if TYPE_CHECKING:
    from mlflow import MlflowException

SUFFIX = ".promoting"
LOCK_TAG = "posttrain.lock"
ABANDONED_SECONDS = 300.0
"""A promotion takes a second; what is older was left behind."""
SEEN_SECONDS = 3.0
LEASE_SECONDS = 60.0
"""After so long the holder itself stops writing, far before anyone takes the lock over."""
PATIENCE_SECONDS = 420.0
POLL_SECONDS = 0.05
LOOKS = 5
WAITABLE = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "TEMPORARILY_UNAVAILABLE")


class LockLost(TransientError):
    """The lock was held for too long, or somebody else has it now; nothing more may be written."""


@dataclass
class Lock:
    """A lock that is held; `check` before each write. `notes` says whose abandoned lock it was, if it was one."""

    model: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    notes: tuple[str, ...] = ()
    taken: float = 0.0

    @property
    def name(self) -> str:
        """Of the registered model that is the lock."""
        return self.model + SUFFIX

    def check(self) -> None:
        """Raise `LockLost` unless the lock is still this one's, with time left."""
        held = time.monotonic() - self.taken
        if held > LEASE_SECONDS or _tags(self.name).get(LOCK_TAG) != self.token:
            raise LockLost(f"{self.name}: the lock was lost after {held:.0f} s; nothing more was written; run again")


@contextmanager
def promoting(model: str, patience: float = PATIENCE_SECONDS) -> Iterator[Lock]:
    """Hold the lock of a registered model's aliases.

    Raises: WorkspaceError when others hold it for `patience` seconds.
    """
    lock = Lock(model)
    _acquire(lock, patience)
    try:
        yield lock
    finally:
        _remove(lock.name, lock.token)


def is_lock(tags: dict[str, str]) -> bool:
    """Whether a registered model with these tags is a lock, and so no model at all."""
    return LOCK_TAG in tags


def _acquire(lock: Lock, patience: float) -> None:
    began, seen = time.monotonic(), ("", 0.0)
    while True:
        before = time.monotonic()
        if _create(lock.name, lock.token):
            lock.taken = before
            return
        tags = _tags(lock.name)
        token = tags.get(LOCK_TAG, "")
        if token == lock.token:  # made by a request whose answer was lost
            lock.taken = before
            return
        if token != seen[0]:
            seen = (token, time.monotonic())
        elif token and _abandoned(tags) and time.monotonic() - seen[1] >= SEEN_SECONDS:
            _take_over(lock, token, tags)
        if time.monotonic() - began > patience:
            raise WorkspaceError(_busy(lock.name, tags))
        time.sleep(POLL_SECONDS)


def _take_over(lock: Lock, token: str, tags: dict[str, str]) -> None:
    if _remove(lock.name, token):
        minutes = _age(tags) / 60
        lock.notes = (
            f"took over the lock that {tags.get('posttrain.lock.by', 'somebody')} left {minutes:.0f} min ago",
        )


def _remove(name: str, token: str) -> bool:
    """Delete the lock if it is still the one with this token; True when this call did.

    The guard's name holds the token, which no other lock will ever have: of all that want to delete this lock (its
    holder, or several that take over) one gets the guard, and looks again before it deletes. So a lock that somebody
    made meanwhile is never deleted in place of the old one.
    """
    from mlflow import MlflowException

    guard = f"{name}.{token}"
    try:
        if not _create(guard, token):
            if _abandoned(_tags(guard)):  # whoever held it crashed within these few lines
                _delete(guard)
            return False
        try:
            if _tags(name).get(LOCK_TAG) == token:
                _delete(name)
                return True
            return False
        finally:
            _delete(guard)
    except MlflowException:  # the store is gone: the lock will be taken over, and this must not hide another error
        return False


def _create(name: str, token: str) -> bool:
    from mlflow import MlflowException

    tags = {LOCK_TAG: token, "posttrain.lock.by": _me(), "posttrain.lock.at": f"{time.time():.3f}"}
    try:
        tracking.client().create_registered_model(name, tags, "A lock of posttrain, held for a moment.")
    except MlflowException as error:
        _raise_unless_waitable(error)
        return False
    return True


def _tags(name: str) -> dict[str, str]:
    """The tags of a lock; none when it does not exist. Raises: WorkspaceError when it is no lock but a model."""
    from mlflow import MlflowException

    for _ in range(LOOKS):
        try:
            found = dict(tracking.client().get_registered_model(name).tags)
        except MlflowException as error:
            _raise_unless_waitable(error)
            return {}
        if is_lock(found):
            return found
        time.sleep(POLL_SECONDS)  # MLflow reads tags after the name: a lock deleted between the two has none
    raise WorkspaceError(f"{name}: is a registered model, but posttrain keeps its lock under that name; rename it")


def _delete(name: str) -> None:
    from mlflow import MlflowException

    try:
        tracking.client().delete_registered_model(name)
    except MlflowException as error:
        _raise_unless_waitable(error)


def _raise_unless_waitable(error: MlflowException) -> None:
    if error.error_code not in WAITABLE:
        raise error


def _abandoned(tags: dict[str, str]) -> bool:
    return bool(tags) and _age(tags) > ABANDONED_SECONDS


def _age(tags: dict[str, str]) -> float:
    """Seconds since the lock was made, by the clocks of two hosts."""
    return time.time() - float(tags.get("posttrain.lock.at", time.time()))


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


def _busy(name: str, tags: dict[str, str]) -> str:
    who = tags.get("posttrain.lock.by", "somebody")
    return f"{name}: held by {who} for {_age(tags):.0f} s, expected a second; end that process or try again later"
