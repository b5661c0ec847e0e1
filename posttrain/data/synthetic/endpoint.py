"""Calls to an OpenAI-compatible chat endpoint: some at once, paced, tried again after passing faults, capped in cost.

| the endpoint says | what happens |
| --- | --- |
| 200 | the answer is on disk before anything else is done |
| 408, 409, 425, 429, 5xx, no connection, cut off, too slow | tried again, later each time, not before Retry-After |
| 402, 429 insufficient_quota, a Retry-After too far off | no further calls; what there is, is kept |
| 401, 403, 404 | `ModelError`: the key, the address or the model's name is wrong |
| any other 4xx | this call has failed |

Several failed calls in a row mean that the endpoint, not the prompt, is at fault: then an error is raised.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from posttrain.data.rows import shorten
from posttrain.data.synthetic import calls
from posttrain.data.synthetic.api_key import headers, key_of, without_key
from posttrain.data.synthetic.budget import Budget
from posttrain.data.synthetic.cache import Cache
from posttrain.data.synthetic.calls import Answer, Asked, Call, Failed, Outcome, Tokens, billed
from posttrain.data.synthetic.pace import Pace, delay, retry_after
from posttrain.data.synthetic.replies import error_of, to_answer
from posttrain.errors import ModelError, TransientError
from posttrain.progress import Progress
from posttrain.spec.sections.synthetic import TeacherSpec

if TYPE_CHECKING:
    import httpx

IN_A_ROW = 5
"""Failed calls without an answer between them after which the endpoint is at fault (this project)."""

_PASSING = (408, 409, 425, 429)
_REFUSED = (401, 403, 404)


class _Again(Exception):
    """A passing fault; `wait` is what the endpoint asks for, in seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class _Stop(Exception):
    """The endpoint will answer no more for now."""


async def ask(spec: TeacherSpec, wanted: Sequence[Call], cache: Cache, spent: float, progress: Progress) -> Asked:
    """Answer every call from the cache or the endpoint, in order as far as cost is concerned.

    `spent` counts towards the cap: what earlier calls for the same rows cost.

    Raises: `ModelError` when the endpoint refuses key, address or model, or every request; `TransientError` when it is
    down. Answers that came before that are in the cache.
    """
    import httpx

    limits = httpx.Limits(max_connections=spec.concurrency, max_keepalive_connections=spec.concurrency)
    async with httpx.AsyncClient(timeout=None, limits=limits, headers=headers(spec), verify=_tls()) as client:
        session = _Session(spec, cache, client, spent, progress, len(wanted))
        try:
            await session.run(wanted)
        except BaseExceptionGroup as group:
            raise _first(group) from None
    session.asked.cost = session.budget.spent - spent
    return session.asked


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Reading the machine's certificates takes a tenth of a second: once a process."""
    import httpx

    return httpx.create_ssl_context()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class _Session:
    """One run through the calls: what is under way, what is spent, how many failed in a row."""

    def __init__(
        self,
        spec: TeacherSpec,
        cache: Cache,
        client: httpx.AsyncClient,
        spent: float,
        progress: Progress,
        total: int,
    ) -> None:
        self.spec, self.cache, self.client, self.progress, self.total = spec, cache, client, progress, total
        self.asked = Asked()
        self.budget = Budget(spec, spent)
        self.pace = Pace(spec.requests_per_minute, spec.tokens_per_minute)
        self.free = asyncio.Semaphore(spec.concurrency)
        self.failed_in_a_row = 0

    async def run(self, wanted: Sequence[Call]) -> None:
        async with asyncio.TaskGroup() as group:
            for place, call in enumerate(wanted):
                body = calls.request(self.spec, call)
                key = calls.key(self.spec.model, body, call.sample)
                for tokens in self.cache.lost(key):
                    self.budget.spend(tokens)
                if not await self.budget.admit(place, calls.most(self.spec, call)):
                    self._stop_for_cost()
                if self.asked.stopped:
                    return
                if found := self.cache.get(key):
                    self.asked.cached += 1
                    self._answered(place, found)
                    await self.budget.settle(place, billed(found))
                else:
                    await self.free.acquire()
                    group.create_task(self._one(place, call, key, body))

    def _stop_for_cost(self) -> None:
        self.asked.stopped = (
            f"the next call could take the cost of {self.budget.spent:,.2f} beyond max_cost {self.spec.max_cost:,.2f}"
        )

    async def _one(self, place: int, call: Call, key: str, body: dict[str, Any]) -> None:
        most = calls.most(self.spec, call)
        actual = Tokens(0, 0)
        try:
            outcome = await self._tries(key, body, most)
            if isinstance(outcome, Answer):
                actual = billed(outcome)
                self.asked.spent += self.budget.cost(actual)
                self.failed_in_a_row = 0
                self._answered(place, outcome)
            elif isinstance(outcome, Failed):
                self._failed(place, outcome)
        finally:
            await self.budget.settle(place, actual)
            self.free.release()

    def _answered(self, place: int, answer: Answer) -> None:
        self.asked.outcomes[place] = answer
        done = len(self.asked.outcomes)
        note = f"asking {self.spec.model}: {self.asked.cached:,} of {done:,} from the cache"
        self.progress(done, self.total, f"{note}, cost {self.budget.spent:,.2f}" if self.budget.spent else note)

    def _failed(self, place: int, outcome: Failed) -> None:
        self.asked.outcomes[place] = outcome
        self.asked.unfinished |= not outcome.lasting
        self.failed_in_a_row += 1
        if self.failed_in_a_row < min(IN_A_ROW, self.total):
            return
        found = f"{self.spec.base_url}: {self.failed_in_a_row} calls in a row failed: {outcome.why}"
        if outcome.lasting:
            raise ModelError(f"{found}; change what is sent (teacher.extra, max_tokens), or the prompts")
        raise TransientError(f"{found}; answers so far are kept, run again when the endpoint is up")

    async def _tries(self, key: str, body: dict[str, Any], most: Tokens) -> Outcome | None:
        """The outcome after as many tries as it takes; None when calls were stopped."""
        for tries in range(1, self.spec.retries + 2):
            if self.asked.stopped:
                return None
            await self.pace.turn(most.input + most.output)
            try:
                return await self._send(key, body, most)
            except _Stop as stop:
                self.asked.stopped, self.asked.unfinished = self.asked.stopped or str(stop), True
                return None
            except _Again as again:
                why = str(again)
                wait = max(again.wait, delay(tries, self.spec.retry_delay_seconds, key))
            if self.budget.overdrawn:
                self._stop_for_cost()
            elif tries <= self.spec.retries:
                await asyncio.sleep(wait)
        return None if self.asked.stopped else Failed(f"{why}, after {self.spec.retries + 1} tries")

    async def _send(self, key: str, body: dict[str, Any], most: Tokens) -> Outcome:
        """One request. A call whose answer is lost on the way may have been billed, and is counted in full."""
        import httpx

        number = self.cache.begin(key, most)
        self.asked.made += 1
        try:
            async with asyncio.timeout(self.spec.timeout_seconds):
                response = await self.client.post(
                    f"{self.spec.base_url}/chat/completions",
                    content=json.dumps(body),
                    headers={"Content-Type": "application/json"},
                )
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            self.cache.forget(number)
            raise _Again(f"cannot connect ({self._line(error)})") from None
        except TimeoutError:
            self._lose(most)
            raise _Again(f"no answer within {self.spec.timeout_seconds:g} s") from None
        except httpx.HTTPError as error:
            self._lose(most)
            raise _Again(f"connection cut ({self._line(error)})") from None
        if response.status_code == httpx.codes.OK:
            return self._kept(key, body, most, number, response)
        self.cache.forget(number)
        return self._no_answer(response)

    def _lose(self, most: Tokens) -> None:
        self.budget.spend(most)
        self.asked.spent += self.budget.cost(most)

    def _kept(self, key: str, body: dict[str, Any], most: Tokens, number: int, response: httpx.Response) -> Answer:
        try:
            answer = to_answer(response.json(), most)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            self._lose(most)
            raise _Again(f"an answer that is no chat completion ({type(error).__name__})") from None
        self.pace.give_back(most.input + most.output - answer.input_tokens - answer.output_tokens)
        return self.cache.keep(key, body, answer, number)

    def _no_answer(self, response: httpx.Response) -> Failed:
        status, (code, message) = response.status_code, error_of(response.text)
        why = f"HTTP {status}: {self._line(message)}" if message else f"HTTP {status}"
        if status in _REFUSED:
            known = f"{'check' if key_of(self.spec) else 'set'} {self.spec.api_key_env}"
            raise ModelError(f"{self.spec.base_url}: {why}; {known}, the address and model {self.spec.model!r}")
        if status == 402 or (status == 429 and "insufficient_quota" in code):
            raise _Stop(f"the endpoint wants to be paid ({why})")
        if status in _PASSING or status >= 500:
            wait = retry_after(response.headers.get("Retry-After"))
            if wait > self.spec.longest_wait_seconds:
                raise _Stop(f"the endpoint asks to wait {wait:,.0f} s, longer than longest_wait_seconds ({why})")
            self.pace.hold(wait)
            raise _Again(why, wait)
        return Failed(why, lasting=True)

    def _line(self, text: object) -> str:
        """One short line, without the key should the endpoint quote it."""
        return shorten(without_key(str(text), self.spec), 200)
