"""Code as answers: programs are really run, within bounds."""

from __future__ import annotations

import os
import time

import pytest

from posttrain.evaluation import parse, run_code
from posttrain.evaluation.measure import score
from posttrain.evaluation.metrics import METRICS, Answer, row_values

TESTS = "assert add(2, 3) == 5\nassert add(-1, 1) == 0"


def test_pass_rate_is_the_share_of_rows_whose_tests_pass() -> None:
    """Right, right in a fence, wrong, no code at all, ended before the tests: 2 of 5."""
    outputs = [
        "def add(a, b):\n    return a + b",
        "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.",
        "def add(a, b):\n    return a - b",
        "I cannot.",
        "import os\nos._exit(0)",
    ]
    answers = [Answer("code", "", output, tests=TESTS) for output in outputs]
    table = row_values(answers, [METRICS["pass_rate"]])
    assert [row["pass_rate"] for row in table] == [1, 1, 0, 0, 0]
    assert score(table, "pass_rate", 10, 0).value == pytest.approx(0.4)


def test_what_runs_away_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless loop, a flood of memory, of disk; the key of an endpoint is not there to be read."""
    monkeypatch.setattr(run_code, "_LIMITED", run_code._LIMITED.replace(f'"CPU", {run_code.SECONDS}', '"CPU", 1'))
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    began = time.monotonic()
    programs = [
        ("while True: pass", ""),
        ("x = 'a' * 2**33", ""),
        ("open('big', 'wb').write(b'a' * 2**26)", ""),
        ("import os", "assert 'OPENAI_API_KEY' not in os.environ"),
    ]
    assert run_code.passed(programs) == [False, False, False, True]
    assert time.monotonic() - began < 20


@pytest.mark.skipif(not run_code.apart(), reason="unshare does not work here")
def test_there_is_no_network_and_nothing_is_left_running() -> None:
    connects = "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=1)"
    listens = "import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']"
    stays = (
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(61.{os.getpid()})'])"
    )
    assert run_code.passed([(connects, ""), (listens, ""), (stays, "")]) == [False, True, True]
    time.sleep(0.2)
    left = [name for name in os.listdir("/proc") if name.isdigit() and f"61.{os.getpid()}" in _command(name)]
    assert not left


def _command(process: str) -> str:
    try:
        with open(f"/proc/{process}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def test_the_code_in_an_output() -> None:
    assert parse.code("<think>```x```</think>```py\na = 1\n```") == "a = 1\n"
    assert parse.code("```python\na = 1") == "a = 1"
    assert parse.code("a = 1") == "a = 1"
