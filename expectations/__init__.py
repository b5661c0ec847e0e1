"""Great Expectations: the suites (JSON), our custom expectations (one file each), and the checkpoint that runs them.

To add a custom expectation:

1. Write `expect_<what>.py` after the pattern of `expect_column_values_to_be_readable_text.py`: a metric class whose
   `_pandas` method returns a boolean per row, and an expectation class that names the metric.
2. Import its class in `register` below, which makes Great Expectations know it by its snake-case name.
3. Use that name as a `type` in a suite, with `meta.rule`: rows that break it are quarantined under this rule, with
   the severity that the spec gives it (`validate.severity`), else that of the suite.

In a suite, `{"$PARAMETER": "min_length"}` stands for a value that the run supplies; see `posttrain.data.validate`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def register() -> list[type]:
    """Import every custom expectation, by which Great Expectations learns of it (3 s: it is a heavy import).

    Great Expectations 1.24 imports modules that Python calls deprecated; those warnings are not our users' concern.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return _register()


def _register() -> list[type]:
    from expectations.expect_column_pair_values_to_be_unique_pairs import ExpectColumnPairValuesToBeUniquePairs
    from expectations.expect_column_pair_values_to_have_one_label import ExpectColumnPairValuesToHaveOneLabel
    from expectations.expect_column_values_to_be_readable_text import ExpectColumnValuesToBeReadableText
    from expectations.expect_column_values_to_be_task_json import ExpectColumnValuesToBeTaskJson
    from expectations.expect_column_values_to_have_distinct_word_ratio import ExpectColumnValuesToHaveDistinctWordRatio

    return [
        ExpectColumnPairValuesToBeUniquePairs,
        ExpectColumnPairValuesToHaveOneLabel,
        ExpectColumnValuesToBeReadableText,
        ExpectColumnValuesToBeTaskJson,
        ExpectColumnValuesToHaveDistinctWordRatio,
    ]
