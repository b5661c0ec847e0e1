"""Mine task: served requests in, bad cases for people to correct out; nothing is read twice and nothing is lost.

In this order: read, mine, add to the store, move the watermark. A case that is in the store already is not added again,
so a mining that is killed anywhere is simply run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice

from prefect import task

from posttrain import registry, tracking
from posttrain.artifacts import Frozen
from posttrain.data.embedding.embed import Embedder
from posttrain.data.steps.harm import Harm
from posttrain.feedback import watermark
from posttrain.feedback.held_back import TAG
from posttrain.feedback.items import Item, Kind, Output
from posttrain.feedback.mining import BadCase, Cluster, Limits, Loss, Mined, mine
from posttrain.feedback.place import open_store
from posttrain.feedback.regression import RIGHT
from posttrain.feedback.signals import Watch, in_words
from posttrain.registry.find import open_store as registry_store
from posttrain.registry.kept import kept_scores
from posttrain.tracking.traces import recent_requests
from tasks import show
from tasks.policy import STAGE
from tasks.run import Run

KIND: Kind = "correction"
ALIASES = ("champion", "challenger")
MOST_LOSSES = 500
"""Held-out rows that weigh in on clusters."""


class MineResult(Frozen):
    """What a mining came to; `clusters` are the lines of its table."""

    requests: int
    suspicious: int
    queued: int
    left_out: int
    signals: dict[str, int]
    clusters: tuple[dict[str, str | int | float], ...]
    mlflow_run_id: str = ""

    @property
    def in_words(self) -> str:
        """312 new requests, 41 of them suspicious: 30 bad cases sent to review."""
        if not self.requests:
            return "no new requests"
        sent = f"{self.queued:,} bad case{'s' * (self.queued != 1)} sent to review"
        later = f", {self.left_out:,} left for next time" if self.left_out else ""
        return (
            f"{self.requests:,} new request{'s' * (self.requests != 1)}, {self.suspicious:,} suspicious: {sent}{later}"
        )


@task(name="mine", task_run_name="mine {run.model_name}", **STAGE)
def mine_bad_cases(run: Run) -> MineResult:
    """Look through what was served since the last time, and send to review what people should correct."""
    with run.stage("mine") as stage:
        registry_store(run.root)
        spec, place = run.spec.bad_cases, run.workspace.root / "feedback" / f"mined-{run.model_name}.json"
        mark, look_back = watermark.read(place), timedelta(days=spec.look_back_days)
        requests = recent_requests(run.model_name, mark.since(look_back))
        fresh = {request.id for request in mark.fresh(requests)}
        if not fresh:
            stage.note("no new requests")
            return _result(Mined((), ()), "")
        stage.progress(0, 2, f"{len(fresh):,} new requests")
        with closing(open_store(run.spec, run.workspace)) as store:
            mined = mine(
                requests,
                Watch(run.spec.task.kind, Harm.make(run.spec.curate.harm, run.root), spec.least_confident),
                Limits(spec.per_run, spec.likeness, spec.cluster),
                Embedder(spec.model, key="bad_cases.model"),
                losses=_losses(run.model_name),
                known=[(item.system, item.prompt) for item in store.items(kind=KIND, tag=TAG)],
                fresh=fresh,
            )
            store.add([_item(run.model_name, case, mined.clusters[case.cluster]) for case in mined.cases])
        later = {name for case in mined.left_out for name in case.request_ids}
        watermark.write(place, mark.after(requests, look_back, later))
        result = _result(mined, run.mlflow_run_id)
        _log(result, run.mlflow_run_id, mined)
        stage.note(result.in_words)
    show.artifact("mine", "Bad cases in what was served", in_markdown(result))
    return result


def in_markdown(result: MineResult) -> str:
    """The summary, what speaks against how many answers, and the clusters, heaviest first."""
    said = ", ".join(f"{count:,} × {name.replace('_', ' ')}" for name, count in result.signals.items())
    head = ("cluster", "cases", "asked", "in the gate's losses", "weight", "what speaks against them", "for example")
    rows = [
        [show.plain(value) if isinstance(value, str) else value for value in line.values()] for line in result.clusters
    ]
    return f"**{result.in_words}**\n\n{said}\n\n" + (show.table(head, rows) if rows else "")


def _item(name: str, case: BadCase, cluster: Cluster) -> Item:
    context = {
        "cluster": cluster.name,
        "count": str(case.count),
        "version": case.version,
        "requests": " ".join(case.request_ids[:20]),
        "suggested": case.suggested,
    }
    return Item.new(
        KIND,
        case.prompt,
        system=case.system,
        outputs=[Output(case.output, f"{name} version {case.version}")],
        tag=TAG,
        reasons=tuple(in_words(case.signals)),
        context=context,
    )


def _losses(name: str) -> list[Loss]:
    """Test rows that the champion or the challenger answered wrongly, as their versions keep them."""
    return list(islice((loss for alias in ALIASES for loss in _lost_by(name, alias)), MOST_LOSSES))


def _lost_by(name: str, alias: str) -> Iterator[Loss]:
    found = registry.by_alias(name, alias)
    scores = kept_scores(found) if found else None
    if scores is None:
        return
    from pyarrow import parquet

    known = parquet.read_schema(scores.outputs.uri).names
    column = next((each for each in RIGHT if each in known), None)
    if column is None:
        return
    for row in parquet.read_table(scores.outputs.uri, columns=["prompt", "expected", "output", column]).to_pylist():
        if row[column] != 1:
            yield Loss(row["prompt"], row["expected"], row["output"], scores.split)


def _result(mined: Mined, run_id: str) -> MineResult:
    return MineResult(
        requests=mined.requests,
        suspicious=mined.suspicious,
        queued=len(mined.cases),
        left_out=len(mined.left_out),
        signals={str(name): count for name, count in mined.counts.items()},
        clusters=tuple(_line(cluster) for cluster in mined.clusters),
        mlflow_run_id=run_id,
    )


def _line(cluster: Cluster) -> dict[str, str | int | float]:
    return {
        "cluster": cluster.name,
        "cases": cluster.cases,
        "requests": cluster.requests,
        "losses": cluster.losses,
        "weight": cluster.weight,
        "signals": ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in cluster.signals.items()),
        "example": cluster.example,
    }


def _log(result: MineResult, run_id: str, mined: Mined) -> None:
    counts = {f"mine/signal/{name}": float(count) for name, count in result.signals.items()}
    sizes = {"requests": result.requests, "suspicious": result.suspicious, "queued": result.queued}
    cases = [
        {
            "prompt": case.prompt,
            "output": case.output,
            "reasons": ", ".join(in_words(case.signals)),
            "count": case.count,
        }
        for case in mined.cases
    ]
    tracking.log_values(
        run_id,
        metrics={**{f"mine/{name}": float(size) for name, size in sizes.items()}, **counts},
        tables={"mine/clusters": result.clusters, "mine/bad_cases": cases},
        tags={"posttrain.flow": "mine", "posttrain.headline": result.in_words},
    )
