"""What may be told about an error to people who must not see what customers wrote: operators, log stores, Sentry."""

import re

LONGEST = 200
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\([^()]*\)=\([^()]*\)")
TOKEN = re.compile(r"\bbank_[A-Za-z0-9_-]{10,}")
CREDENTIALS = re.compile(r"://[^/\s@]+@")


def describe(error: BaseException) -> str:
    """Return an error's message without what it quotes.

    Only the first line: PostgreSQL's next ones hold the row (`DETAIL: Failing row contains (…)`). Quoted parts, tokens
    and the credentials of URLs are taken out. A text that an error repeats without quotes is not recognised.
    """
    line = next(iter(str(error).splitlines()), "")
    return redact(QUOTED.sub("'…'", line))[:LONGEST]


def redact(text: str) -> str:
    """Take tokens and the credentials of URLs out of a text."""
    return CREDENTIALS.sub("://…@", TOKEN.sub("bank_…", text))
