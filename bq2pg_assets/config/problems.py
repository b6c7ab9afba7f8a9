"""Mistakes in the configuration, in words.

Belongs here: the wording of what pydantic, the overlays and the folder complain of, and how many
sentences become one error. Does not: finding mistakes, files, lines (document.py knows them).
Pure: values in, sentences out.

A sentence names the field, what was met, what is expected and the way out where it is not plain:
`mode: 'apend' is not one of append, merge, replace; did you mean append?`
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bq2pg_assets.config.table import ColumnConfig, TableConfig, combination_problems
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.redact import redact

Loc = tuple[str | int, ...]
Misread = Callable[[Loc], tuple[str, str] | None]
GUIDE = "docs/configuration.md"
SHOWN = 60  # characters of a wrong value that a sentence repeats


def config_error(where: str, sentences: Sequence[str], *, expected: str) -> ConfigError:
    """One error that holds every sentence, each on its line."""
    unique = list(dict.fromkeys(sentences))
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    lines = "".join(f"\n  {sentence}" for sentence in unique)
    return ConfigError(
        where, met=count, expected=expected, way_out=redact(f"Correct this ({GUIDE}):{lines}")
    )


def table_problems(
    error: ValidationError, fields: dict[str, Any], *, misread: Misread
) -> Iterator[tuple[Loc, str]]:
    """Where and what each mistake of a table is.

    `fields` is what was validated; `misread` gives a value's text and what YAML took it for.
    What may not be combined is judged as well, as far as the fields it reads are right.
    """
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "combination":
            for name, sentence in detail["ctx"]["problems"]:
                yield (name,), f"{name}: {sentence}"
        else:
            yield detail["loc"], _sentence(detail, misread)
    if details and details[0]["type"] != "combination":
        wrong = {detail["loc"][0] for detail in details}
        right = {k: v for k, v in fields.items() if k in TableConfig.model_fields.keys() - wrong}
        right.setdefault("name", "unnamed")
        for name, sentence in combination_problems(TableConfig.model_construct(**right)):
            if name not in wrong and not (name == "source" and "query" in wrong):
                yield (name,), f"{name}: {sentence}"


def unknown_field(name: str, model: type[BaseModel] = TableConfig) -> str:
    """The sentence for a key that is no field of `model`."""
    return f"{name} is not a field; {did_you_mean(name, model.model_fields)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words as a question, or all of them when there are few."""
    words = sorted(known)
    if near := _nearest(word, words):
        return f"did you mean {near}?"
    return f"known are {', '.join(words)}" if len(words) <= 5 else f"{GUIDE} lists all"


def shown(value: Any) -> str:
    """A wrong value, short enough for a sentence."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def quote_it(text: str, kind: str) -> str:
    """The sentence for a text that YAML takes for something else."""
    return f"YAML reads {text} as {kind}; quote it: '{text}'"


def dotted(loc: Loc) -> str:
    """`columns.a.name` or `key[0]`: a path as people write it."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return "".join(parts).removeprefix(".")


def _nearest(word: str, words: Sequence[str]) -> str | None:
    begun = [known for known in words if len(word) > 2 and known.startswith(word)]
    return next(iter(begun or difflib.get_close_matches(word, words, n=1)), None)


def _sentence(detail: ErrorDetails, misread: Misread) -> str:
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        model = TableConfig if len(loc) == 1 else ColumnConfig
        return f"{dotted(loc[:-1])}: ".removeprefix(": ") + unknown_field(str(loc[-1]), model)
    found = misread(loc)
    if found and kind == "string_type":
        return f"{dotted(loc)}: {quote_it(*found)}"
    return f"{dotted(loc)}: {_judgement(detail, found[0] if found else shown(detail['input']))}"


def _judgement(detail: ErrorDetails, met: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        words = sorted(re.findall(r"'([^']*)'", context["expected"]))
        near = _nearest(str(detail["input"]), words)
        expected = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
        return f"{met} is not {expected}" + (f"; did you mean {near}?" if near else "")
    if kind == "tuple_type":
        example = detail["input"] if isinstance(detail["input"], str) else "one, two"
        return f"{met} is not a list; write [{example}]"
    plain = {
        "string_type": "is not text",
        "string_too_short": "is empty; write a value or leave the line out",
        "string_pattern_mismatch": "may hold letters, digits and _ and begins with no digit",
        "int_type": "is not a whole number",
        "bool_type": "is not true or false",
        "dict_type": "is not a mapping of name: value",
        "model_type": f"is not a mapping of {', '.join(ColumnConfig.model_fields)}",
        "greater_than_equal": f"is less than {context.get('ge')}",
        "less_than_equal": f"is more than {context.get('le')}",
    }
    return f"{met} {plain[kind]}" if kind in plain else f"{met}: {detail['msg']}"
