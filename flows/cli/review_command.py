"""`posttrain review`: serves the review page in this terminal until Ctrl-C, and prints each person's login link."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

from flows.cli.rows_command import user
from flows.operations.prefect_server import free_port
from posttrain import preflight
from posttrain import spec as specs
from posttrain.errors import DataError, UserError, WorkspaceError
from posttrain.feedback import FeedbackStore
from posttrain.feedback.items import ROW
from posttrain.feedback.place import open_store
from posttrain.feedback.queue import waiting
from posttrain.feedback.samples import sampled
from posttrain.spec import LoadedSpec

PORT = 8770
LOCAL = ("127.0.0.1", "localhost", "::1")


def serve_page(path: Path, annotators: list[str], pairs: int, port: int | None, host: str, url: str | None) -> None:
    """Bring the queue of curation in, make the links, and serve. Raises: UserError."""
    loaded = specs.load(path)
    if host not in LOCAL and not url:
        raise UserError(
            f"--host {host}: others may reach it, expected --url with the address that they use; "
            "give one, https behind a proxy"
        )
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"--url {url}: found no http or https, expected an address such as https://review.example.org")
    store = open_store(loaded.spec, preflight.workspace_of(loaded))
    try:
        news = take_in(loaded, store, pairs)
        found = _port(port)
        address = (url or f"http://{host}:{found}").rstrip("/")
        links = [(name, store.add_annotator(name)) for name in annotators or [user() or "annotator"]]
        print(f"{len(store.items()):,} items, {news:,} of them new; answers join the next run of {path}")
        for name, token in links:
            print(f"{name}  {address}/login#{token}")
        print("Each link is that person's own, and takes the place of their earlier one. Ctrl-C stops.", flush=True)
        _serve(loaded, store, host, found, address)
    finally:
        store.close()


def take_in(loaded: LoadedSpec, store: FeedbackStore, pairs: int) -> int:
    """Ask about the rows that wait for a person, no more about those that wait no longer, and about `pairs` samples.

    Returns how many are new. Raises: DataError when there are no samples to ask about.
    """
    rows = waiting(loaded)
    now = {item.id for item in rows}
    store.remove_unanswered(item.id for item in store.items() if ROW in item.context and item.id not in now)
    samples = sampled(loaded, pairs) if pairs else []
    if pairs and not samples:
        raise DataError(
            f"--pairs {pairs}: the last run of {loaded.path} sampled no pairs, expected one that came to align by DPO "
            "with the model's own samples; run it with strategy.align: always, or leave the option out"
        )
    return store.add([*rows, *samples])


def _port(asked: int | None) -> int:
    port = free_port(asked or PORT)
    if asked and port != asked:
        raise WorkspaceError(f"port {asked}: is taken; name another port or leave the option out")
    return port


def _serve(loaded: LoadedSpec, store: FeedbackStore, host: str, port: int, url: str) -> None:
    import uvicorn

    from posttrain.review import Site, create_app

    site = Site(loaded.spec.name, store, loaded.spec.feedback.overlap, url)
    # No access log: it would tell who answers when, and a link pasted wrongly would leave its token there.
    settings = uvicorn.Config(create_app(site), host=host, port=port, log_level="warning", access_log=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with Ctrl-C ignored
    try:
        uvicorn.Server(settings).run()
    except KeyboardInterrupt:
        pass
    print("stopped", flush=True)
