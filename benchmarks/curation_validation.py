"""What validation costs: our stage against plain Great Expectations on pandas, the same suite on the same rows.

    python benchmarks/curation_validation.py [--quick] [--rows N]

Rows are those of `data/general`, taken again and again, each with a number of its own in the prompt; some are spoilt,
rule by rule, and some are twins. Each side runs in a process of its own. Its clock runs from rows in memory to the
names of the bad ones; making the rows and importing Great Expectations are left out on all sides.

- `ours`: `expectations/prompt_completion.json`, by rules over batches, then by Great Expectations on bad rows and a
  sample; with Data Docs. In one process, whose threads use the cores: the rows are there already
- `plain`: the same suite on one pandas frame, with complete results and no Data Docs. What Great Expectations has not
  built in is a function of one value (`per_value.py`), as one writes it with Great Expectations alone. On a tenth of
  the rows, and multiplied by ten: the cost is linear
- `lent`: as plain, on all rows, but with our vectorised rules inside the expectations
- `ours_eight`, `plain_eight`: the two ways for eight expectations that Great Expectations has built in, on all rows
- `stage`: the whole stage, from a JSONL file to Parquet and Data Docs, in as many processes as there are cores

The last line printed is one JSON object:

- `validation_vs_gx`: seconds of plain / ours. `lent_vs_gx`: lent / ours. `eight_vs_gx`: plain_eight / ours_eight
- `same_verdicts`: whether ours names the same rows as lent, under rules under which lent names them too; likewise for
  the rows that plain saw, and for the eight
- `rows`, `bad_rows`; `<side>_seconds` and `<side>_megabytes` (peak, with the rows that were made)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from expectations import FOLDER, register  # noqa: E402
from expectations.checkpoint import Checkpoint  # noqa: E402
from expectations.suite import declared, read_suite  # noqa: E402
from posttrain.artifacts import Workspace  # noqa: E402
from posttrain.data import load  # noqa: E402
from posttrain.data.engine import Local  # noqa: E402
from posttrain.data.rules import Expectation  # noqa: E402
from posttrain.data.table import BATCH  # noqa: E402
from posttrain.data.validate import validate  # noqa: E402
from posttrain.data.validate.assertion import Assertion  # noqa: E402
from posttrain.data.validate.book import RuleBook  # noqa: E402
from posttrain.data.validate.examine import WARNINGS, Examine  # noqa: E402
from posttrain.data.validate.intake import take_in  # noqa: E402
from posttrain.data.validate.settle import Part, compare  # noqa: E402
from posttrain.progress import silent  # noqa: E402
from posttrain.spec import DataSpec, TaskSpec, ValidateSpec  # noqa: E402
from posttrain.spec.sections.data import Source  # noqa: E402

QUICK, FULL = 10_000, 1_000_000
BAD = 0.015
"""Share of rows that are spoilt, and again of rows that are twins."""
PARAMETERS = {**ValidateSpec().model_dump(), "kind": "text", "json_schema": None}
CORES = os.cpu_count() or 1
TENTH = 10
"""Plain Great Expectations with a function of one value is asked about this part of the rows."""
SIDES = ("ours", "plain", "lent", "ours_eight", "plain_eight", "stage")
TEXTS = ("prompt", "completion")
PAIRS = {"rule": pl.String, "id": pl.String}


def spoilt(prompt: str, completion: str, turn: int) -> tuple[str, str]:
    """A row that breaks a rule, each rule in turn."""
    return [
        ("caf\u00c3\u00a9 " + prompt, completion),
        (prompt, completion[:40] + "\ufffd"),
        (" ", completion),
        (prompt, "\n"),
        (prompt, "Yes."),
        (prompt, (completion + " ") * (2100 // (len(completion) + 1) + 1)),
        (prompt, "as I said before, " * 20),
        (prompt, completion + " Mail maria.keller@unibas.ch"),
        (prompt, completion + " ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"),
    ][turn % 9]


def make_rows(count: int, seed: int = 0) -> pl.DataFrame:
    """Rows of prompt and completion: id, source, system and texts."""
    sources = [Source(path=f"data/general/{name}.jsonl.gz") for name in ("train", "replay")]
    real = pl.concat(list(load.read(sources, PROJECT, "general")))
    random = np.random.default_rng(seed)
    rows = real[random.integers(0, real.height, count)].select("system", "prompt", "completion")
    prompts = [f"{prompt} #{number}" for number, prompt in enumerate(rows["prompt"])]
    completions = rows["completion"].to_list()
    bad = random.choice(np.arange(1, count), int(2 * BAD * count), replace=False).tolist()
    for turn, row in enumerate(bad[::2]):
        prompts[row], completions[row] = spoilt(prompts[row], completions[row], turn)
    for row in bad[1::2]:
        prompts[row], completions[row] = prompts[row - 1], completions[row - 1] + " "
    return rows.select(
        pl.Series("id", [f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}" for row in range(count)]),
        pl.Series("source", [f"rows.jsonl:{row + 1}" for row in range(count)]),
        "system",
        pl.Series("prompt", prompts),
        pl.Series("completion", completions),
    )


def suite() -> list[Expectation]:
    """The shipped suite for rows of prompt and completion."""
    return declared(read_suite(FOLDER / "prompt_completion.json"), PARAMETERS)


CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]"
EIGHT = [
    *(("expect_column_values_to_not_match_regex", {"column": name, "regex": CONTROLS}) for name in TEXTS),
    *(("expect_column_values_to_match_regex", {"column": name, "regex": r"\S"}) for name in TEXTS),
    ("expect_column_value_lengths_to_be_between", {"column": "prompt", "min_value": 1, "max_value": 8000}),
    ("expect_column_value_lengths_to_be_between", {"column": "completion", "min_value": 10, "max_value": 2000}),
    ("expect_column_values_to_be_unique", {"column": "id"}),
    ("expect_compound_columns_to_be_unique", {"column_list": list(TEXTS)}),
]


def eight() -> list[Expectation]:
    """Expectations that Great Expectations has built in; each is a rule of its own."""
    return [Expectation(kind, kwargs, rule=f"{place} {kind}") for place, (kind, kwargs) in enumerate(EIGHT)]


# --- the sides: (rule, id) of every finding ------------------------------------------------------------------


def ours(rows: pl.DataFrame, folder: Path, expectations: list[Expectation]) -> pl.DataFrame:
    """By our stage, less reading files and writing what goes on."""
    checkpoint = Checkpoint(folder / "data_docs")
    book = RuleBook.of(expectations)
    assertion = Assertion(checkpoint, "train", "prompt_completion", book, "text")
    batches = (rows.slice(start, BATCH) for start in range(0, rows.height, BATCH))
    part = Part(take_in("train", map(Examine(book, "train", "text", True), batches), folder, silent), book, True)
    compare(part)
    assertion.hold(part)
    checkpoint.build_docs()
    found = [pl.read_parquet(part.intake.aside, columns=["rule", "id"])]
    for late in (*part.aside, *part.warned):
        found.append(part.fetch(late["row"].to_numpy(), ["id"]).select(late["rule"], "id"))
    for batch in part.intake.spool.batches(columns=["id", WARNINGS]):
        said = batch.filter(pl.col(WARNINGS) != "").select("id", WARNINGS).iter_rows()
        told = [(warning[0], row) for row, text in said for warning in json.loads(text)]
        found.append(pl.DataFrame(told, schema=PAIRS, orient="row"))
    return pl.concat(found)


def plain(rows: Any, expectations: list[Expectation]) -> pl.DataFrame:
    """By Great Expectations on one pandas frame."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    made = gx.ExpectationSuite(name="plain")
    for each in expectations:
        kwargs = dict(each.kwargs)
        made.add_expectation(ExpectationConfiguration(each.type, kwargs, meta={"rule": each.rule}).to_domain_obj())
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows})
    complete = {"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}
    found = [
        (result.expectation_config.meta["rule"], index["id"])
        for result in batch.validate(made, result_format=complete).results
        for index in result.result.get("unexpected_index_list") or ()
    ]
    return pl.DataFrame(found, schema=PAIRS, orient="row").unique()


def stage(rows: pl.DataFrame, folder: Path) -> float:
    """Seconds that the whole stage takes, from a file on; a second file of ten rows stands for the test split."""
    rows.select(TEXTS).write_ndjson(folder / "rows.jsonl")
    rows.select(TEXTS).filter(pl.col("prompt") != " ").head(10).write_ndjson(folder / "test.jsonl")
    data, task = DataSpec(train="rows.jsonl", test="test.jsonl"), TaskSpec(kind="text")
    began = time.monotonic()
    validate(data, task, ValidateSpec(), Workspace(folder / "w"), silent, folder, Local(CORES))
    return time.monotonic() - began


# --- measuring -----------------------------------------------------------------------------------------------


def run_side(side: str, count: int, folder: Path) -> None:
    """Run one side in this process; prints its figures."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    rows = make_rows(count)
    if side == "plain":
        import per_value

        rows = rows.head(count // TENTH)
        per_value.register()
    else:
        register()
    expectations = eight() if side.endswith("eight") else list(RuleBook.of(suite()).expectations)
    given: Any = rows if side in ("ours", "ours_eight", "stage") else rows.to_pandas()
    began = time.monotonic()
    if side == "stage":
        seconds = stage(rows, folder)
    else:
        found = ours(given, folder, expectations) if given is rows else plain(given, expectations)
        seconds = time.monotonic() - began
        found.write_parquet(folder / f"{side}.parquet")
    print(json.dumps({f"{side}_seconds": round((TENTH if side == "plain" else 1) * seconds, 2)}))


def run_process(command: list[str]) -> tuple[dict[str, Any], int]:
    """(what the last line of a process says, peak memory in megabytes of it and of all that it starts)."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        peak, family = 0, psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, sum(one.memory_info().rss for one in [family, *family.children(recursive=True)]))
            time.sleep(0.2)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return json.loads(said.splitlines()[-1]), peak >> 20


def same_verdicts(folder: Path, mine: str, theirs: str, rows: set[str] | None = None) -> bool:
    """Whether two sides name the same rows (of these), the first under rules under which the second does too."""
    found = [pl.read_parquet(folder / f"{side}.parquet") for side in (mine, theirs)]
    if rows is not None:
        found = [each.filter(pl.col("id").is_in(list(rows))) for each in found]
    beyond = found[0].join(found[1], on=["rule", "id"], how="anti").height
    return beyond == 0 and set(found[0]["id"]) == set(found[1]["id"])


def measure(quick: bool, count: int | None = None) -> dict[str, Any]:
    """Run all sides, one after the other, and compare; `count` rows instead of the usual ones."""
    count = count or (QUICK if quick else FULL)
    sides = SIDES[:2] if quick else SIDES
    figures: dict[str, Any] = {"rows": count}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for side in sides:
            command = [sys.executable, __file__, "--side", side, "--rows", str(count), "--folder", place]
            said, figures[f"{side}_megabytes"] = run_process(command)
            figures |= said
        seen = set(make_rows(count)["id"].head(count // TENTH))
        compared = [same_verdicts(folder, "ours", "plain", seen)]
        if not quick:
            compared += [same_verdicts(folder, "ours", "lent"), same_verdicts(folder, "ours_eight", "plain_eight")]
        figures["same_verdicts"] = all(compared)
        figures["bad_rows"] = pl.read_parquet(folder / "ours.parquet")["id"].n_unique()
    for key, theirs, mine in (
        ("validation_vs_gx", "plain", "ours"),
        ("lent_vs_gx", "lent", "ours"),
        ("eight_vs_gx", "plain_eight", "ours_eight"),
    ):
        if theirs in sides:
            figures[key] = round(figures[f"{theirs}_seconds"] / figures[f"{mine}_seconds"], 2)
    return figures


def main() -> None:
    """Measure, or run one side for `measure`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} rows, the shipped suite only")
    parser.add_argument("--rows", type=int, help="so many rows")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        run_side(asked.side, asked.rows, asked.folder)
    else:
        print(json.dumps(measure(asked.quick, asked.rows)))


if __name__ == "__main__":
    main()
