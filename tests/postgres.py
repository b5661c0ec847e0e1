"""A real PostgreSQL for tests: started in a temporary folder on a free port, as a user who is not root, and ended."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "posttrain"


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: Debian keeps them out of the way of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a new, empty database whose files lie in `folder`. Skips the test where PostgreSQL is missing."""
    found = binaries()
    if found is None:
        pytest.skip("no PostgreSQL on this machine")
    account = _account()
    data = folder / "postgres"
    data.mkdir(parents=True)
    if account:
        os.chown(data, account.pw_uid, account.pw_gid)
        for parent in data.parents:  # pytest's folders are closed to others
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
    port = _free_port()
    _as(account, [str(found / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    log = str(data / "log")
    _as(account, [str(found / "pg_ctl"), "-D", str(data), "-o", options, "-l", log, "-w", "-t", "60", "start"])
    try:
        yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        _as(account, [str(found / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop"])


def _account() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip(f"{getpass.getuser()} may not start PostgreSQL, and there is no other user")


def _as(account: pwd.struct_passwd | None, command: list[str]) -> None:
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    done = subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        **identity,  # type: ignore[arg-type]
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
