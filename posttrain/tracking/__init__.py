"""MLflow tracking: one parent run per pipeline run, one nested run per stage. Plain data in, run ids out.

Every value that is logged was handed over by the caller; the environment is never read into a run, and user names
and passwords inside a URI are masked. MLflow's own talk stays off the terminal. MLflow is imported on first use.
Knows nothing of what the stages do, nor of Prefect.

| module | idea |
| --- | --- |
| `store` | where runs are kept, and who talks to it |
| `runs` | parent and nested runs, and how they end |
| `log` | what is written into a run |
| `traces` | served requests as traces, and what people said of them |
| `values` | our values as MLflow takes them, secrets masked |
| `version` | the code that runs |
"""

from posttrain.tracking.log import log_decision, log_values, log_verdict
from posttrain.tracking.runs import log_stage, pipeline_run, stage_run
from posttrain.tracking.store import answering, client, connect, quiet_mlflow, trial_storage
from posttrain.tracking.values import masked, score_metrics
from posttrain.tracking.version import code_version

__all__ = [
    "answering",
    "client",
    "code_version",
    "connect",
    "log_decision",
    "log_stage",
    "log_values",
    "log_verdict",
    "masked",
    "pipeline_run",
    "quiet_mlflow",
    "score_metrics",
    "stage_run",
    "trial_storage",
]
