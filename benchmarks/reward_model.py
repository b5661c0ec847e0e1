"""Does a reward model learn what people prefer, or only what is long?

    python benchmarks/reward_model.py --data FOLDER [--quick] [--sets NAME ...] [--base tiny] [--epochs 1]

FOLDER holds `alpaca_eval/preferences.jsonl.gz` (prompt, output_1, output_2, preference 1 to 2; CC-BY-NC) and
`hh_rlhf_harmless/pairs.jsonl.gz` (chosen, rejected; MIT), neither of which ships. The reward model stage is run as a
pipeline runs it, from the embedded base unless `--base` names a model folder. A fifth of the prompts is held out; all
figures are of their pairs. `--quick` takes the pairs of alpaca_eval that fit into 192 tokens, and holds out
two fifths. The last line printed is one JSON object:

- `accuracy`, `accuracy_low`, `accuracy_high`: share of pairs told right, with the 95 % interval over prompts
- `ece`, `ece_scaled`: expected calibration error as trained, and with a temperature fitted on other prompts
- `accuracy_longer_chosen`, `accuracy_shorter_chosen`: where people took the longer, or the shorter answer
- `accuracy_length_matched` (`_low`, `_high`): where lengths differ by at most a tenth, so that they tell nothing
- `accuracy_of_length`: what "the longer one is better" would get, or "the shorter one" where that is more
- `length_correlation`: of score and length; `prefers_longer`: share of pairs whose longer answer it prefers
- `by_source`: accuracy with interval on either set's pairs
- `pairs`, `held_out`, `seconds`, `passed` (the gate)
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posttrain.spec import RewardModelSpec

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

ALPACA, HARMLESS = "alpaca_eval", "hh_rlhf_harmless"
TURN = "\n\nAssistant:"


def alpaca(folder: Path) -> Iterator[dict[str, str]]:
    """Pairs of outputs to one prompt; preference 2 means that the second is better, 1.5 neither."""
    for number, row in enumerate(_lines(folder / ALPACA / "preferences.jsonl.gz")):
        if row["preference"] != 1.5:
            better, worse = (2, 1) if row["preference"] > 1.5 else (1, 2)
            yield _pair(f"{ALPACA}:{number}", row["prompt"], row[f"output_{better}"], row[f"output_{worse}"])


def harmless(folder: Path) -> Iterator[dict[str, str]]:
    """The last answer of either dialogue, where all before it is the same."""
    for number, row in enumerate(_lines(folder / HARMLESS / "pairs.jsonl.gz")):
        prompt, _, chosen = row["chosen"].rpartition(TURN)
        asked, _, rejected = row["rejected"].rpartition(TURN)
        if prompt == asked and chosen.strip() != rejected.strip():
            yield _pair(f"{HARMLESS}:{number}", prompt.strip(), chosen.strip(), rejected.strip())


READERS = {ALPACA: alpaca, HARMLESS: harmless}


def _pair(name: str, prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"id": name, "system": "", "prompt": prompt, "chosen": chosen, "rejected": rejected}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def fitting(pairs: list[dict[str, str]], base: Any, max_length: int) -> list[dict[str, str]]:
    """The pairs of which both sides fit: others would be excluded from training, but measured."""
    from posttrain.models.load import load_tokenizer
    from posttrain.training.reward_model import tokens

    tokenizer = load_tokenizer(base)
    # No tokenizer makes so few tokens of a text; tokenising the longest ones would take most of the time.
    pairs = [pair for pair in pairs if len(max(pair["chosen"], pair["rejected"], key=len)) <= 10 * max_length]
    sides = zip(*(tokens(pairs, side, tokenizer) for side in ("chosen", "rejected")), strict=True)
    return [pair for pair, both in zip(pairs, sides, strict=True) if max(map(len, both)) <= max_length]


def trained(pairs: list[dict[str, str]], base: Any, spec: RewardModelSpec) -> Any:
    """The stage's result, and the held-out pairs with their scores."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from posttrain.artifacts import DatasetRef, Workspace, file_digest
    from posttrain.spec import SFTSpec
    from posttrain.training import recipes, reward_model
    from posttrain.training.rows import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        pq.write_table(pa.Table.from_pylist(pairs), path)
        ref = DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(pairs))
        recipe = recipes.for_reward_model(spec, SFTSpec(), base, len(pairs))
        done = reward_model.train(base, ref, spec, SFTSpec(), recipe, Workspace(Path(folder) / "work"), _tell)
        return done, read(done.result.scores)


def _tell(done: float, total: float, note: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{note} {done:.0f}/{total:.0f}".ljust(60), end="", file=sys.stderr)


def figures(done: Any, scores: list[dict[str, Any]], pairs: int) -> dict[str, Any]:
    """The last line of output."""
    import numpy as np

    from posttrain.evaluation import pairwise

    result = done.result
    bias, matched = result.bias, result.bias.of("length matched")
    of_slice = {name: bias.of(f"chosen {name}") for name in ("longer", "shorter")}
    by_source = {}
    for source in (ALPACA, HARMLESS):
        own = [row for row in scores if row["id"].startswith(source)]
        if own:
            margins = np.array([row["chosen_score"] - row["rejected_score"] for row in own])
            found = pairwise.accuracy(margins, [row["prompt"] for row in own])
            by_source[source] = [round(value, 4) for value in (found.value, found.low, found.high)]
    values = {
        "accuracy": result.accuracy.value,
        "accuracy_low": result.accuracy.low,
        "accuracy_high": result.accuracy.high,
        "ece": result.calibration.ece,
        "ece_scaled": result.calibration.ece_scaled,
        "length_correlation": bias.length_correlation,
        **{f"accuracy_{name}_chosen": score.value for name, score in of_slice.items() if score},
        "accuracy_length_matched": matched and matched.value,
        "accuracy_length_matched_low": matched and matched.low,
        "accuracy_length_matched_high": matched and matched.high,
        "accuracy_of_length": max(bias.people_prefer_longer, 1 - bias.people_prefer_longer),
        "prefers_longer": bias.prefers_longer,
        "people_prefer_longer": bias.people_prefer_longer,
    }
    return {
        **{name: value if value is None else round(float(value), 4) for name, value in values.items()},
        "by_source": by_source,
        "slices": {part.name: part.pairs for part in bias.slices if part.pairs},
        "pairs": pairs,
        "held_out": result.pairs_held_out,
        "prompts_held_out": result.prompts_held_out,
        "steps": result.steps,
        "learning_rate": result.recipe["learning_rate"],
        "seconds": round(done.seconds, 1),
        "passed": result.verdict.passed,
    }


def table(found: dict[str, Any]) -> str:
    """The figures as lines, with what they mean."""
    lines = [f"{name:<30}{value}" for name, value in found.items()]
    sure = (found["accuracy_length_matched_low"] or 0) > 0.5
    lesson = "more than length: surely right" if sure else "length, as far as can be told: not surely right"
    return "\n".join([*lines, "", f"It goes by {lesson} where lengths are alike."])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two data sets")
    parser.add_argument("--quick", action="store_true", help="alpaca_eval's pairs of up to 192 tokens")
    parser.add_argument("--sets", nargs="*", choices=READERS, default=list(READERS), help="which of the two")
    parser.add_argument("--base", default="tiny", help="a model folder")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--max-length", type=int, default=512, help="tokens of prompt and answer")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    from posttrain.models.load import resolve
    from posttrain.spec import BaseSpec, RewardModelSpec

    base = resolve(BaseSpec(model=given.base))
    length = min(given.max_length, 192) if given.quick else given.max_length
    sets = [ALPACA] if given.quick else given.sets
    every = [pair for name in sets for pair in READERS[name](given.data)]
    pairs = fitting(every, base, length)
    spec = RewardModelSpec(
        method="full",
        num_train_epochs=given.epochs,
        max_length=length,
        learning_rate=given.learning_rate,
        held_out=0.4 if given.quick else 0.2,
        seed=given.seed,
    )
    done, scores = trained(pairs, base, spec)
    found = figures(done, scores, len(pairs))
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
