"""Privacy: what is secret or personal is found and never repeated; examples and offices are left alone."""

from __future__ import annotations

import polars as pl
import pytest

from posttrain.data.text.privacy import masked, personal_data_problems, secret_problems

# Random, joined here so that no scanner takes this file for a leak.
RANDOM = "q7Rt2LxV9bNc4ZpW8dKf3HsY6mJg5TuA1eQo"
SECRETS = {
    "GitHub token": "ghp_" + RANDOM,
    "AWS key": "AKIA" + "Q7RT2LXV9BNC4ZPW",
    "OpenAI key": "sk-proj-" + RANDOM,
    "Anthropic key": "sk-ant-api03-" + RANDOM,
    "Google key": "AIza" + RANDOM[:35],
    "Hugging Face token": "hf_" + "qRtLxVbNcZpWdKfHsYmJgTuAeQoiDlMnBw",
    "Stripe key": "sk_live_" + RANDOM[:24],
    "Slack token": "xoxb-" + "2750194836-" + RANDOM[:24],
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + RANDOM * 3,
    "password in an address": "postgres://ann:" + "tR7x2LqV@db.internal:5432/app",
    "Telegram token": "4839201756:" + RANDOM[:35],
    "Azure storage key": "AccountKey=" + (RANDOM * 3)[:86] + "==",
    "Discord token": "M" + RANDOM[:24] + "." + RANDOM[5:11] + "." + RANDOM[6:33],
    "GitLab token": "glpat-" + RANDOM[:20],
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiI4MjM0NTY3ODkxIiwibmFtZSI6IkEifQ." + RANDOM[:32],
    "Mailchimp key": "9f3b7c2e8d1a4506b7c8d9e0f1a2b3c4" + "-us14",
    "PyPI token": "pypi-" + "AgEIcHlwaS5vcmc" + (RANDOM * 3)[:80],
    "SendGrid key": "SG." + RANDOM[:22] + "." + (RANDOM * 2)[:43],
    "Square secret": "sq0csp-" + (RANDOM * 2)[:43],
    "Twilio key": "SK" + "9f3b7c2e8d1a4506b7c8d9e0f1a2b3c4",
}
PERSONAL = {
    "e-mail address": ("carla.fernandez@uni-leipzig.de", "lin_wei88@qq.com"),
    "telephone number": ("(215) 204-3120", "+44 20 7946 1234", "13958236170", "139-5823-6170", "010-62785001"),
    # weights 7 9 10 5 8 4 2 1 6 3 7 9 10 5 8 4 2 give 174 = 15 * 11 + 9, so the check digit is 12 - 9 = 3
    "identity number": ("110101199003071233",),
    "social security number": ("859-56-0028",),
    "card number": ("4539 5787 6362 1486", "6222021234567894"),
    "bank account number": ("FR14 2004 1010 0505 0001 3M02 606",),
}
HARMLESS = [
    "Write to info@flix.com, customer-service@amazon.com or user@example.com; john.doe@gmail.com is nobody.",
    "Call 1-800-799-7233, (555) 123-4567, 123-456-7890 or 212-555-0143.",
    "12000 - 3920 - 1000 = <<12000-3920-1000=7080>>7080, and 16466158060 * 2 = 32932316120",
    "pi is 3.14159265358979, the ISBN 978-0-7475-3269-9, the date 2023-12-01, the years 1936-1939",
    "Test cards: 4111 1111 1111 1111, 4242424242424242; an IBAN: DE89 3704 0044 0532 0130 00",
    "252 642 7293 4833 people, order 4539578763621487",  # the check digit is wrong
    "服务器地址 192.168.1.1，共 1234567890 条记录",
    "",
]
NO_SECRETS = [
    "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "export OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "api_key = 'sk-your-api-key-goes-here-1234567890abcdef'",
    'password: "aB3#fG7!kL9@", token = YOUR_BOT_TOKEN',
    "A PEM file begins with -----BEGIN RSA PRIVATE KEY----- and ends likewise.",
    "postgres://user:password@localhost/db",
    "https://www.example.org/a-very-long-path/that-has-no-blank/and-goes-on-and-on/for-many-characters",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "",
]


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_a_secret_is_named_and_not_repeated(kind: str, secret: str) -> None:
    said = str(secret_problems(pl.Series([f"Use this: {secret} please"]))[0])
    assert said.startswith(f"{kind} (")
    assert " at " in said
    assert not any(secret[at : at + 8] in said for at in range(len(secret) - 8))


@pytest.mark.parametrize(("kind", "datum"), [(kind, one) for kind, data in PERSONAL.items() for one in data])
def test_a_personal_datum_is_named_and_not_repeated(kind: str, datum: str) -> None:
    texts = pl.Series([f"I am at {datum} all day", f"联系方式：{datum}。"])
    said = personal_data_problems(texts).to_list()
    assert said == [f"{kind} ({len(datum)} characters) at 8", f"{kind} ({len(datum)} characters) at 5"]


def test_examples_offices_and_sums_are_no_ones() -> None:
    assert personal_data_problems(pl.Series(HARMLESS)).to_list() == [""] * len(HARMLESS)
    assert secret_problems(pl.Series(NO_SECRETS)).to_list() == [""] * len(NO_SECRETS)


def test_several_are_counted_not_listed() -> None:
    text = "a.miller@web.de, b.miller@web.de, c.miller@web.de"
    said = "e-mail address (15 characters) at 0, e-mail address (15 characters) at 17, more"
    assert personal_data_problems(pl.Series([text])).to_list() == [said]


def test_a_long_text_without_blanks_takes_no_longer_than_its_length() -> None:
    # quadratic, this would take hours
    texts = pl.Series(["x" * 400_000 + "@", "aé" * 100_000 + "://a:b@", "1" * 400_000 + " a@b.", "eyJ" + "a" * 400_000])
    assert personal_data_problems(texts).to_list() == [""] * 4
    assert secret_problems(texts).to_list() == [""] * 4


def test_masked_texts_may_be_shown() -> None:
    texts = pl.Series([f"mail lin_wei88@qq.com the key {SECRETS['GitHub token']}.", "nothing here"])
    before = texts.to_list()
    assert masked(texts).to_list() == ["mail [e-mail address] the key [GitHub token].", "nothing here"]
    assert texts.to_list() == before
