"""Run code that a model wrote, with its tests, each in a process of its own with little time, memory and disk.

This keeps honest mistakes in bounds: endless loops, floods of memory or of output, left-over processes. It is no
sandbox against an attacker: the code runs as the user who measures and can read what that user reads. Where `unshare`
works (Linux) it has no network either. Measure in a container or a virtual machine when the model is not trusted.
Knows nothing of models or metrics.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

SECONDS = 10
"""Of processor time for a program, start of Python included; the clock may show twice as many."""
MEMORY = 2**30
"""Bytes of address space."""
FILE_SIZE = 2**24
"""Bytes of a file that it writes."""

_LIMITED = f"""
import resource, runpy, sys
for name, most in (("CPU", {SECONDS}), ("AS", {MEMORY}), ("FSIZE", {FILE_SIZE}), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
runpy.run_path(sys.argv[1], run_name="answer")
"""
_APART = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")


def passed(programs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each (code, tests) runs to its end, tests after code, in one namespace.

    No code fails. The tests' last line must be reached: a program that ends itself before has not passed.
    """
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as threads:
        return list(threads.map(lambda program: _passes(*program), programs))


def _passes(code: str, tests: str) -> bool:
    if not code.strip():
        return False
    with tempfile.TemporaryDirectory(prefix="posttrain-code-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        token, reached, program = secrets.token_hex(8), folder / "reached", folder / "program.py"
        ended = f"open({str(reached)!r}, 'w').write({token!r})"
        program.write_text(f"{code}\n\n{tests}\n\n{ended}\n", encoding="utf-8", errors="replace")
        _run([*apart(), sys.executable, "-I", "-B", "-c", _LIMITED, str(program)], folder)
        return reached.is_file() and reached.read_bytes() == token.encode()


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder until it ends or its time is up; what it leaves running is killed with it."""
    plain = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=plain | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,
    )
    try:
        process.wait(2 * SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing of it is left
        process.wait()


@lru_cache(maxsize=1)
def apart() -> tuple[str, ...]:
    """The command that puts another in namespaces without network, where there is one that works; else nothing."""
    if not shutil.which(_APART[0]):
        return ()
    tried = subprocess.run([*_APART, "true"], capture_output=True, check=False, timeout=60)
    return _APART if tried.returncode == 0 else ()
