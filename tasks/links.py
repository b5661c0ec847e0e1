"""Where a run can be looked at: addresses of pages that are really there."""

from __future__ import annotations

import httpx
from prefect.utilities.urls import url_for


def flow_run_page(flow_run_id: object) -> str:
    """The flow run's page; empty when the server has no pages, as the private one of `posttrain run` has none."""
    page = (url_for("flow-run", obj_id=str(flow_run_id)) or "") if flow_run_id else ""
    if not page:
        return ""
    try:
        reply = httpx.get(page, headers={"Accept": "text/html"}, timeout=10, follow_redirects=True)
    except httpx.HTTPError:
        return ""
    return page if "html" in reply.headers.get("content-type", "") else ""
