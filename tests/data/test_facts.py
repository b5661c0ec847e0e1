"""The fact check: what a row states, how it is written, and whether the reference table agrees."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from posttrain.data.steps.fact_values import dates, names, numbers
from posttrain.data.steps.facts import Facts
from posttrain.errors import DataError
from posttrain.spec.sections.facts import FactsSpec

CITIES = """\
city,other,population,founded,country,height,mayor,opened
Oslo,奥斯陆|Christiania,"709,037",1048,Norway,23 m,Anne Lindboe,7 June 1905
Bergen,卑尔根,"291,940",1070,Norway,20 m,Marit Warncke,1909-11-27
New York,New York City|NYC,8.8 million,1624,United States,10 m,Eric Adams,1904-10-27
York,,141685,71,United Kingdom,17 m,,
Beijing,北京,2189万,,China,43.5 m,,1969年10月1日
"""
WORDS = {
    "population": ["inhabitants", "人口"],
    "founded": ["建立"],
    "country": [],
    "height": ["above sea level", "海拔"],
    "mayor": ["市长"],
    "opened": ["opening", "inaugurated"],
}


@pytest.fixture
def cities(tmp_path: Path) -> Path:
    (tmp_path / "cities.csv").write_text(CITIES, encoding="utf-8")
    return tmp_path


def rows(*pairs: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame({"prompt": [asked for asked, _ in pairs], "completion": [told for _, told in pairs]})


def check(root: Path, prompt: str, answer: str, **spec: object) -> str:
    """What the step says of a row; "" when nothing."""
    settings = FactsSpec.model_validate({"reference": "cities.csv", "aliases": "other", "columns": WORDS, **spec})
    found = Facts.make(settings, root).find(rows((prompt, answer)))
    return found["value"][0] if found.height else ""


ASKED = "What is the population of Oslo?"


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        (ASKED, "Oslo has about 500,000 inhabitants.", "population of Oslo: 500,000; reference: 709,037"),
        (ASKED, "500.000", "population of Oslo: 500.000; reference: 709,037"),
        ("the population of oslo?", "0.6 million? 0.5 million", "population of Oslo: 0.5 million; reference: 709,037"),
        ("Tell me about Christiania.", "It has 50万 inhabitants.", "population of Oslo: 50万; reference: 709,037"),
        ("奥斯陆的人口是多少？", "奥斯陆的人口约为五十万。", "population of Oslo: 五十万; reference: 709,037"),
        ("北京有多少人口？", "北京的人口约为189万。", "population of Beijing: 189万; reference: 2189万"),
        ("When was Oslo founded?", "In 1049.", "founded of Oslo: 1049; reference: 1048"),
        ("When was York founded?", "In 1624.", "founded of York: 1624; reference: 71"),
        ("How high does Oslo lie?", "Oslo lies 75 m above sea level.", "height of Oslo: 75 m; reference: 23 m"),
        ("How high does Oslo lie?", "Oslo lies 23 ft above sea level.", "height of Oslo: 23 ft; reference: 23 m"),
        ("In which country is Oslo?", "Sweden", "country of Oslo: Sweden; reference: Norway"),
        ("Where is Oslo?", "The country of Oslo is China.", "country of Oslo: China; reference: Norway"),
        ("Who is mayor of Bergen?", "It is Anne Lindboe.", "mayor of Bergen: Anne Lindboe; reference: Marit Warncke"),
        ("卑尔根的市长是谁？", "卑尔根的市长是王小明。", "mayor of Bergen: 王小明; reference: Marit Warncke"),
        ("When did Oslo's tram open?", "Oslo's was inaugurated on June 8, 1905.",
         "opened of Oslo: June 8, 1905; reference: 7 June 1905"),
        ("List facts about Oslo", "1. population: 709,037\n2. founded: 1050", "founded of Oslo: 1050; reference: 1048"),
        ("The population of New York City?", "141,685", "population of New York: 141,685; reference: 8.8 million"),
    ],
)  # fmt: skip
def test_what_disagrees_goes_to_review(cities: Path, prompt: str, answer: str, said: str) -> None:
    assert check(cities, prompt, answer) == said


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (ASKED, "Oslo has 709 037 inhabitants."),
        (ASKED, "About 0.71 million."),  # prose rounds: 0.1 % off
        (ASKED, "奥斯陆有七十一万人口"),
        (ASKED, "In 1990 it was 458,364, today it is 709,037."),
        (ASKED, "It had 458,364 inhabitants in 1990. Today Oslo has 709,037 inhabitants."),
        (ASKED, "It grew in 2019."),  # a year is no population
        (ASKED, "It covers 454 km² and has 12 % more than before."),  # nor is an area
        (ASKED, "I don't know."),
        (ASKED, "Is it 500,000?"),  # a question states nothing
        ("The population of Oslo and Bergen?", "Together it is 1,000,977."),
        ("Who lives in Osloer Street?", "Its population is 500."),  # a part of a word
        ("Is it us?", "The population is 500."),
        ("When was York founded?", "In 71 or so, it was founded."),
        (
            "How high does Oslo lie?",
            "75 ft above sea level",
        ),  # 22.86 m, which is not below 1,000 and so is exact: see below
        ("In which country is Oslo?", "Oslo is in the Kingdom of Norway, a country."),
        ("When did Oslo's tram open?", "It opened in 1905."),
        ("When did Oslo's tram open?", "1905年6月7日 it opened."),
        ("北京地铁何时 opened?", "It opened on 1 October 1969."),
        (ASKED, '{"population": 500000}'),
        ("What is the height of New York?", "The height of York is 17 m."),
        ("Nothing of the table", "Nothing at all."),
    ],
)
def test_what_agrees_or_says_nothing_goes_on(cities: Path, prompt: str, answer: str) -> None:
    assert check(cities, prompt, answer) == ""


def test_a_long_table_of_any_format(tmp_path: Path) -> None:
    facts = {"entity": ["Hamlet", "Hamlet", "Faust"], "attribute": ["author", "acts", "author"]}
    table = pl.DataFrame({**facts, "value": ["William Shakespeare", "5", "Goethe"]})
    table.write_csv(tmp_path / "t.csv")
    table.write_parquet(tmp_path / "t.parquet")
    table.write_ndjson(tmp_path / "t.jsonl")
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        step = Facts.make(FactsSpec(reference=name, columns={"author": ["wrote"]}), tmp_path)
        found = step.find(rows(("Who wrote Hamlet?", "Goethe"), ("Who wrote Hamlet?", "Shakespeare.")))
        assert found.select("row", "verdict", "value", "threshold").rows() == [
            (0, "review", "author of Hamlet: Goethe; reference: William Shakespeare", f"as in {name}")
        ]


def test_several_values_are_all_right(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("entity,attribute,value\nBolivia,capital,Sucre\nBolivia,capital,La Paz\n")
    step = Facts.make(FactsSpec(reference="t.csv"), tmp_path)
    asked = "What is the capital of Bolivia?"
    found = step.find(rows((asked, "Sucre"), (asked, "It is La Paz."), (asked, "Lima")))
    assert found["value"].to_list() == ["capital of Bolivia: Lima; reference: Sucre or La Paz"]


def test_patterns_of_the_users(cities: Path) -> None:
    line = r"(?P<key>\w+)\n(?P<column>\w+)=(?P<value>\S+)"
    assert check(cities, "x", "Oslo\npopulation=400,000") == ""
    assert check(cities, "x", "Oslo\npopulation=400,000", patterns=[line]).startswith("population of Oslo: 400,000")
    assert check(cities, "x", "Oslo\n人口=709,037", patterns=[line]) == ""
    own = r"(?P<key>\w+) est\. (?P<founded>\d+)"
    assert check(cities, "x", "Oslo est. 1950") == ""
    assert check(cities, "x", "Oslo est. 1950", patterns=[own]) == "founded of Oslo: 1950; reference: 1048"


def test_tolerance_and_units_are_settings(cities: Path) -> None:
    assert check(cities, ASKED, "Oslo has 700,000 inhabitants.") == ""  # 1.3 % off
    assert check(cities, ASKED, "Oslo has 700,000 inhabitants.", tolerance=0) != ""
    (cities / "hills.csv").write_text("hill,height\nEkeberg,200\nUlriken,643\n")
    spec = {"reference": "hills.csv", "aliases": None, "columns": {}, "units": {"height": "m"}}
    assert check(cities, "x", "The height of Ulriken is 0.643 km.", **spec) == ""
    assert check(cities, "x", "The height of Ulriken is 643 ft.", **spec) == "height of Ulriken: 643 ft; reference: 643"


def test_only_the_chosen_side_of_a_pair_is_looked_at(cities: Path) -> None:
    step = Facts.make(FactsSpec(reference="cities.csv", columns=WORDS), cities)
    pairs = pl.DataFrame({"prompt": [ASKED] * 2, "chosen": ["709,037", "500,000"], "rejected": ["500,000", "709,037"]})
    assert step.find(pairs)["row"].to_list() == [1]


def test_batches_and_processes_do_not_matter(cities: Path) -> None:
    step = pickle.loads(pickle.dumps(Facts.make(FactsSpec(reference="cities.csv", columns=WORDS), cities)))
    many = rows(*[(ASKED, f"It has {number},037 inhabitants.") for number in range(690, 730)])
    whole = step.find(many)["row"].to_list()
    assert whole == [n for n in range(40) if abs(690 + n - 709) * 1000 > 0.02 * 709_037]
    assert [at + start for start in range(0, 40, 7) for at in step.find(many[start : start + 7])["row"]] == whole


@pytest.mark.parametrize(
    ("content", "spec", "message"),
    [
        (None, {}, r"t\.csv: no such file; correct curate\.facts\.reference"),
        ("a,b\n1,2\n", {"key": "city"}, r"t\.csv: found columns a, b, expected city; correct key"),
        ("a,b\n1,2\n", {"columns": {"c": []}}, r"expected c;"),
        ("entity,attribute,value\nA,b,1\n", {"columns": {"c": []}}, r"found columns b, expected c;"),
        ("a,b\n", {}, r"found no values"),
        ("a,b\n1\n2,3,4\n", {}, r"t\.csv: cannot be read as \.csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, spec: dict[str, object], message: str
) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        Facts.make(FactsSpec.model_validate({"reference": "t.csv", **spec}), tmp_path)


@pytest.mark.parametrize("pattern", ["(", "(?P<value>x)", "(?P<key>x)"])
def test_a_pattern_without_its_groups_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="found "):
        FactsSpec(reference="t.csv", patterns=[pattern])


# --- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("709,037", [(709037, "")]),
        ("1 234 567 of 1.234.567", [(1234567, ""), (1234567, "")]),
        ("1,234.56 or 1.234,56", [(1234.56, ""), (1234.56, "")]),
        ("3,14", [(3.14, "")]),
        ("709k and $1.5 billion", [(709000, ""), (1.5e9, "USD")]),
        ("-5 °C", [(-5, "°C")]),
        ("2 km, 30 cm, 5 metres", [(2000, "m"), (0.3, "m"), (5, "m")]),
        ("454 km², 454平方公里", [(454e6, "m2"), (454e6, "m2")]),
        ("三百二十一万、一亿两千万、二〇二〇", [(3_210_000, ""), (120_000_000, ""), (2020, "")]),
        ("十五公斤", [(15, "kg")]),
        ("version 3.11.2, B12, 一个", []),
    ],
)
def test_numbers(text: str, expected: list[tuple[float, str]]) -> None:
    found = [(value.numbers[0], value.dimension) for value in numbers(text)]
    assert [dimension for _, dimension in found] == [dimension for _, dimension in expected]
    assert [number for number, _ in found] == pytest.approx([number for number, _ in expected])


def test_a_dot_before_three_digits_may_mean_either() -> None:
    assert [value.numbers for value in numbers("709.000 0.123 1905.500")] == [(709.0, 709000.0), (0.123,), (1905.5,)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on 7 June 1905.", (1905, 6, 7)),
        ("June 7th, 1905", (1905, 6, 7)),
        ("1905-06-07", (1905, 6, 7)),
        ("1905年6月7日", (1905, 6, 7)),
        ("in June 1905", (1905, 6, 0)),
        ("一九零五年", (1905, 0, 0)),
        ("since 1905.", (1905, 0, 0)),
        ("$1905, 1905.5, 31 February 1905a", None),
    ],
)
def test_dates(text: str, expected: tuple[int, int, int] | None) -> None:
    assert [value.date for value in dates(text)] == ([expected] if expected else [])


def test_names() -> None:
    said = {
        "The capital is New York City.": "New York City",
        "Bergen is the capital.": "Bergen",
        "written by Christopher Marlowe": "Christopher Marlowe",
        "首都是卑尔根。": "卑尔根",
        "What is it": "",
        "It is a nice city": "",
    }
    assert {text: next((name.text for name in names(text)), "") for text in said} == said
