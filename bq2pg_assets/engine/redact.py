"""Texts without the passwords that may stand in them. Pure.

Belongs here: recognising a password in words of others. Does not: bq2pg's own messages, which
never hold one to begin with.
"""

import re

SECRETS = (
    # postgresql://user:secret@host, and the same in any other address
    # (to the last @ of the word: a password that is not percent-encoded may hold one)
    (re.compile(r"(://[^\s:/@]*:)\S+@"), r"\1***@"),
    # password=secret, password='se cret', sslpassword=…, secret=…, and ?password=… of an address
    (re.compile(r"(?i)((?:password|secret)\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&]+)"), r"\1***"),
)


def redact(text: str) -> str:
    """The text with *** for every password."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text
