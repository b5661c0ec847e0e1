"""What ships with the project: specs, schema, reference page, and the cost of importing the package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from posttrain.evaluation import metrics as measured
from posttrain.spec import METRICS, PipelineSpec, json_schema, load
from posttrain.spec.reference import page

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "pipelines").rglob("*.y*ml"))
VOICE = ROOT / "pipelines" / "voice_assistant.yaml"


def test_the_default_ships() -> None:
    assert VOICE in SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_spec_loads_and_fits_the_schema(path: Path) -> None:
    loaded = load(path, ROOT)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8").replace("1e-3", "1.0e-3")), json_schema())
    again = PipelineSpec.model_validate_json(loaded.spec.model_dump_json(by_alias=True))
    assert again == loaded.spec


def test_the_schema_is_sound_and_refuses_what_the_loader_refuses() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {"name": "a", "task": {"kind": "text"}, "data": {"train": "a.jsonl", "test": ["b.jsonl", {"path": "c"}]}}
    jsonschema.validate(good, schema)
    for bad in ({"nmae": "a"}, {"sft": {"method": "x"}}, {"data": {"train": []}}, {"strategy": {"align": True}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | bad, schema)


def test_every_field_says_what_it_means_and_where_its_default_comes_from() -> None:
    schema = json_schema()
    parts = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    fields = [(name, field) for part in parts for name, field in part["properties"].items()]
    assert len(fields) > 90
    assert [name for name, field in fields if not field.get("source")] == []
    # A section may leave its description to the definition that it points to.
    assert [name for name, field in fields if not field.get("description") and "$ref" not in field] == []
    ours = {name: part for name, part in schema["$defs"].items() if name != "JsonValue"}  # pydantic's own
    assert [name for name, part in ours.items() if not part.get("description")] == []


def test_the_reference_page_is_the_code() -> None:
    written = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m posttrain.spec.reference > docs/spec.md"


def test_the_metrics_of_the_spec_are_those_that_are_measured() -> None:
    assert {name: metric.kinds for name, metric in measured.METRICS.items()} == METRICS


def test_importing_the_spec_is_light() -> None:
    code = "import sys, json, posttrain.spec; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    heavy = {"torch", "transformers", "pandas", "numpy", "pyarrow", "mlflow", "prefect", "great_expectations", "rich"}
    assert heavy.isdisjoint(json.loads(out))
