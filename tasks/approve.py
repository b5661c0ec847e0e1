"""Approval: before the champion changes, a person may be asked, by a form in the Prefect UI.

A flow run pauses here, not a task: Prefect keeps the form and the answer with the flow run. The process waits; when it
is killed meanwhile, the same command finds every stage and asks again.
"""

from __future__ import annotations

from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from posttrain import registry
from posttrain.gates import Verdict
from posttrain.registry import Approval, Incumbent, Registered
from tasks import show
from tasks.links import flow_run_page
from tasks.run import Run

POLL_SECONDS = 5
SHORTEST_WAIT = 1


class ApprovalForm(RunInput):
    """What the Prefect UI asks for."""

    approve: bool = Field(default=False, description="On: the version becomes champion. Off: it stays challenger.")
    by: str = Field(default="", description="Your name; it is kept with the version.", max_length=200)
    comment: str = Field(default="", description="Why; it is kept with the version.", max_length=2000)


def ask_approval(run: Run, version: Registered, verdict: Verdict, champion: Incumbent) -> Approval | None:
    """A person's answer; None when the spec asks nobody, or when the champion would not change anyway.

    Without an answer in time, or without a Prefect server that could show the form, `approved` is None.
    """
    wanted = run.spec.register_.approval
    if wanted is None or not _would_change(run, version, verdict, champion):
        return None
    with run.stage("approve") as stage:
        if page := _page():
            stage.progress(0, 0, f"waits for a person, {wanted.timeout_hours:g} h at most: {page}")
            approval = _ask(_question(version, verdict, champion), wanted.timeout_hours)
        else:
            how = f"posttrain models promote {version.name} {version.version}"
            why = "nobody could be asked: this run has no Prefect server with pages"
            approval = Approval(approved=None, comment=f"{why}; `{how}` promotes it, `posttrain ui` starts a server")
        stage.note(approval.in_words)
    show.artifact("approve", "A person's word", _question(version, verdict, champion) + f"\n\n{approval.in_words}")
    return approval


def _would_change(run: Run, version: Registered, verdict: Verdict, champion: Incumbent) -> bool:
    if not run.spec.register_.promote or champion.version == version.version:
        return False
    better, _ = registry.weigh(verdict, champion.version)
    return better and not registry.rolled_back(version.name, version.version)


def _ask(question: str, hours: float) -> Approval:
    form = ApprovalForm.with_initial_data(description=question)
    seconds = max(SHORTEST_WAIT, round(hours * 3600))
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=seconds, poll_interval=min(POLL_SECONDS, seconds))
    except FlowPauseTimeout:
        _go_on()
        return Approval(approved=None, comment=f"nobody answered within {hours:g} h")
    return Approval(approved=answer.approve, by=answer.by.strip(), comment=" ".join(answer.comment.split()))


def _go_on() -> None:
    """Out of the pause that nobody ended; Prefect would call the whole run failed when it completes from there."""
    flow_run = runtime.flow_run.id
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(flow_run))).state
        if state is not None and state.is_paused():
            client.set_flow_run_state(str(flow_run), Running(), force=True)


def _question(version: Registered, verdict: Verdict, champion: Incumbent) -> str:
    """The form's text: what would change, and on what evidence."""
    instead = f"instead of version {champion.version}" if champion.version else "as the first one"
    return f"## {version.name} version {version.version} as champion, {instead}?\n\n{show.verdict(verdict)}"


def _page() -> str:
    """The flow run's page; empty when the server has no pages."""
    return flow_run_page(runtime.flow_run.id)
