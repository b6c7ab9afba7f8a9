"""What each mask makes of a value, in Python: the model that BigQuery's results are compared with.

Belongs here: the masks' definition a second time, by Python's own hashlib and hmac. Does not:
assertions.
"""

import hashlib
import hmac
import re

SECRET = "pepper-of-the-tests"
ADDRESS = re.compile(r"[^@\t\n\f\r ]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def sha256(value: str | bytes, secret: str = SECRET) -> str:
    return hashlib.sha256(secret.encode() + encoded(value)).hexdigest()


def keyed(value: str | bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), encoded(value), "sha256").hexdigest()


def partial(value: str) -> str:
    if len(value) <= 4:
        return "*" * len(value)
    return "*" * (len(value) - 4) + value[-4:]


def email(value: str) -> str:
    if ADDRESS.fullmatch(value) is None:
        return "***"
    return value[0] + "***" + value[value.index("@") :]
