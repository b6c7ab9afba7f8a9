"""What cannot be carried as it is, what happens instead, and the test that shows it.

Belongs here: data, shown in docs/types.md. Does not: the tests; `proof` names one, and
test_docs.py sees that it exists.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """`what` in BigQuery, what it `becomes`, and `proof`: file::test below bq2pg_assets_tests."""

    what: str
    becomes: str
    proof: str


SHARD = "integration/test_shard_types.py"
GOLDEN = f"{SHARD}::test_a_shard_lands_the_golden_values"
LIMITS = (
    Limit(
        "U+0000 in STRING or JSON",
        "PostgreSQL's text and jsonb cannot hold it: the run ends; with `nul_bytes: strip` it is "
        "left out, with `replace` U+FFFD takes its place, both counted by column in the metadata "
        "and in `sync_history`",
        "integration/test_shards_whole.py::test_u0000_is_taken_out_and_counted_by_column",
    ),
    Limit(
        "TIMESTAMP(12), picoseconds",
        "refused: PostgreSQL keeps microseconds; truncate it in an `expression`",
        "unit/test_typemap.py::test_picoseconds_are_refused_because_they_would_be_cut_off",
    ),
    Limit(
        "a STRUCT with two fields of one name (queries only)",
        "refused: jsonb keeps the last only",
        "unit/test_typemap.py::test_two_fields_of_one_name_are_refused_because_jsonb_keeps_one",
    ),
    Limit(
        "a NULL ARRAY",
        "an empty one: BigQuery stores no other, and no NULL element either",
        "unit/test_nested.py::test_a_null_array_inside_a_row_is_an_empty_one",
    ),
    Limit(
        "INT64 beyond ±2^53, NUMERIC with a fraction, NaN and ±Infinity inside a STRUCT",
        "JSON strings, as TO_JSON_STRING writes them; every digit is kept",
        GOLDEN,
    ),
    Limit("-0.0 inside a STRUCT", "0: jsonb's numbers have no negative zero", GOLDEN),
    Limit(
        "JSON's spelling",
        "jsonb keeps the value: order of keys, blanks and duplicate keys are gone; BigQuery itself "
        "keeps the first of two equal keys",
        GOLDEN,
    ),
    Limit(
        "GEOGRAPHY",
        "its text (WKT), not a geometry: ST_GEOGFROMTEXT and PostGIS read it",
        GOLDEN,
    ),
    Limit(
        "GEOGRAPHY, INTERVAL, RANGE and JSON inside a STRUCT",
        "what TO_JSON_STRING writes of them in BigQuery; Parquet carries none, so such a column "
        "is never read by an extract job",
        "unit/test_typemap.py::test_parquet_carries_a_struct_when_it_carries_every_field",
    ),
)
