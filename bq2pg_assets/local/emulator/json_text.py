# mypy: ignore-errors
"""TO_JSON_STRING as the service spells it, where local_bigquery leaves it to DuckDB's to_json.

Belongs here: the text of each type inside an object or array, and of an INTERVAL. Does not:
exports. Source: google/zetasql, public/functions/json_format.cc: wide integers and every decimal
with a fraction are strings, floats have 15 or 17 digits, NaN and the infinities are strings, bytes
are base64, a second's fraction has 0, 3 or 6 digits. Types not named here stay DuckDB's.
"""

import itertools

import sqlglot
from local_bigquery.sql import rules
from local_bigquery.sql.rules import datetime, typing
from sqlglot import exp

Type = exp.DataType.Type
WIDE = 2**53
SHORT = r"regexp_replace({}, '(\.000)?000$', '')"
DATETIME = SHORT.format("strftime({v}, '%Y-%m-%dT%H:%M:%S.%f')")
DECIMAL = r"regexp_replace(regexp_replace(CAST({v} AS VARCHAR), '(\.\d*?)0+$', '\1'), '\.$', '')"
NUMBER = f"CASE WHEN {{v}} BETWEEN -{WIDE} AND {WIDE} AND {{v}} = trunc({{v}})"
QUOTED = "'\"' || {} || '\"'"
LEAVES = {
    "INT64": f"CASE WHEN {{v}} BETWEEN -{WIDE} AND {WIDE} THEN CAST({{v}} AS VARCHAR)"
    f" ELSE {QUOTED.format('CAST({v} AS VARCHAR)')} END",
    "FLOAT64": "CASE WHEN isnan({v}) THEN '\"NaN\"' WHEN isinf({v}) THEN "
    "CASE WHEN {v} > 0 THEN '\"Infinity\"' ELSE '\"-Infinity\"' END "
    "WHEN TRY_CAST(printf('%.15g', {v}) AS DOUBLE) = {v} THEN printf('%.15g', {v}) "
    "ELSE printf('%.17g', {v}) END",
    "NUMERIC": f"{NUMBER} THEN {DECIMAL} ELSE {QUOTED.format(DECIMAL)} END",
    "BYTES": QUOTED.format("base64({v})"),
    "DATE": QUOTED.format("strftime({v}, '%Y-%m-%d')"),
    "TIME": QUOTED.format(
        SHORT.format(
            "rpad(CAST({v} AS VARCHAR) || CASE WHEN "
            "contains(CAST({v} AS VARCHAR), '.') THEN '' ELSE '.' END, 15, '0')"
        )
    ),
    "DATETIME": QUOTED.format(DATETIME),
    "TIMESTAMP": QUOTED.format(DATETIME.replace("{v}", "timezone('UTC', {v})") + " || 'Z'"),
}
NAMES = {
    **dict.fromkeys((Type.INT, Type.BIGINT, Type.SMALLINT, Type.TINYINT), "INT64"),
    **dict.fromkeys(typing.FLOATS, "FLOAT64"),
    **dict.fromkeys((Type.DECIMAL, Type.BIGDECIMAL), "NUMERIC"),
    **dict.fromkeys(typing.BYTES, "BYTES"),
    Type.DATE: "DATE",
    Type.TIME: "TIME",
    **dict.fromkeys((Type.DATETIME, Type.TIMESTAMP), "DATETIME"),
    Type.TIMESTAMPTZ: "TIMESTAMP",
}


def text(value: str, datatype: exp.DataType, names: itertools.count) -> str:
    """DuckDB SQL for the JSON text of `value`, a name; NULL is the text null."""
    if datatype.this == Type.STRUCT:
        parts = []
        for number, field in enumerate(datatype.expressions):
            name = field.name.replace("'", "''")
            key = ("," if number else "{") + '"' + name + '":'
            inner = bound(f"struct_extract({value}, '{name}')", field.args["kind"], names)
            parts.append(f"'{key}' || {inner}")
        filled = " || ".join([*parts, "'}'"])
    elif datatype.this == Type.ARRAY and datatype.expressions:
        element = f"j{next(names)}"
        inner = text(element, datatype.expressions[0], names)
        texts = f"array_to_string(list_transform({value}, lambda {element}: {inner}), ',')"
        filled = f"'[' || {texts} || ']'"
    elif datatype.this in NAMES:
        filled = LEAVES[NAMES[datatype.this]].replace("{v}", value)
    else:
        filled = f"CAST(to_json({value}) AS VARCHAR)"
    null = "[]" if datatype.this == Type.ARRAY and value != "j0" else "null"
    return f"CASE WHEN {value} IS NULL THEN '{null}' ELSE {filled} END"


def bound(expression: str, datatype: exp.DataType, names: itertools.count) -> str:
    """The text of an expression, which is written once and evaluated once."""
    name = f"j{next(names)}"
    return f"list_transform([{expression}], lambda {name}: {text(name, datatype, names)})[1]"


def to_json_string(node: exp.Expression, context) -> exp.Expression:
    """The rule: TO_JSON_STRING(x) by the type of x, where it is known."""
    ours = isinstance(node, exp.Anonymous) and node.name.lower() == "bq.main.to_json_string"
    if not ours or len(node.expressions) != 1 or not node.expressions[0].type:
        return typing.json_bytes(node, context)
    argument = node.expressions[0]
    datatype = argument.type
    if datatype.this not in (*NAMES, Type.STRUCT, Type.ARRAY):
        return node
    sql = bound("__argument", datatype, itertools.count())
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for column in list(tree.find_all(exp.Column)):
        if column.name == "__argument":
            column.replace(argument.copy())
    return tree


def interval_string(node: exp.Expression, context) -> exp.Expression:
    """The rule: CAST(i AS STRING) of a column that is an INTERVAL, as of a literal one."""
    typed = isinstance(node, exp.Cast) and node.this.type
    if typed and node.this.type.this == Type.INTERVAL and node.to.is_type(*typing.TEXT):
        return datetime.macro("_interval_string", node.this)
    return node


def install() -> None:
    """Add the rules; one takes the place of local_bigquery's own for BYTES."""
    rules.NODE_RULES[rules.NODE_RULES.index(typing.json_bytes)] = to_json_string
    rules.NODE_RULES.append(interval_string)
