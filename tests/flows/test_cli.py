"""The command line itself: quick, light, helpful, and honest about errors."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.display import duration, number, rate
from flows.cli.guard import guarded
from posttrain.errors import SpecError

POSTTRAIN = str(Path(sys.executable).parent / "posttrain")
HEAVY = ("torch", "mlflow", "prefect", "great_expectations", "transformers", "pandas", "numpy", "pydantic", "datasets")


def test_the_command_line_imports_nothing_heavy() -> None:
    program = f"import sys, flows.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_takes_under_half_a_second() -> None:
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([POSTTRAIN, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: it is the wall time of an idle machine, and a busy one does not spoil it.
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(took) < 0.5


def every_command(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command, those of groups such as `rows` too."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*words, name))
        else:
            yield *words, name


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_help_of_every_command_has_an_example(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"Example: posttrain {' '.join(command)}" in done.output


def test_schema_is_json_that_knows_every_section() -> None:
    done = CliRunner().invoke(app, ["schema"])
    schema = json.loads(done.stdout)
    assert {"name", "task", "data", "validate", "sft", "gates", "register", "schedule"} <= set(schema["properties"])
    assert schema["$defs"]["SFTSpec"]["properties"]["learning_rate"]["description"]


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    done = subprocess.run(f"{POSTTRAIN} schema | head -1", shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def _ends(error: BaseException) -> tuple[int, str]:
    own = typer.Typer(pretty_exceptions_enable=False)

    @own.command()
    @guarded
    def command() -> None:
        raise error

    done = CliRunner().invoke(own, [])
    return done.exit_code, done.stderr


def test_user_errors_are_one_line_a_mistake() -> None:
    assert _ends(SpecError("a.yaml:1: x\na.yaml:2: y")) == (2, "error: a.yaml:1: x\nerror: a.yaml:2: y\n")


def test_an_interrupt_ends_with_130() -> None:
    code, text = _ends(KeyboardInterrupt())
    assert code == 130
    assert "Traceback" not in text


def test_anything_else_names_the_file_that_holds_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = _ends(ZeroDivisionError("by zero\nsecond line"))
    assert code == 1
    assert text.startswith("error: by zero; see .posttrain/logs/")
    log = Path(text.strip().split("see ")[1])
    assert "ZeroDivisionError: by zero" in log.read_text()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (12.4, "12 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_and_rates_read_well() -> None:
    assert [number(None), number(0.81234), number(2402.481)] == ["–", "0.812", "2,402"]
    assert [rate(None), rate(12.34), rate(0.25)] == ["", "12.3/s", "4.0 s each"]
