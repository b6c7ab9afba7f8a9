"""The ways to publish that every fault is tried with; another is one more line.

Belongs here: table settings as data, and the source before and after it changed. Does not: faults.
"""

from dataclasses import dataclass, field
from typing import Any

ROWS = 1_200
FILL = "REPEAT(TO_HEX(SHA256(CONCAT('{word}', CAST(x AS STRING)))), 3)"
NUMBERS = "UNNEST(GENERATE_ARRAY(1, {rows})) AS x"
# Since the first load a tenth is gone, a tenth is other, and a half is new.
BEFORE = (
    f"SELECT x AS id, {FILL.format(word='a')} AS v, "
    f"TIMESTAMP '2024-01-01 00:00:00+00' AS max_ingested_at FROM {NUMBERS.format(rows=ROWS)}"
)
AFTER = (
    f"SELECT x AS id, IF(MOD(x, 10) = 1, {FILL.format(word='b')}, {FILL.format(word='a')}) AS v, "
    f"IF(MOD(x, 10) = 1 OR x > {ROWS}, TIMESTAMP '2024-01-02 00:00:00+00', "
    f"TIMESTAMP '2024-01-01 00:00:00+00') AS max_ingested_at "
    f"FROM {NUMBERS.format(rows=ROWS * 3 // 2)} WHERE MOD(x, 10) != 2"
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to publish: its name in the tables, and the settings that make it."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


KEYED: dict[str, Any] = {"key": ["id"]}
WAYS = (
    Way("replace"),
    Way("truncate", {"replace_strategy": "truncate"}),
    Way("append", {"mode": "append"}),
    Way("merge", {"mode": "merge", **KEYED}),
    Way("mirror", {"mode": "mirror", **KEYED}),
    Way("snapshot", {"mode": "snapshot"}),
    Way("scd2", {"mode": "scd2", **KEYED}),
)
REPLACING = ("replace", "truncate")  # which nobody may read while it is done
KEEPING = tuple(way.name for way in WAYS if way.name not in REPLACING)
