"""Which tables a command is about: names on the command line against the configured ones.

Belongs here: choosing, and the words for names that are none. Does not: reading files
(config/load.py), settings.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bq2pg_assets.engine.errors import ConfigError

if TYPE_CHECKING:
    from bq2pg_assets.config.load import LoadedTables
    from bq2pg_assets.config.table import TableConfig


@dataclass(frozen=True, slots=True)
class Selection:
    """The tables to work on, and the errors of chosen ones whose YAML is wrong."""

    tables: tuple["TableConfig", ...]
    errors: tuple[ConfigError, ...] = ()


def select(names: Sequence[str], *, everything: bool, loaded: "LoadedTables") -> Selection:
    """The named tables in the order given, or all. Pure.

    One bad file takes away its own table only; its error is in the selection. Raises ConfigError
    when names are unknown (all at once), when nothing is chosen, and when nothing is left.
    """
    if bool(names) == everything:
        raise ConfigError(
            "the command line",
            met="table names and --all" if names else "no table",
            expected="either the names of tables or --all",
            way_out="Configured are " + ", ".join(t.name for t in loaded.tables) + "."
            if loaded.tables and not names
            else "Write one of the two.",
        )
    chosen = dict.fromkeys(names) if names else {t.name: None for t in loaded.tables}
    good = {table.name: table for table in loaded.tables}
    bad = {problem.table: problem.error for problem in loaded.problems}
    unknown = [name for name in chosen if name not in good and name not in bad]
    if unknown:
        why_none = [] if good else [line for one in loaded.problems for line in one.lines]
        raise _unknown(unknown, known=sorted(good | bad), why_none=why_none)
    errors = tuple(bad.values()) if everything else tuple(bad[n] for n in chosen if n in bad)
    tables = tuple(good[name] for name in chosen if name in good)
    if not tables:
        raise _merged(errors)
    return Selection(tables, errors)


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like this one, whatever its case; None when none is like it."""
    folded = {word.casefold(): word for word in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def _unknown(
    unknown: Sequence[str], *, known: Sequence[str], why_none: Sequence[str]
) -> ConfigError:
    """`why_none` tells why there is no table at all, such as an empty folder."""
    lines = []
    for name in unknown:
        near = nearest(name, known)
        lines.append(f"{name}: did you mean {near}?" if near else f"{name}: no name is like it")
    if why_none:
        lines += why_none
    elif not all(nearest(name, known) for name in unknown):
        lines.append(f"Configured are {', '.join(known)}." if known else "No table is configured.")
    return ConfigError(
        "the command line",
        met=f"no table is called {' or '.join(unknown)}",
        expected="names of configured tables",
        way_out="\n".join(lines),
    )


def _merged(errors: Sequence[ConfigError]) -> ConfigError:
    """One error for all: nothing can be done."""
    if len(errors) == 1:
        return errors[0]
    return ConfigError(
        "the configuration",
        met="no table that can be used",
        expected="at least one",
        way_out="\n".join(f"{error.where}: {error.way_out}" for error in errors),
    )
