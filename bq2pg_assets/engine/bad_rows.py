"""Rows that the target refuses, and how they are found among the good ones. Pure.

Belongs here: which errors are about a row, bisecting, the limit, the JSON text of a row. Does not:
running COPY or INSERT, keeping bad rows (copy.py, quarantine.py).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from bq2pg_assets.engine.errors import Bq2pgError, MappingError, TargetError, VerifyError
from bq2pg_assets.engine.model import BadRow, Mode, Refusal, SyncPlan

# SQLSTATEs that depend on what a row holds: 22 data, 23 integrity, 54000 sizes (an index entry, a
# jsonb document), 54001 nesting, P0001 a trigger's RAISE. Source: PostgreSQL, Appendix A.
OF_A_ROW = ("22", "23", "54000", "54001", "P0001")
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
Piece = TypeVar("Piece")
COPY_CONTEXT = re.compile(r" \(COPY [^()]*?(?:, (column [^()]*))?\)$")


def refusal_of(error: Bq2pgError) -> Refusal | None:
    """What an error says of a row; None for one that no row is to blame for.

    PostgreSQL's DETAIL, which quotes values, is in no TargetError.
    """
    if isinstance(error, MappingError):
        return Refusal("; ".join(error.problems), None)
    if isinstance(error, TargetError) and error.sqlstate.startswith(OF_A_ROW):
        # Of COPY's context only the column says something: the line is the piece's.
        says = COPY_CONTEXT.sub(lambda m: f" ({m[1]})" if m[1] else "", error.met)
        return Refusal(says, error.sqlstate)
    return None


def isolate(
    whole: Piece,
    *,
    take: Callable[[Piece], Refusal | None],
    halves: Callable[[Piece], tuple[Piece, Piece] | None],
) -> Iterator[tuple[Piece, Refusal]]:
    """Take all of `whole` but the single rows that are refused; yields those, first to last.

    `take` takes a piece whole or not at all. `halves` is None of a single row. For b bad rows
    among n it takes some 2·b·log2(n) pieces.
    """
    pieces = [whole]
    while pieces:
        piece = pieces.pop()
        refusal = take(piece)
        if refusal is None:
            continue
        parts = halves(piece)
        if parts is None:
            yield piece, refusal
        else:
            pieces += reversed(parts)


def hold_limit(plan: SyncPlan, count: int, *, last: Refusal) -> None:
    """Raise VerifyError when more rows are bad than the table allows."""
    limit = plan.max_bad_rows
    if limit is not None and count > limit:
        raise VerifyError(
            f"table {plan.table}",
            met=f"more than {limit} rows are refused; one by: {last.error}",
            expected=f"at most {limit} bad rows",
            way_out="Correct the source or the target, or raise max_bad_rows in the table's YAML; "
            "nothing was published.",
        )


def refuse_none_left(plan: SyncPlan, *, written: int, bad: int) -> None:
    """Raise VerifyError when a replace would leave nothing because every row is bad."""
    if bad and not written and plan.publish is Mode.REPLACE:
        raise VerifyError(
            f"table {plan.table}",
            met=f"every row is refused, {bad} in all",
            expected="at least one that the target takes: its content would be replaced by nothing",
            way_out="Say bad_rows: fail to see the first error, and correct the source or the "
            "target; nothing was published.",
        )


def as_text(bad: Sequence[BadRow]) -> str:
    """Bad rows as one text in ASCII, which `from_text` reads."""
    return json.dumps([asdict(one) for one in bad], default=datetime.isoformat)


def from_text(text: str) -> tuple[BadRow, ...]:
    """What `as_text` wrote."""
    return tuple(
        BadRow(
            one["row"],
            Refusal(**one["refusal"]),
            cursor=datetime.fromisoformat(one["cursor"]) if one["cursor"] else None,
            key=one["key"],
        )
        for one in json.loads(text)
    )


def joined(texts: Iterable[tuple[str, str | None]]) -> str:
    """An object of names and JSON texts, without those that are None."""
    pairs = [
        f"{json.dumps(name, ensure_ascii=False)}: {text}"
        for name, text in texts
        if text is not None
    ]
    return "{" + ", ".join(pairs) + "}"


def in_ascii(text: str) -> str:
    """The same JSON, where other characters stand in strings alone."""
    return NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
