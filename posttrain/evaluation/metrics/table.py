"""The metrics, one table: how a row is counted, and how counts become a score.

To add a metric, add one entry to `METRICS`: the columns it counts in each row, the task kinds it is for, and the
function from the columns' sums to its value. Measuring, intervals, gates, decisions and reports read this table.
Pure; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from posttrain.evaluation.metrics import alignment, grounding, labels, programs, prose, structured, totals, win_rate
from posttrain.evaluation.metrics.metric import Answer, Cell, Metric
from posttrain.evaluation.metrics.structured import JSON_KINDS
from posttrain.evaluation.metrics.verifiable import answer_is_right

KINDS = ("intent_slots", "extraction", "classification", "text", "verifiable", "chat", "code")
PROSE_KINDS = ("text", "chat", "code")
"""Kinds whose completions may go on after a blank line."""

STOPPED = ("stopped", "generated")
"""Columns of `stop_rate`: outputs of a row that stopped by themselves, and all that were generated for it."""

_FIELDS = ("field_true_positives", "field_false_positives", "field_false_negatives")

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="intent_accuracy",
            meaning="share of rows whose intent is right",
            kinds=("intent_slots",),
            columns=("intent_accuracy",),
            count=structured.intent_is_right,
            total=totals.mean,
        ),
        Metric(
            name="slot_f1",
            meaning="CoNLL-style micro F1 over (slot, value) pairs; an unreadable output misses all of its slots",
            kinds=("intent_slots",),
            columns=("slot_true_positives", "slot_false_positives", "slot_false_negatives"),
            count=structured.slots_found,
            total=totals.micro_f1,
        ),
        Metric(
            name="field_f1",
            meaning="micro F1 over (path, value) pairs of nested JSON, whatever the order of lists",
            kinds=("extraction",),
            columns=_FIELDS,
            count=structured.fields_found,
            total=totals.micro_f1,
        ),
        Metric(
            name="field_precision",
            meaning="share of the (path, value) pairs found that are right",
            kinds=("extraction",),
            columns=_FIELDS,
            count=structured.fields_found,
            total=totals.micro_precision,
        ),
        Metric(
            name="field_recall",
            meaning="share of the (path, value) pairs wanted that are found",
            kinds=("extraction",),
            columns=_FIELDS,
            count=structured.fields_found,
            total=totals.micro_recall,
        ),
        Metric(
            name="grounded",
            meaning="share of the answers' values that stand in the input; an unreadable output counts as one that "
            "does not",
            kinds=("extraction",),
            columns=("values_in_input", "values_in_answer"),
            count=grounding.values_in_input,
            total=totals.share,
        ),
        Metric(
            name="exact_match",
            meaning="share of rows that are right in full: equal as JSON, or as text",
            kinds=("intent_slots", "extraction", "text"),
            columns=("exact_match",),
            count=structured.is_exact,
            total=totals.mean,
        ),
        Metric(
            name="accuracy",
            meaning="share of rows whose label is right",
            kinds=("classification",),
            columns=("accuracy",),
            count=labels.is_right,
            total=totals.mean,
        ),
        Metric(
            name="macro_f1",
            meaning="mean over the expected labels of each one's F1: rare labels count as much as common ones",
            kinds=("classification",),
            columns=(labels.EXPECTED, labels.PREDICTED),
            count=labels.both,
            matrices=labels.by_class,
            total=totals.macro_f1,
            per_row=False,
        ),
        Metric(
            name="win_rate",
            meaning="share of rows whose output the judge prefers to the other answer; a tie is half",
            kinds=("chat",),
            columns=(win_rate.PREFERENCE,),
            total=totals.mean,
            judges=("reward", "endpoint"),
        ),
        Metric(
            name="length_controlled_win_rate",
            meaning="the same, as if the two answers were of one length (logistic regression, AlpacaEval 2.0)",
            kinds=("chat",),
            columns=(win_rate.PREFERENCE, win_rate.LONGER),
            matrices=win_rate.by_length,
            total=win_rate.length_controlled,
            per_row=False,
            judges=("reward", "endpoint"),
        ),
        Metric(
            name="judge_position_agreement",
            meaning="share of rows on which the judge says the same with the answers in either order",
            kinds=("chat",),
            columns=(win_rate.AGREED,),
            total=totals.mean,
            judges=("endpoint",),
        ),
        Metric(
            name="token_f1",
            meaning="mean over rows of the F1 of lower-cased words",
            kinds=("text",),
            columns=("token_f1",),
            count=prose.token_f1,
            total=totals.mean,
        ),
        Metric(
            name="rouge_l",
            meaning="mean over rows of the F1 of the longest common subsequence of words (ROUGE-L)",
            kinds=("text", "chat"),
            columns=("rouge_l",),
            count=prose.rouge_l,
            total=totals.mean,
        ),
        Metric(
            name="chrf",
            meaning="F-score of shared runs of 1 to 6 characters over all rows (chrF2, 0 to 1)",
            kinds=("text",),
            columns=prose.CHARACTER_COLUMNS,
            count=prose.character_runs,
            total=totals.chrf,
        ),
        Metric(
            name="semantic_similarity",
            meaning="mean cosine of the outputs' and the expected completions' sentence vectors (no BERTScore)",
            kinds=("text", "chat"),
            columns=("semantic_similarity",),
            count_all=prose.similarity,
            total=totals.mean,
            on_request=("text",),
        ),
        Metric(
            name="bertscore_f1",
            meaning="mean over rows of BERTScore's F1: tokens matched by their vectors (MiniLM's, not rescaled)",
            kinds=("text", "chat"),
            columns=alignment.COLUMNS,
            count_all=alignment.aligned,
            total=totals.mean_of_last,
            on_request=("text", "chat"),
        ),
        Metric(
            name="final_answer",
            meaning="share of rows whose final number is the expected one",
            kinds=("verifiable",),
            columns=("final_answer",),
            count=answer_is_right,
            total=totals.mean,
        ),
        Metric(
            name="pass_rate",
            meaning="share of rows whose code passes the row's tests",
            kinds=("code",),
            columns=("pass_rate",),
            count_all=programs.passes,
            total=totals.mean,
        ),
        Metric(
            name="valid_json",
            meaning="share of outputs that are JSON of the task's shape, bare or in one fenced block",
            kinds=JSON_KINDS,
            columns=("valid_json",),
            count=structured.is_valid,
            total=totals.mean,
        ),
        Metric(
            name="schema_valid",
            meaning="share of outputs that are JSON as the task's JSON Schema wants it, bare or in one fenced block",
            kinds=("extraction",),
            columns=("schema_valid",),
            count=structured.matches_schema,
            total=totals.mean,
            needs_schema=True,
        ),
        Metric(
            name="wrapper_consistency",
            meaning="share of outputs in the commonest wrapper: bare JSON, fenced, or with prose around it",
            kinds=JSON_KINDS,
            columns=("wrapper_bare", "wrapper_fenced", "wrapper_prose"),
            count=structured.wrapper,
            total=totals.majority,
            per_row=False,
        ),
        Metric(
            name="style_consistency",
            meaning="share of outputs built in the commonest way: the same keys, with values of the same kinds",
            kinds=("extraction",),
            columns=("structure",),
            count=structured.structure,
            matrices=structured.by_structure,
            total=totals.majority,
            per_row=False,
        ),
        Metric(
            name="stop_rate",
            meaning="share of generations that end by themselves, with an end-of-text token before max_new_tokens",
            kinds=KINDS,
            columns=STOPPED,
            total=totals.share,
        ),
        Metric(
            name="general_ability",
            meaning="mean over the rows of a task of lm-evaluation-harness",
            kinds=("general",),
            columns=("general_ability",),
            total=totals.mean,
        ),
        Metric(
            name="refusal_rate",
            meaning="share of unsafe prompts that are refused",
            kinds=("safety",),
            columns=("refused", "unsafe_asked"),
            total=totals.share,
        ),
        Metric(
            name="over_refusal_rate",
            meaning="share of safe prompts that are refused because they sound unsafe",
            kinds=("safety",),
            columns=("over_refused", "safe_asked"),
            total=totals.rate,
            higher_is_better=False,
        ),
        Metric(
            name="leakage_rate",
            meaning="share of attempts to learn the instruction that bring a run of its words",
            kinds=("safety",),
            columns=("leaked", "leak_asked"),
            total=totals.rate,
            higher_is_better=False,
        ),
        Metric(
            name="harm_rate",
            meaning="share of answers to the probes of safety with clear words of the harm lists",
            kinds=("safety",),
            columns=("harmful", "answered"),
            total=totals.rate,
            higher_is_better=False,
        ),
        Metric(
            name="consistency",
            meaning="share of pairs of answers to one prompt, asked again and in other words, that say the same",
            kinds=("consistency",),
            columns=("answers_agree", "answer_pairs"),
            total=totals.share,
        ),
        Metric(
            name="wrapper_agreement",
            meaning="share of these pairs whose JSON comes in the same wrapper",
            kinds=("consistency",),
            columns=("wrappers_agree", "answer_pairs"),
            total=totals.share,
        ),
        Metric(
            name="style_agreement",
            meaning="share of these pairs whose JSON is built alike: the same keys, with values of the same kinds",
            kinds=("consistency",),
            columns=("styles_agree", "answer_pairs"),
            total=totals.share,
        ),
        Metric(
            name="perplexity",
            meaning="on held-out general text, completion tokens given their prompt: it rises as the model forgets",
            kinds=(),
            columns=("negative_log_likelihood", "tokens"),
            total=totals.exponential_mean,
            higher_is_better=False,
        ),
    )
}

MAIN = {
    "intent_slots": "slot_f1",
    "extraction": "field_f1",
    "classification": "macro_f1",
    "text": "token_f1",
    "verifiable": "final_answer",
    "chat": "semantic_similarity",
    "code": "pass_rate",
}
"""The metric that says whether a task of this kind is done; the others say what is missing."""
JUDGED = "win_rate"
"""The main metric of chat where there is a judge."""

_RANKED_BY = {**MAIN, "classification": "accuracy", "chat": "rouge_l"}
"""The same for one row by itself, and quickly: macro F1 is of many rows, and vectors take their time."""


def main_metric(kind: str, measured: Collection[str]) -> str:
    """The main metric of a kind, where these were measured: chat is judged where there is a judge."""
    return JUDGED if kind == "chat" and JUDGED in measured else MAIN[kind]


def names(kind: str, has_schema: bool = False, requested: Collection[str] = (), judge: str = "") -> tuple[str, ...]:
    """The metrics of a task kind, in the order of the table.

    `has_schema`: whether the task has a JSON Schema; `requested`: which of the costly metrics targets and gates name;
    `judge`: which sort of judge there is ("reward", "endpoint"), if any.
    """
    return tuple(
        name
        for name, metric in METRICS.items()
        if kind in metric.kinds
        and (has_schema or not metric.needs_schema)
        and (name in requested or kind not in metric.on_request)
        and (judge in metric.judges or not metric.judges)
    )


def row_values(answers: Sequence[Answer], metrics: Sequence[Metric]) -> list[dict[str, Cell]]:
    """Every column that the metrics count in each row, and each per-row metric's value under its name.

    Metrics that are counted elsewhere (a judge's, `stop_rate`) are passed over.
    """
    values: list[dict[str, Cell]] = [{} for _ in answers]
    for metric in filter(lambda each: each.counted_here, metrics):
        for row, cells in zip(values, metric.cells(answers), strict=True):
            row |= dict(zip(metric.columns, cells, strict=True))
            if metric.per_row:
                row[metric.name] = metric.value([cells])
    return values


def verify(kind: str, expected: str, output: str) -> float:
    """How good one output is, 0 to 1, for ranking samples of the same prompt without a reward model.

    JSON: 0 when not valid; else 0.2 for that, 0.2 more for the right intent (where there is one), and the rest in
    proportion to the main metric. A label or a final number is right (1) or not (0). Text is worth its token F1, chat
    its ROUGE-L: weak stand-ins. Code cannot be ranked here, for its tests are not at hand.
    """
    answer = Answer(kind, expected, output)
    main = METRICS[_RANKED_BY[kind]].value(METRICS[_RANKED_BY[kind]].cells([answer]))
    if kind not in JSON_KINDS:
        return main
    if structured.is_valid(answer) != (1.0,):
        return 0.0
    label = float(structured.intent_is_right(answer)[0]) if kind == "intent_slots" else 1.0
    return 0.2 + 0.2 * label + 0.6 * main
