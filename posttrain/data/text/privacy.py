"""Secrets and personal data in texts: found by their form and check digits, named without repeating them.

A regular expression in Rust finds what has the form; then the libraries that know it decide: detect-secrets for keys
and tokens, phonenumbers for telephone numbers, python-stdnum for check digits. Examples from manuals are no one's
secrets, and the addresses of offices and help lines are not personal. Knows nothing of rows or rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import polars as pl

from posttrain.data.text.words import explained


@dataclass(frozen=True)
class Found:
    """A secret or a personal datum: what it is, and where it stands in its text."""

    kind: str
    start: int
    stop: int


def secret_problems(texts: pl.Series) -> pl.Series:
    """The secrets in each text: keys and tokens of known services, private keys, passwords in addresses; else "".

    Says what stands where, never what it reads: "GitHub token (40 characters) at 17".
    """
    return explained(texts, texts.str.contains(_SECRET), lambda text: _said(secrets(text)))


def personal_data_problems(texts: pl.Series) -> pl.Series:
    """The personal data in each text: e-mail addresses, telephone, card, account and identity numbers; else "".

    Says what stands where, never what it reads. Network addresses, names and postal addresses are not looked for.
    """
    return explained(texts, texts.str.contains(_PERSONAL), lambda text: _said(personal_data(text)))


def masked(texts: pl.Series) -> pl.Series:
    """The texts with what the two functions above find replaced by its kind in brackets: for logs and examples."""
    suspects = texts.str.contains(_SECRET) | texts.str.contains(_PERSONAL)
    at = suspects.arg_true()
    return texts.clone().scatter(at, [_masked(text) for text in texts.gather(at)]) if len(at) else texts


def _masked(text: str) -> str:
    for found in sorted({*secrets(text), *personal_data(text)}, key=lambda found: found.start, reverse=True):
        text = f"{text[: found.start]}[{found.kind}]{text[found.stop :]}"
    return text


def _said(found: Iterator[Found]) -> str:
    first = list(islice(found, 3))
    said = [f"{one.kind} ({one.stop - one.start} characters) at {one.start}" for one in first[:2]]
    return ", ".join(said + ["more"] * (len(first) > 2))


_DETECTORS = {
    "AWSKeyDetector": "AWS key",
    "AzureStorageKeyDetector": "Azure storage key",
    "BasicAuthDetector": "password in an address",
    "DiscordBotTokenDetector": "Discord token",
    "GitLabTokenDetector": "GitLab token",
    "JwtTokenDetector": "JSON web token",
    "MailchimpDetector": "Mailchimp key",
    "OpenAIDetector": "OpenAI key",
    "PypiTokenDetector": "PyPI token",
    "SendGridDetector": "SendGrid key",
    "SlackDetector": "Slack token",
    "SquareOAuthDetector": "Square secret",
    "StripeDetector": "Stripe key",
    "TelegramBotTokenDetector": "Telegram token",
    "TwilioKeyDetector": "Twilio key",
}
"""detect-secrets' plugins for secrets of a fixed form, and our names of them. Its plugins for passwords in assignments
and for high entropy are left out: they find examples, generated passwords and hashes."""

_OWN = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----\s[A-Za-z0-9+/=\s:,-]{64,}",
    "Anthropic key": r"sk-ant-[\w-]{24,}",
    "OpenAI key": r"sk-(?:proj-|svcacct-|None-)?[A-Za-z0-9_-]{32,}",
    "Google key": r"AIza[\w-]{35}",
    "Hugging Face token": r"hf_[A-Za-z]{34}",
    "GitHub token": r"gh[pousr]_\w{36}|github_pat_\w{60,}",
    "npm token": r"npm_[A-Za-z0-9]{36}",
}
"""Forms that are newer than detect-secrets, or of which it gives a part only."""

# Every secret has one of these: a beginning of its own, a password in an address, or a long run without a blank.
_SECRET = (
    r"A3T|ABIA|ACCA|AKIA|ASIA|AccountKey=|gh[pousr]_|github_pat_|glpat-|eyJ|T3BlbkFJ|pypi-|SG\.|(?i-u:xox)[a-z]-"
    r"|hooks\.slack\.com|sq0csp-|k_live_|PRIVATE KEY|sk-|AIza|hf_|npm_|://[^\s/:@]+:[^\s/@]+@|[A-Za-z0-9_/+.=:-]{32}"
)
_PLACEHOLDER = re.compile(
    r"example|sample|dummy|placeholder|xxxx|\*\*\*|\.\.\.|<|\{|\$|your|my[-_]?pass|test|1234567890|abcdef|changeme",
    re.I,
)
_COMMON_PASSWORDS = {"password", "passwd", "pass", "pwd", "secret", "token", "pw", "p", "postgres", "root", "guest"}


def secrets(text: str) -> Iterator[Found]:
    """The secrets in a text, by kind; none is found twice."""
    seen: set[str] = set()
    for kind, detect in _detectors():
        for secret in detect(text):
            if secret and secret not in seen and not _is_placeholder(secret):
                seen.add(secret)
                start = text.find(secret)
                yield Found(kind, start, start + len(secret))


@lru_cache(maxsize=1)
def _detectors() -> tuple[tuple[str, Callable[[str], list[str]]], ...]:
    """Kind -> a function from a text to the secrets of that kind; none of them asks a service."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    known: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    plugins = {plugin.__name__: plugin for plugin in known.values()}
    kept = [(kind, plugins[name]()) for name, kind in _DETECTORS.items()]
    own = [(kind, re.compile(pattern)) for kind, pattern in _OWN.items()]
    return (
        *((kind, lambda text, plugin=plugin: list(plugin.analyze_string(text))) for kind, plugin in kept),
        *((kind, pattern.findall) for kind, pattern in own),
    )


def _is_placeholder(secret: str) -> bool:
    """Whether it is an example: says so, is a common word, or has too few different characters to be random."""
    varied = len(set(secret)) >= min(10, max(4, len(secret) // 2))
    return not varied or secret.casefold() in _COMMON_PASSWORDS or _PLACEHOLDER.search(secret) is not None


_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_NO_ONES_DOMAIN = re.compile(
    r"@(?:[\w.-]*\.)?(?:(?:example|test|sample|domain|your\w*|my\w*|company|website|email|mail|abc|xyz|acme|foo|bar)\.\w+"
    r"|[\w-]+\.(?:example|test|invalid|local|localhost))$",
    re.I,
)
_NO_ONES_NAME = re.compile(
    r"^(?:info|support|admin\w*|contact|sales|help\w*|(?:customer)?[-_.]?(?:service|care|support)s?|no[-_.]?reply|press|pr"
    r"|letters?|office|hello|jobs?|careers?|hr|web\w*|post\w*|news\w*|edit\w*|team|enquir\w*|inquir\w*|admission\w*"
    r"|feedback|billing|orders?|marketing|media|reservations?|booking\w*|user\w*|name|you[\w.-]*|j(?:ohn|ane)?[-_.]?(?:doe"
    r"|smith)\d*|someone|somebody|recipient|sender|boss|alice|bob|test\w*|abc|foo|bar|person\d*|e?mail|[\w.])@",
    re.I,
)
# Not inside a longer number, a decimal fraction or a sum.
_ALONE, _DONE = r"(?<![\w.+*/=<>%#-])", r"(?![\w%*/=<>-]|\.\d| \d{3})"
_NUMBERS = {
    "telephone number": r"\+\d{1,3}[-. ()]{0,2}\d(?:[-. ()]{0,2}\d){6,12}",
    "telephone number of the US": r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}",
    "telephone number of China": r"1[3-9]\d[- ]?\d{4}[- ]?\d{4}|0\d{2,3}-\d{7,8}",
    "identity number of China": r"[1-9]\d{16}[\dXx]",
    "social security number": r"\d{3}-\d{2}-\d{4}",
    "card number": r"(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|62\d\d)(?:[ -]?\d{4}){3}(?:\d{3})?"
    r"|3[47]\d\d[ -]?\d{6}[ -]?\d{5}",
    "bank account number": r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?",
}
_FICTION = re.compile(r"555\d{4}$|1234567|(\d)\1{5}")
_MANUALS = {
    *("4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "371449635398431"),
    *("4012888888881881", "6011111111111117", "5105105105105100", "GB29NWBK60161331926819", "DE89370400440532013000"),
    *("GB82WEST12345698765432", "11010519491231002X"),
}
KINDS = frozenset({"e-mail address", *(kind.partition(" of ")[0] for kind in _NUMBERS), *_DETECTORS.values(), *_OWN})
"""All that can be found, as `masked` names it."""

# Every personal datum has an @, seven digits close together, or the head of an account number.
_PERSONAL = r"@[A-Za-z0-9-]+\.|[0-9](?:[ .()-]{0,2}[0-9]){6}|[A-Z][A-Z][0-9][0-9] ?[A-Z0-9]{4} ?[A-Z0-9]{4}"


def personal_data(text: str) -> Iterator[Found]:
    """The personal data in a text, by kind."""
    for found in _EMAIL.finditer(text) if "@" in text else ():
        if not _NO_ONES_DOMAIN.search(found[0]) and not _NO_ONES_NAME.search(found[0]):
            yield Found("e-mail address", *found.span())
    for found in _numbers().finditer(text):
        kind = list(_NUMBERS)[(found.lastindex or 1) - 1]
        bare = re.sub(r"[ -]", "", found[0]).upper()
        if bare not in _MANUALS and _standards()[kind](bare):
            yield Found(kind.partition(" of ")[0], *found.span())


@lru_cache(maxsize=1)
def _numbers() -> re.Pattern[str]:
    """One group a kind, in the order of `_NUMBERS`."""
    return re.compile(f"{_ALONE}(?:{'|'.join(f'({pattern})' for pattern in _NUMBERS.values())}){_DONE}")


@lru_cache(maxsize=1)
def _standards() -> dict[str, Callable[[str], bool]]:
    """Kind of number -> whether its check digits, and the dates and places in it, are right."""
    from stdnum import iban, luhn
    from stdnum.cn import ric
    from stdnum.us import ssn

    phones = (_is_someones, partial(_is_someones, region="US"), partial(_is_someones, region="CN"))
    valid = (*phones, ric.is_valid, ssn.is_valid, luhn.is_valid, iban.is_valid)
    return dict(zip(_NUMBERS, valid, strict=True))


def _is_someones(number: str, region: str | None = None) -> bool:
    """Whether it is a telephone number that is in use and not free of charge: help lines are no one's own."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    shared = (phonenumbers.PhoneNumberType.TOLL_FREE, phonenumbers.PhoneNumberType.SHARED_COST)
    valid = phonenumbers.is_valid_number(parsed) and phonenumbers.number_type(parsed) not in shared
    return valid and not _FICTION.search(str(parsed.national_number))
