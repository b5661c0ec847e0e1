"""Calls to a teacher over real sockets: paced, tried again, capped in cost, cached, and never with the key on disk."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from openai_server import Reply, Request, Server, echo
from pydantic import ValidationError

from posttrain.data.synthetic import calls
from posttrain.data.synthetic.cache import FILE, Cache
from posttrain.data.synthetic.calls import Answer, Call, Failed, Tokens
from posttrain.data.synthetic.pace import delay, retry_after
from posttrain.data.synthetic.teacher import Teacher
from posttrain.errors import DataError, ModelError, TransientError
from posttrain.prompts import messages
from posttrain.spec.sections.synthetic import TeacherSpec

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def spec(server: Server, **settings: Any) -> TeacherSpec:
    free = {"input_price": 0, "output_price": 0, "retry_delay_seconds": 0.01, "max_tokens": 100}
    return TeacherSpec(**{"model": "big", "base_url": server.url, **free, **settings})


def ask(count: int, start: int = 0) -> list[Call]:
    return [Call(tuple(messages("Be brief.", f"question {number}"))) for number in range(start, start + count)]


def texts(outcomes: list[Any]) -> list[str]:
    return [outcome.text if isinstance(outcome, Answer) else repr(outcome) for outcome in outcomes]


def once(fault: Reply) -> Callable[[Request], Reply]:
    """The fault at each prompt's first request, an answer at the next."""
    seen: set[str] = set()

    def reply(request: Request) -> Reply:
        first = request.prompt not in seen
        seen.add(request.prompt)
        return fault if first else echo(request)

    return reply


def test_answers_come_in_the_order_of_the_calls_whatever_comes_first(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(echo(request).text, delay=0.2 if request.prompt.endswith(" 0") else 0.0)
    teacher = Teacher(spec(server, concurrency=4, seed=7), tmp_path)
    outcomes = teacher.ask(ask(12))
    assert texts(outcomes) == [f"answer 7 to question {number}" for number in range(12)]
    assert server.most_at_once <= 4
    body = server.requests[0].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 0.9, 100)
    assert outcomes[0] == Answer("answer 7 to question 0", "", "stop", "big-2026-01", 10, 5)


def test_a_second_run_asks_nothing(server: Server, tmp_path: Path) -> None:
    first = Teacher(spec(server), tmp_path).ask(ask(5))
    again = Teacher(spec(server), tmp_path)
    assert again.ask(ask(5)) == first
    assert len(server.requests) == 5
    assert (again.asked.cached, again.asked.made) == (5, 0)
    Teacher(spec(server, temperature=0.8), tmp_path).ask(ask(5))
    assert len(server.requests) == 10, "other decoding parameters are other calls"


KILLED = """
import sys
from pathlib import Path
from posttrain.data.synthetic.calls import Call
from posttrain.data.synthetic.teacher import Teacher
from posttrain.prompts import messages
from posttrain.spec.sections.synthetic import TeacherSpec
spec = TeacherSpec.model_validate_json(sys.argv[1])
Teacher(spec, Path(sys.argv[2])).ask([Call(tuple(messages("Be brief.", f"question {n}"))) for n in range(20)])
"""


def test_killed_anywhere_only_missing_calls_are_made_and_lost_ones_count(server: Server, tmp_path: Path) -> None:
    """Prices: 1 an input token, 2 an output token. An answer costs 10 + 2 × 5 = 20.

    Two calls are under way at the kill. Each may have cost one token a byte of its text and 16 a message:
    "Be brief." 9 + "question 12" 11 + 2 × 16 = 52, and 100 tokens out: 52 + 200 = 252.
    """
    prices = {"input_price": 1_000_000, "output_price": 2_000_000, "max_cost": 1e6}
    settings = spec(server, concurrency=2, **prices)
    server.replies = lambda request: Reply(echo(request).text, delay=30.0 if request.number >= 12 else 0.0)
    command = [sys.executable, "-c", KILLED, settings.model_dump_json(), str(tmp_path)]
    with subprocess.Popen(command) as child:
        deadline = time.monotonic() + 60
        while len(server.requests) < 14 and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert len(server.requests) == 14
    server.replies = echo
    teacher = Teacher(settings, tmp_path)
    outcomes = teacher.ask(ask(20))
    assert texts(outcomes) == [f"answer 0 to question {number}" for number in range(20)]
    assert len(server.requests) == 14 + 8
    assert (teacher.asked.cached, teacher.asked.made) == (12, 8)
    assert teacher.asked.cost == pytest.approx(20 * 20 + 2 * 252)
    assert teacher.asked.spent == pytest.approx(8 * 20)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (Reply(status=500, body={"error": {"message": "oops"}}), "500"),
        (Reply(status=503, body=b"<html>busy</html>"), "503"),
        (Reply(status=429, body={"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), "429"),
        (Reply("half", cut=True), "cut"),
        (Reply("late", delay=0.6), "slow"),
        (Reply(body=b"not json"), "no JSON"),
        (Reply(body={"choices": []}), "no choice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path, fault: Reply, named: str) -> None:
    server.replies = once(fault)
    teacher = Teacher(spec(server, timeout_seconds=0.3), tmp_path)
    assert texts(teacher.ask(ask(3))) == [f"answer 0 to question {number}" for number in range(3)]
    assert teacher.asked.made == 6


def test_retry_after_holds_every_call_back(server: Server, tmp_path: Path) -> None:
    """Two other calls are under way when the first is told to wait a second; all later ones wait with it."""
    limit = Reply(status=429, headers={"Retry-After": "1"}, body={"error": {"message": "slow down"}})
    server.replies = lambda request: limit if request.number == 0 else Reply("x", delay=0.3)
    Teacher(spec(server, concurrency=3), tmp_path).ask(ask(6))
    waits = [later.at - server.requests[0].at for later in server.requests[3:]]
    assert len(waits) == 4
    assert min(waits) >= 0.95


def test_retry_after_is_read_as_seconds_or_a_date() -> None:
    assert retry_after("2.5") == 2.5
    assert retry_after(formatdate(1_000_030, usegmt=True), now=1_000_000) == 30
    assert retry_after(formatdate(999_000, usegmt=True), now=1_000_000) == 0
    assert [retry_after(value) for value in (None, "", "soon", "nan", "-1")] == [0] * 5


def test_delays_double_up_to_a_minute_and_differ_between_calls() -> None:
    for tries, longest in ((1, 1), (2, 2), (3, 4), (7, 60), (20, 60)):
        assert longest / 2 <= delay(tries, 1.0, "a") <= longest
    assert delay(3, 1.0, "a") != delay(3, 1.0, "b")


def test_requests_a_minute_are_spread(server: Server, tmp_path: Path) -> None:
    """600 a minute are one each 0.1 s."""
    Teacher(spec(server, requests_per_minute=600), tmp_path).ask(ask(6))
    times = [request.at for request in server.requests]
    assert times[-1] - times[0] >= 0.45


def test_tokens_a_minute_are_spread_and_what_was_not_used_is_given_back(server: Server, tmp_path: Path) -> None:
    """A call asks for 9 + 10 + 2 × 16 + 100 = 151 tokens and uses 15; at 18,120 a minute, 151 take half a second.

    One at a time, each call gives back 136 before the next: four calls then take 3 × 15 / 302 s.
    """
    Teacher(spec(server, tokens_per_minute=18_120, concurrency=1), tmp_path).ask(ask(4))
    times = [request.at for request in server.requests]
    assert 0.8 * 3 * 15 / 302 <= times[-1] - times[0] < 1.4, "three times 151 tokens would take 1.5 s"
    with Server(lambda request: Reply("x", delay=0.7)).running() as slow:
        Teacher(spec(slow, tokens_per_minute=18_120, concurrency=2), tmp_path).ask(ask(2, start=5))
    assert slow.requests[1].at - slow.requests[0].at >= 0.45, "until a call is over, it may use what it asked for"


def test_the_cap_stops_before_it_is_passed_and_a_second_run_spends_nothing(server: Server, tmp_path: Path) -> None:
    """An answer costs 20, and may cost 9 + 10 + 2 × 16 + 2 × 100 = 251. With a cap of 350, call n (from 0) begins
    when 20 n + 251 <= 350, so for n <= 4: five answers."""
    prices = {"input_price": 1_000_000, "output_price": 2_000_000}
    settings = spec(server, max_cost=350, concurrency=3, **prices)
    teacher = Teacher(settings, tmp_path)
    outcomes = teacher.ask(ask(10))
    assert texts(outcomes[:5]) == [f"answer 0 to question {number}" for number in range(5)]
    assert outcomes[5:] == [None] * 5
    assert teacher.asked.cost == pytest.approx(100)
    assert "max_cost 350.00" in teacher.asked.stopped
    assert not teacher.asked.unfinished, "with this cap there is no more to come"
    again = Teacher(settings, tmp_path)
    assert again.ask(ask(10)) == outcomes
    assert again.asked.spent == 0
    assert len(server.requests) == 5
    more = Teacher(settings.model_copy(update={"max_cost": 1000}), tmp_path)
    assert None not in more.ask(ask(10))
    assert len(server.requests) == 10


def test_the_cap_counts_calls_whose_answer_was_lost(server: Server, tmp_path: Path) -> None:
    """Each cut connection may have cost 251 of 1,000: one more try may begin after each of the first three."""
    server.replies = lambda request: Reply("lost", cut=True)
    prices = {"input_price": 1_000_000, "output_price": 2_000_000}
    teacher = Teacher(spec(server, max_cost=1000, **prices), tmp_path)
    assert teacher.ask(ask(1)) == [None]
    assert teacher.asked.made == 3
    assert teacher.asked.spent == pytest.approx(3 * 251)
    assert "max_cost" in teacher.asked.stopped


def test_a_quota_that_is_used_up_stops_and_keeps_what_there_is(server: Server, tmp_path: Path) -> None:
    spent = Reply(status=429, body={"error": {"message": "quota", "code": "insufficient_quota"}})
    server.replies = lambda request: spent if request.number >= 2 else echo(request)
    teacher = Teacher(spec(server, concurrency=1), tmp_path)
    assert [outcome is not None for outcome in teacher.ask(ask(5))] == [True, True, False, False, False]
    assert "wants to be paid" in teacher.asked.stopped
    assert teacher.asked.unfinished
    assert len(server.requests) == 3


def test_a_wait_of_hours_stops(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(status=429, headers={"Retry-After": "7200"}, body={})
    teacher = Teacher(spec(server), tmp_path)
    assert set(teacher.ask(ask(5))) == {None}
    assert "7,200 s" in teacher.asked.stopped


def test_one_refused_prompt_is_a_failed_call_not_the_end(server: Server, tmp_path: Path) -> None:
    long = Reply(status=400, body={"error": {"message": "context too long"}})
    server.replies = lambda request: long if request.prompt.endswith(" 2") else echo(request)
    outcomes = Teacher(spec(server), tmp_path).ask(ask(5))
    assert outcomes[2] == Failed("HTTP 400: context too long", lasting=True)
    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 4
    assert len(server.requests) == 5, "tried once only"


def test_an_endpoint_that_is_down_is_worth_another_run(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(status=500, body=b"") if request.number >= 3 else echo(request)
    settings = spec(server, retries=1, concurrency=1)
    with pytest.raises(TransientError, match=r"5 calls in a row failed: HTTP 500, after 2 tries; answers so far"):
        Teacher(settings, tmp_path).ask(ask(20))
    assert len(server.requests) == 3 + 5 * 2
    server.replies = echo
    teacher = Teacher(settings, tmp_path)
    teacher.ask(ask(20))
    assert teacher.asked.cached == 3


def test_nobody_listens(tmp_path: Path) -> None:
    gone = Server()
    with gone.running():
        url = gone.url
    settings = TeacherSpec(
        model="big", base_url=url, input_price=1, output_price=1, retries=1, retry_delay_seconds=0.01, concurrency=1
    )
    teacher = Teacher(settings, tmp_path)
    with pytest.raises(TransientError, match="cannot connect"):
        teacher.ask(ask(3))
    with Cache(tmp_path) as cache:
        body = calls.request(settings, ask(1)[0])
        assert cache.lost(calls.key("big", body, 0)) == [], "what never arrived cost nothing"


def test_every_request_refused_is_the_users_to_mend(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(status=400, body={"error": {"message": "use max_completion_tokens"}})
    with pytest.raises(ModelError, match=r"use max_completion_tokens; change what is sent \(teacher.extra"):
        Teacher(spec(server, concurrency=1), tmp_path).ask(ask(9))


def test_extra_fields_replace_ours(server: Server, tmp_path: Path) -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 60, "temperature": None}
    Teacher(spec(server, extra=extra), tmp_path).ask(ask(1))
    body = server.requests[0].body
    assert "max_tokens" not in body
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 60


def test_the_key_is_sent_and_written_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    caplog.set_level("DEBUG")
    settings = spec(server, api_key_env="TEACHER_KEY", concurrency=1)
    Teacher(settings, tmp_path / "good").ask(ask(1))
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    server.replies = lambda request: Reply(status=400, body={"error": {"message": f"bad {KEY}"}})
    with pytest.raises(ModelError) as refused:
        Teacher(settings, tmp_path / "bad").ask(ask(5))
    assert "bad [key]" in str(refused.value)
    server.replies = lambda request: Reply(status=401, body={"error": {"message": f"Incorrect API key: {KEY}"}})
    with pytest.raises(ModelError, match="check TEACHER_KEY") as wrong:
        Teacher(settings, tmp_path / "bad").ask(ask(1))
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for text in (str(wrong.value), str(refused.value), caplog.text, written.decode("latin-1"), repr(settings)):
        assert KEY not in text


def test_without_a_key_the_error_names_the_variable(server: Server, tmp_path: Path) -> None:
    server.replies = lambda request: Reply(status=401, body={"error": {"message": "no key"}})
    with pytest.raises(ModelError, match=r"HTTP 401: no key; set OPENAI_API_KEY, the address and model 'big'"):
        Teacher(spec(server), tmp_path).ask(ask(3))
    assert "Authorization" not in server.requests[0].headers


def test_a_key_with_a_line_break_is_not_quoted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\nsk-two")
    with pytest.raises(ModelError, match=r"OPENAI_API_KEY: holds characters that no key has \(not shown\)"):
        Teacher(spec(server), tmp_path).ask(ask(1))


def test_inside_a_running_event_loop_as_in_a_notebook(server: Server, tmp_path: Path) -> None:
    async def cell() -> list[str]:
        return texts(Teacher(spec(server), tmp_path).ask(ask(2)))

    assert asyncio.run(cell()) == ["answer 0 to question 0", "answer 0 to question 1"]


def test_two_processes_may_share_a_cache_and_the_first_answer_stays(tmp_path: Path) -> None:
    with Cache(tmp_path) as one, Cache(tmp_path) as other:
        number = other.begin("k", Tokens(5, 7))
        assert one.lost("k") == [Tokens(5, 7)]
        assert one.keep("k", {}, Answer("first")).text == "first"
        assert other.keep("k", {}, Answer("second"), number).text == "first"
        assert one.lost("k") == []


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else altogether, and long enough to be a page of a database" * 20)
    with pytest.raises(DataError, match=r"teacher.sqlite: is no cache of a teacher's answers"):
        Cache(tmp_path)


def test_the_cache_holds_what_was_asked(server: Server, tmp_path: Path) -> None:
    Teacher(spec(server), tmp_path).ask(ask(1))
    with sqlite3.connect(tmp_path / FILE) as file:
        request = file.execute("SELECT request FROM answers").fetchone()[0]
    file.close()
    assert '"question 0"' in request


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "http://x/v1"}, "without input_price and output_price"),
        ({"base_url": "https://user:pass@x/v1", "input_price": 0, "output_price": 0}, "a password in it"),
        ({"base_url": "ftp://x", "input_price": 0, "output_price": 0}, "no plain http address"),
        ({"base_url": "https://x/v1?api-key=1", "input_price": 0, "output_price": 0}, "no plain http address"),
        ({"api_key_env": KEY}, "no variable's name"),
        ({"extra": {"messages": []}}, "which Posttrain sets itself"),
        ({"extra": {"max_tokens": None}}, "max_cost could not stop it"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        TeacherSpec(**{"model": "big", **settings})
    error = wrong.value.errors()[0]
    assert said in error["msg"]
    assert "pass" not in error["msg"].replace("password", "")
    assert KEY not in error["msg"]
