"""`evaluate.harness`: general ability, by tasks of lm-evaluation-harness."""

from __future__ import annotations

from pydantic import field_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.data import Names


class HarnessSpec(Frozen):
    """Is the model still able: tasks of lm-evaluation-harness (pip install 'posttrain[harness]'). Gates ask for
    general_ability by `slice: general_<task>`."""

    tasks: Names = required("Names of tasks or of groups of them.", min_length=1, examples=[["cloze"]])
    include_path: str | None = setting(
        None,
        "Folder of the project with the tasks' YAML files, from where paths of data in them start; Python that they "
        "name (!function) runs with your rights. Empty: the tasks that come with lm-evaluation-harness, whose data "
        "are downloaded.",
        source="lm-evaluation-harness",
    )
    limit: int | None = setting(None, "Rows of each task, at most; empty: all.", ge=1, source="lm-evaluation-harness")
    num_fewshot: int | None = setting(
        None, "Worked examples before each question; empty: what the task says.", ge=0, source="lm-evaluation-harness"
    )

    @field_validator("tasks")
    @classmethod
    def _once(cls, tasks: list[str]) -> list[str]:
        if twice := [name for name in tasks if tasks.count(name) > 1]:
            raise ValueError(f"found {twice[0]} twice, expected different tasks; remove one")
        return tasks
