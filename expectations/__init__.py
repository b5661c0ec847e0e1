"""Great Expectations: the suites (JSON), our custom expectations (one file each), and the checkpoint that runs them.

To add a custom expectation:

1. Write its rule in `posttrain/data/rules/`: what it asks, of whole columns at a time.
2. Write `expect_<what>.py` here after the pattern of `expect_column_values_to_be_readable_text.py`: a metric class that
   asks the rule, and an expectation class that names the metric. Great Expectations knows it by its snake-case name.
3. Use that name as a `type` in a suite, with `meta.rule`: rows that break it are quarantined under this rule, unless
   `meta.severity` or the spec says otherwise (`validate.severity`).

In a suite, `{"$PARAMETER": "min_length"}` stands for a value that the run supplies: kind (of the task; "text" for
general rows), json_schema, min_length, max_length, min_distinct_words, languages.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def register() -> list[str]:
    """Import every custom expectation, by which Great Expectations learns of it (3 s: it is a heavy import).

    Returns their types. Great Expectations 1.24 imports modules that Python calls deprecated; those warnings are not
    our users' concern.
    """
    found = sorted(path.stem for path in FOLDER.glob("expect_*.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in found:
            import_module(f"{__name__}.{name}")
    return found
