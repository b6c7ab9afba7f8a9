# mypy: ignore-errors
"""Casts between STRING and other types as the service makes them, where DuckDB's differ.

Belongs here: decimals as text, text as bytes. Does not belong here: texts inside JSON
(`json_text`). Source: GoogleSQL conversion rules, CAST AS STRING and CAST AS BYTES.
"""

from local_bigquery.sql import rules
from local_bigquery.sql.rules import typing
from sqlglot import exp

ZEROS = ((r"(\.\d*?)0+$", r"\1"), (r"\.$", ""))


def decimal_to_string(node: exp.Expression, context) -> exp.Expression:
    """DuckDB writes 1.500000000 for NUMERIC '1.5'."""
    if not (isinstance(node, exp.Cast) and node.to.this in typing.TEXT):
        return node
    if typing.kind(node.this) not in typing.DECIMALS:
        return node
    for pattern, replacement in ZEROS:
        texts = [exp.Literal.string(pattern), exp.Literal.string(replacement)]
        node = exp.Anonymous(this="regexp_replace", expressions=[node, *texts])
    return node


def string_to_bytes(node: exp.Expression, context) -> exp.Expression:
    r"""DuckDB reads \x41 in the text as an escape and refuses what is not ASCII."""
    if not (isinstance(node, exp.Cast) and node.to.this in typing.BYTES):
        return node
    # FROM_BASE64 is how a parameter's bytes arrive.
    if typing.kind(node.this) in typing.BYTES or isinstance(node.this, exp.Null | exp.FromBase64):
        return node
    text = exp.cast(node.this, exp.DataType.build("VARCHAR"), copy=False)
    return exp.Anonymous(this="encode", expressions=[text])


def install() -> None:
    """Add the rules to those of local_bigquery."""
    rules.NODE_RULES += [decimal_to_string, string_to_bytes]
