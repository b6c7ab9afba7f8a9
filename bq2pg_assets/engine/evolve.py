"""What has to change in a target so that it takes what the source has now. Pure.

Belongs here: comparing mapped columns with those of the target, and which PostgreSQL type holds
the values of which. Does not: statements (postgres_sql.py), running them (publish.py, swap.py).

A type *holds* another when every value of the other is one of its own. A column that does not hold
the source's type is widened to it where the source's type holds the column's. What is left passes
only where PostgreSQL's assignment *guards*: it raises an error for a value that does not fit. A
cast that would round a value or change its meaning is refused. Source: PostgreSQL, chapters 8
(Data Types) and 10.4 (Value Storage), pg_cast.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.errors import MappingError
from bq2pg_assets.engine.model import Column, Mode, SchemaChange, TargetColumn, TargetFacts

SPELLED = re.compile(
    r"(?P<head>[^(\[]+?)(?:\((?P<args>-?\d+(?:,-?\d+)?)\))?"
    r"(?P<tail> with(?:out)? time zone)?(?P<array>\[\])?"
)
DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
NUMBERS = {*DIGITS, "numeric", "real", "double precision"}
MOMENTS = {"date", "timestamp without time zone", "timestamp with time zone"}
TO_THE_MICROSECOND = {
    *("timestamp without time zone", "timestamp with time zone", "interval"),
    *("time without time zone", "time with time zone"),
}
TEXTS = {"text", "character varying"}
ANY_TEXTS = {*TEXTS, "character"}
WAYS_OUT = {
    "evolve": "Run the statements; or keep the old values beside the new ones by renaming the "
    "column on its way (columns: {its name: {name: new_name}}); or drop the target and run again "
    "to have it made anew.",
    "freeze": "Run the statements, or say schema_changes: evolve in the table's YAML.",
    "fail": "Run the statements, or say schema_changes: evolve (or freeze) in the table's YAML.",
}


@dataclass(frozen=True, slots=True)
class PgType:
    """A type taken apart: numeric(10,2)[] is `base` numeric, `args` (10, 2), an `array`."""

    base: str
    args: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def of(cls, spelled: str) -> "PgType":
        """From what `format_type` writes. One it quotes is a base as a whole."""
        found = SPELLED.fullmatch(spelled)
        if found is None:
            return cls(spelled)
        args = tuple(map(int, found["args"].split(","))) if found["args"] else ()
        return cls(found["head"] + (found["tail"] or ""), args, bool(found["array"]))


def schema_changes(
    table: TableConfig,
    columns: Sequence[Column],
    target: TargetFacts,
    *,
    publish: Mode,
    key: Sequence[str] = (),
) -> tuple[SchemaChange, ...]:
    """What changes, and what differs and stays. Raises MappingError with every problem.

    `key` holds PostgreSQL names. What `schema_changes` says of the table decides:

    evolve: columns are added, widened and freed of NOT NULL, never narrowed or dropped. A column
    is added as NOT NULL only where the target has no rows. NOT NULL stays on keys and on what the
    table's `not_null` names.
    freeze: nothing changes; new columns are not loaded.
    fail: any difference is refused. A target's column that fills itself (a default, generated,
    identity) is the user's own and none, nor is one that may be NULL where the source is REQUIRED.
    """
    if target.kind is None:
        return ()
    compared = _Comparison(table, target, publish=publish, key=frozenset(key))
    found = [*compared.columns(columns), *compared.others(columns)]
    if not loaded(columns, found):
        compared.problems.append("the target has none of the source's columns")
    if compared.problems:
        raise MappingError(
            f"table {table.name}, target {table.target_name}",
            compared.problems,
            way_out=WAYS_OUT[table.schema_changes],
        )
    return tuple(found)


def loaded(columns: Sequence[Column], changes: Iterable[SchemaChange]) -> tuple[Column, ...]:
    """The columns that reach the target."""
    left = {c.column for c in changes if c.kind == "not_loaded"}
    return tuple(c for c in columns if c.name not in left)


def holds(wide: PgType, narrow: PgType) -> bool:
    """Whether every value of `narrow` is a value of `wide`."""
    if wide == narrow:
        return True
    if wide.array != narrow.array:
        return False
    if wide.base in DIGITS:
        return narrow.base in DIGITS and DIGITS[wide.base] >= DIGITS[narrow.base]
    if wide.base == "numeric" and _exact(narrow):
        return all(w >= n for w, n in zip(_digits(wide), _digits(narrow), strict=True))
    if wide.base in TEXTS and narrow.base in TEXTS:
        return not wide.args or (bool(narrow.args) and wide.args >= narrow.args)
    if wide.base == narrow.base and wide.base in TO_THE_MICROSECOND:
        return (wide.args or (6,)) >= (narrow.args or (6,))
    return (wide.base, narrow.base) == ("double precision", "real")


def widens(have: PgType, want: PgType) -> bool:
    """Whether a column of type `have` becomes one of type `want` without losing anything.

    The blanks that character(n) fills up with were never part of the value.
    """
    unpadded = replace(have, base="character varying") if have.base == "character" else have
    return holds(want, unpadded)


def guards(have: PgType, want: PgType) -> bool:
    """Whether PostgreSQL stores a value of type `want` in `have` as it is, or raises an error.

    One exception is the SQL standard's: blanks beyond the n of character varying(n) are cut.
    """
    if have.array != want.array:
        return False
    if have.base in DIGITS:
        return want.base in DIGITS
    if have.base == "numeric" and _exact(want):
        return _digits(have)[1] >= _digits(want)[1]
    if have.base == "character varying":
        return want.base in TEXTS
    return (have.base, want.base) == ("json", "jsonb")


class _Comparison:
    """Goes through the columns of one table and gathers what is wrong on the way."""

    def __init__(
        self, table: TableConfig, target: TargetFacts, *, publish: Mode, key: frozenset[str]
    ) -> None:
        self._table, self._target, self._key = table, target, key
        self._policy, self._merges = table.schema_changes, publish.by_key
        self.problems: list[str] = []

    def columns(self, columns: Sequence[Column]) -> Iterable[SchemaChange]:
        """What the source's columns ask for."""
        there = {c.name: c for c in self._target.columns}
        for column in columns:
            have = there.get(column.name)
            if have is None:
                yield from self._missing(column)
            else:
                yield from self._type(column, have)
                yield from self._null(column, have)

    def others(self, columns: Sequence[Column]) -> Iterable[SchemaChange]:
        """What becomes of the target's columns that the source lacks."""
        ours = {c.name for c in columns}
        for have in self._target.columns:
            if have.name in ours or have.has_default:
                continue
            if self._policy == "fail":
                says = f"column {have.name} of the target is missing in the source"
                self._refuse(says, postgres_sql.drop_column(have.name))
            elif have.not_null and (self._policy == "freeze" or have.not_null_stays):
                says = f"column {have.name} of the target is NOT NULL without a default, and the "
                stays, name = have.not_null_stays, have.name
                fix = postgres_sql.drop_column(name) if stays else postgres_sql.drop_not_null(name)
                self._refuse(f"{says}source lacks it", fix)
            else:
                yield SchemaChange("kept", have.name, have.type, have.type)
                if have.not_null:
                    yield SchemaChange("nullable", have.name, "NOT NULL", "NULL")

    def _missing(self, column: Column) -> Iterable[SchemaChange]:
        says = f"column {column.name} ({column.pg_type}) is missing in the target"
        needed = column.name in self._key or column.source == self._table.cursor_column
        if self._policy == "evolve" and self._merges and column.name in self._key:
            self.problems.append(
                f"{says}, whose rows cannot be told apart without this key: "
                f"{postgres_sql.drop(self._table.target_name).as_string()}"
            )
        elif self._policy == "evolve":
            may_be = column.not_null and not self._target.has_rows
            kind = column.pg_type + (" NOT NULL" if may_be else "")
            yield SchemaChange("added", column.name, None, kind)
        elif self._policy == "fail" or needed:
            self._refuse(says, postgres_sql.add_column(column.name, column.pg_type))
        else:
            yield SchemaChange("not_loaded", column.name)

    def _type(self, column: Column, have: TargetColumn) -> Iterable[SchemaChange]:
        there = PgType.of(have.type)
        spelled = _wanted(column, there)
        want = PgType.of(spelled)
        evolves = self._policy == "evolve"
        if there == want or (self._policy != "fail" and holds(there, want)):
            return
        if evolves and widens(there, want):
            yield SchemaChange("widened", column.name, have.type, spelled)
        elif self._policy == "fail" or not guards(there, want):
            says = f"column {column.name} is {have.type} in the target, {spelled} from the source"
            if self._policy != "fail" and _exact(there) and _exact(want) and not holds(want, there):
                spelled = "numeric[]" if want.array else "numeric"  # holds both
            self._refuse(says, *_converted(column.name, there, spelled))

    def _null(self, column: Column, have: TargetColumn) -> Iterable[SchemaChange]:
        asked_for = column.name in self._key or column.source in self._table.not_null
        if not have.not_null or column.not_null or have.not_null_stays or asked_for:
            return
        if self._policy == "evolve":
            yield SchemaChange("nullable", column.name, "NOT NULL", "NULL")
        elif self._policy == "fail":
            says = f"column {column.name} is NOT NULL in the target, NULLABLE in the source"
            self._refuse(says, postgres_sql.drop_not_null(column.name))

    def _refuse(self, says: str, *fix: sql.Composed) -> None:
        statement = postgres_sql.alter_table(self._table.target_name, fix).as_string()
        self.problems.append(f"{says}: {statement}")


def _wanted(column: Column, there: PgType) -> str:
    """The source's type; that of a STRING(L) has its L where the target's has a length too."""
    length = column.field.max_length if column.field else None
    if length is None or there.base != "character varying" or not there.args:
        return column.pg_type
    if column.field is None or column.field.type != "STRING":
        return column.pg_type
    return column.pg_type.replace("text", f"character varying({length})")


def _converted(name: str, there: PgType, spelled: str) -> tuple[sql.Composed, ...]:
    """What gives a column another type: a cast where there is one, else a new, empty column."""
    want = PgType.of(spelled)
    both = {there.base, want.base}
    related = any(both <= kinds for kinds in (NUMBERS, MOMENTS, {"json", "jsonb"}))
    if there.array == want.array and (related or both & ANY_TEXTS or there.base == want.base):
        return (postgres_sql.set_type(name, spelled, using=True),)
    return postgres_sql.drop_column(name), postgres_sql.add_column(name, spelled)


def _exact(kind: PgType) -> bool:
    return kind.base in DIGITS or kind.base == "numeric"


def _digits(kind: PgType) -> tuple[float, float]:
    """How many digits an exact number has before and after the point, at most."""
    if kind.base in DIGITS:
        return DIGITS[kind.base], 0
    return (kind.args[0] - kind.args[1], kind.args[1]) if kind.args else (math.inf, math.inf)
