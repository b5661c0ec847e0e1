"""What every command is wrapped in: an error becomes one line and an exit code, its trace a log."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from flows.cli.failure import Failed, record
from posttrain.errors import UserError

INTERRUPTED = 130
USER_ERROR = 2
FAILED = 1


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """User errors: their lines and exit code 2. Anything else: one line, exit code 1, the traceback in a log."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except UserError as error:
            for line in str(error).splitlines():
                _complain(line)
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            _complain("interrupted; run the same command again to go on from where it stopped")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:  # the reader, `head` for one, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except Exception as error:
            failed = error if isinstance(error, Failed) else record(error)
            _complain(f"{failed}; see {failed.log}")
            raise typer.Exit(FAILED) from None

    return run


def _complain(line: str) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)
