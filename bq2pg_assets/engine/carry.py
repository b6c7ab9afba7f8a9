"""What a table's successor takes over, in which order, and whether all of it arrived. Pure.

Belongs here: the statements of a swap, made of what the catalogue says, and the comparison of two
readings. Does not: reading (catalog.py, catalog_sql.py), locks and transactions (swap.py).

A swap lets what depends on the table let go of it, drops it without CASCADE, so that PostgreSQL
refuses whatever was overlooked, and puts the staging table in its place, under its name. What is
made only then is made by PostgreSQL's own text. Views are never dropped: one that reads the table
keeps its OID, and with it its grants and its own readers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from psycopg import sql

from bq2pg_assets.engine import postgres_sql
from bq2pg_assets.engine.catalog_sql import REVOKE
from bq2pg_assets.engine.model import SchemaChange, SyncPlan, TargetName

# On the staging table while it is empty: what shapes rows and refuses some.
SHAPING = ("identity", "option", "column option", "check", "shaping trigger")
INDEXING = ("index", "index option")
LINKING = ("foreign key",)
# Once the staging table bears the target's name. Privileges and policies come before what is
# filled by the rights of others, row security before anybody reads.
FINISHING = (
    *("owner", "rename", "owned sequence", "self reference", "trigger", "rule", "statistics"),
    *("replica identity", "cluster", "grant", "policy", "row security"),
)
LAST = ("referenced by", "publication", "comment")
READER = (
    *("view", "materialized view", "option", "column option", "index", "index option"),
    *("statistics", "cluster", "owner", "grant", "comment", "content"),
)
# PostgreSQL writes these anew, with other casts, when the type of a column they name changes.
WRITTEN_ANEW = {
    *("index", "check", "trigger", "shaping trigger", "policy", "statistics", "publication"),
    *("view", "materialized view", "foreign key", "referenced by", "self reference", "rule"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of relation `of`. `make` is the statement that makes it, `unmake` lets go."""

    of: str
    kind: str
    name: str
    make: str
    unmake: str | None = None

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"{self.kind}{name} of {self.of}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that hangs on one table; `readers` in the order in which they can be made."""

    items: tuple[Item, ...]
    readers: tuple[tuple[Item, ...], ...] = ()

    def __iter__(self) -> Iterator[Item]:
        yield from self.items
        for reader in self.readers:
            yield from reader


def order_readers(oid: int, reads: Mapping[int, set[int]], kinds: Mapping[int, str]) -> list[int]:
    """The views and materialized views that a swap touches, sources first.

    Touched is what reads the table itself or a materialized view that is made anew: it cannot be
    kept, as its content has no other way to a new source. `reads` says which reader reads what.
    Raises ValueError when views read one another in a circle.
    """
    touched, found = {oid}, True
    while found:
        anew = {o for o in touched if o == oid or kinds[o] == "m"}
        found = bool(new := {r for r, sources in reads.items() if sources & anew} - touched)
        touched |= new
    try:
        order = TopologicalSorter(reads).static_order()
        return [o for o in order if o in touched and o != oid]
    except CycleError as error:
        raise ValueError("views that read one another in a circle depend on it") from error


def fingerprint(catalog: Catalog, staged: Iterable[Item], *, stem: str) -> str:
    """One short text for all that the catalogue says, whatever the staging table is called.

    `staged` names the table's indexes and sequences by OID, behind `stem`.
    """
    digest = stem.split("_")[1]
    texts = sorted(repr(item) for item in [*catalog, *staged])
    return hashlib.sha256("\n".join(texts).replace(digest, "").encode()).hexdigest()


def create_stage(plan: SyncPlan, stage: TargetName, items: Iterable[Item]) -> list[sql.Composed]:
    """The staging table of a swap: the target's columns as they are, then the plan's changes.

    `items` were read for the staging table. LIKE copies columns, types, collations, NOT NULL,
    defaults and generated columns. It would make CHECKs that are NOT VALID valid, and indexes
    before the rows: a copy into indexes takes a third longer (2.95 s against 2.30 s).
    """
    (table,) = [i for i in items if i.kind == "table"]
    _, persistence, method, *tablespace = table.make.split(" ", 3)
    return [
        sql.SQL(
            "CREATE {}TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE "
            "INCLUDING COMPRESSION) USING {}{}"
        ).format(
            sql.SQL("UNLOGGED " if persistence == "u" else ""),
            postgres_sql.identifier(stage),
            postgres_sql.identifier(plan.target),
            sql.Identifier(method),
            sql.SQL(" TABLESPACE {}").format(sql.Identifier(*tablespace))
            if tablespace
            else sql.SQL(""),
        ),
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            postgres_sql.identifier(stage), sql.Literal(postgres_sql.stage_comment(plan.target))
        ),
        *makes(items, ("identity", "option", "column option")),
        *postgres_sql.evolve_target(plan, on=stage),
        *makes(items, ("check", "shaping trigger")),
    ]


def release(target: TargetName, catalog: Catalog, staged: Iterable[Item]) -> list[sql.Composed]:
    """Everything lets go of the table, which is dropped.

    Readers first: whoever reads a view locks it before its table, and so do these statements.
    """
    name = postgres_sql.identifier(target)
    readers = [item for reader in reversed(catalog.readers) for item in reader]
    return [
        *_unmakes(readers),
        *_unmakes(i for i in catalog.items if i.kind == "referenced by"),
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name),
        *_unmakes(i for i in staged if i.kind == "identity"),
        *_unmakes(i for i in catalog.items if i.kind == "owned sequence"),
        sql.SQL("DROP TABLE {}").format(name),
    ]


def take_over(
    target: TargetName, catalog: Catalog, staged: Iterable[Item], stage: TargetName
) -> list[sql.Composed]:
    """The staging table becomes the target, and everything takes hold of it."""
    items = [*catalog.items, *(i for i in staged if i.kind == "rename")]
    name = postgres_sql.identifier(target)
    return [
        *postgres_sql.become_target(stage, target),
        *makes(items, [k for k in FINISHING if k not in ("grant", "policy", "row security")]),
        *(_revoke(i.name) for i in items if i.kind == "identity"),
        _revoke(name.as_string()),
        *makes(items, ("grant", "policy", "row security")),
        *[statement for reader in catalog.readers for statement in _make_reader(reader)],
        sql.SQL("COMMENT ON TABLE {} IS NULL").format(name),
        *makes(items, LAST),
    ]


def makes(items: Iterable[Item], kinds: Sequence[str]) -> list[sql.Composed]:
    """The statements that make the things of these kinds, kind after kind."""
    items = list(items)
    return [_text(i.make) for kind in kinds for i in items if i.kind == kind]


def differences(
    before: Iterable[Item], after: Iterable[Item], changes: Iterable[SchemaChange] = ()
) -> list[str]:
    """What was lost, gained or is no longer the same, but for the plan's changes; in words.

    Where a column is widened, what PostgreSQL writes anew with other casts is compared by name.
    """
    changes = list(changes)
    columns = {c.column for c in changes if c.kind in ("added", "widened", "nullable")}
    loose = WRITTEN_ANEW if any(c.kind == "widened" for c in changes) else set()
    adds = any(c.kind == "added" for c in changes)

    def compared(items: Iterable[Item], *, new: bool) -> dict[tuple[str, ...], Item]:
        return {
            (i.of, i.kind, i.name, "" if i.kind in loose else i.make): i
            for i in items
            if not (i.kind == "column" and i.name in columns)
            and not (i.kind == "not null" and columns)
            and not (i.kind == "comment" and adds and new and i not in known)
        }

    known = set(before)
    old, new = compared(known, new=False), compared(after, new=True)
    lost = [old[key] for key in sorted(old.keys() - new.keys())]
    gained = [new[key] for key in sorted(new.keys() - old.keys())]
    there = {(i.of, i.kind, i.name) for i in gained}
    were = {(i.of, i.kind, i.name) for i in lost}
    return [
        *(f"{i} is {'another' if (i.of, i.kind, i.name) in there else 'lost'}" for i in lost),
        *(f"{i} is new" for i in gained if (i.of, i.kind, i.name) not in were),
    ]


def _make_reader(items: Sequence[Item]) -> list[sql.Composed]:
    """A view is one statement; of a materialized view all was dropped with it."""
    anew = any(i.kind == "materialized view" for i in items)
    made = ("view", *(k for k in READER[: READER.index("grant")] if k != "view"))
    revoked = [_revoke(items[0].of)] if anew else []
    return makes(items, made) + revoked + makes(items, ("grant", "comment", "content"))


def _unmakes(items: Iterable[Item]) -> list[sql.Composed]:
    return [_text(i.unmake) for i in items if i.unmake]


def _revoke(relation: str) -> sql.Composed:
    return sql.SQL(REVOKE).format(sql.Literal(relation))


def _text(statement: str) -> sql.Composed:
    """PostgreSQL's own words, every name in them quoted and qualified by it."""
    return sql.Composed([sql.SQL(statement)])
