"""`posttrain watch`: look once whether there is anything new, and start the deployed pipeline if so."""

from __future__ import annotations

import os
from pathlib import Path

from flows.cli.failure import record
from flows.operations.prefect_server import answers, users_server
from flows.operations.quiet import flush_to_server, log_to, settle_environment
from posttrain import spec as specs
from posttrain.errors import UserError
from posttrain.preflight import workspace_of


def watch_once(path: Path) -> None:
    """Run the watch of `flows/sensor.py` and print what it found.

    Raises: UserError for a wrong spec, when no Prefect server answers, or when the pipeline is not deployed there.
    """
    settle_environment()
    loaded = specs.load(path)
    server = users_server()
    if not server or not answers(f"{server.rstrip('/')}/health"):
        raise UserError(
            f"PREFECT_API_URL: {f'nothing answers at {server}' if server else 'is not set'}, and a watch starts what "
            "is deployed in a Prefect server; start one with `posttrain ui`, then "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    os.environ["PREFECT_API_URL"] = server
    from flows.sensor import watch

    log = workspace_of(loaded).root / "logs" / "watch.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log_to(log)
    try:
        state = watch(str(path), return_state=True)
        state.result()
    except UserError:
        raise
    except Exception as error:
        raise record(error, log) from error
    finally:
        flush_to_server()
    print(state.message)
