"""Addresses of endpoints and names of variables that hold their keys, as settings: checked, and never shown when they
may be secret."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", value):
        raise ValueError(
            "found a value that is no variable's name (not shown: it may be the key itself), expected capitals "
            "such as OPENAI_API_KEY; export the key in a variable and name that"
        )
    return value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("found an address with a password in it (not shown); name the key's variable instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("found no plain http address, expected one such as http://localhost:8000/v1; correct it")
    return value.rstrip("/")


VariableName = Annotated[str, AfterValidator(_variable)]
Address = Annotated[str, AfterValidator(_address)]
