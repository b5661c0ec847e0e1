"""What waits to be logged as MLflow traces: sent by a thread, in order, so that no answer waits for the store.

While the store does not answer, requests wait here, the oldest given up when there are too many. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import replace

from posttrain.errors import DataError, TransientError
from posttrain.tracking.traces import ServedRequest, Thumb, is_sampled, log_feedback, log_request

WAITING = 10_000
"""Requests that may wait for the store."""
REMEMBERED = 10_000
"""Requests that were not sampled, kept for feedback that may still come: it is worth more than a sample."""
RETRY_SECONDS = 5.0
CLOSE_SECONDS = 10.0

_LOG = logging.getLogger(__name__)


class Outbox:
    """Takes requests and feedback at once, and logs them when the store takes them."""

    def __init__(self, sample: float, waiting: int = WAITING, retry_seconds: float = RETRY_SECONDS) -> None:
        self.sample, self.retry_seconds = sample, retry_seconds
        self.dropped = 0
        self.silent = ""
        self._limit = waiting
        self._items: deque[ServedRequest | tuple[str, Thumb | None, str | None]] = deque()
        self._unsampled: OrderedDict[str, ServedRequest] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._send_all, name="outbox", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait for the store."""
        return len(self._items)

    def add(self, request: ServedRequest) -> None:
        """Take a request that was answered; one outside the sample is only remembered."""
        if is_sampled(request.id, self.sample):
            self._put(request)
            return
        with self._changed:
            self._unsampled[request.id] = request
            if len(self._unsampled) > REMEMBERED:
                self._unsampled.popitem(last=False)

    def add_feedback(self, request_id: str, thumb: Thumb | None, correction: str | None) -> None:
        """Take what a person said of a request; one outside the sample is logged because of it."""
        with self._changed:
            unsampled = self._unsampled.pop(request_id, None)
        if unsampled:
            self._put(replace(unsampled, thumb=thumb, correction=correction))
        else:
            self._put((request_id, thumb, correction))

    def close(self) -> None:
        """Send what still waits, for some seconds at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        if self._items:
            _LOG.warning("%d requests could not be logged as traces: %s", len(self._items), self.silent)

    def _put(self, item: ServedRequest | tuple[str, Thumb | None, str | None]) -> None:
        with self._changed:
            self._items.append(item)
            if len(self._items) > self._limit:
                self._items.popleft()
                self.dropped += 1
            self._changed.notify()

    def _send_all(self) -> None:
        while True:
            with self._changed:
                while not self._items and not self._closing:
                    self._changed.wait()
                if not self._items or (self._closing and self.silent):
                    return
                item = self._items[0]
            try:
                _send(item)
                self.silent = ""
            except TransientError as error:
                self._be_patient(str(error))
                continue
            except Exception as error:  # a request that cannot be logged must not stop those behind it
                _LOG.warning("not logged as a trace: %s", error)
            with self._changed:
                if self._items and self._items[0] is item:  # else it was given up meanwhile
                    self._items.popleft()

    def _be_patient(self, reason: str) -> None:
        if not self.silent:
            _LOG.warning("%s; requests wait until it does", reason)
        self.silent = reason
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, self.retry_seconds)


def _send(item: ServedRequest | tuple[str, Thumb | None, str | None]) -> None:
    if isinstance(item, ServedRequest):
        log_request(item)
        return
    try:
        log_feedback(*item)
    except DataError as error:
        _LOG.warning("feedback was not kept: %s", error)
