"""The GoogleSQL of an export, to the letter, and attempts to break out of it.

Every name, value and condition that reaches a statement is tried with quotes, comments, semicolons
and brackets. Whether BigQuery accepts the statements is tested against the emulator.
"""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from bq2pg_assets.engine import export_sql
from bq2pg_assets.engine.errors import ConfigError
from bq2pg_assets.engine.model import Column, Cursor, CursorValue, Window
from bq2pg_assets_tests.unit.plans import AT, ID, a_plan

LOW = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
HIGH = datetime(2024, 2, 1, tzinfo=UTC)
CURSOR = Cursor("at", "TIMESTAMP", LOW)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))


def test_a_full_export_is_one_select_of_every_column() -> None:
    assert export_sql.export_data(a_plan(), "gs://b/bq2pg/t/r-0/*.parquet") == (
        "EXPORT DATA OPTIONS (uri = 'gs://b/bq2pg/t/r-0/*.parquet', format = 'PARQUET', "
        "compression = 'SNAPPY', overwrite = false) AS\n"
        "SELECT\n  `id`,\n  `at`\nFROM `p`.`d`.`t`"
    )


def test_an_incremental_export_reads_its_window_at_its_snapshot() -> None:
    plan = a_plan(
        cursor=CURSOR, window=Window(LOW, HIGH), snapshot_at=HIGH, where="id > 1", limit=5
    )
    assert export_sql.select(plan) == (
        "SELECT\n  `id`,\n  `at`\n"
        "FROM `p`.`d`.`t` FOR SYSTEM_TIME AS OF TIMESTAMP '2024-02-01 00:00:00.000000+00'\n"
        "WHERE `at` > TIMESTAMP '2024-01-02 03:04:05.678901+00'\n"
        "  AND `at` <= TIMESTAMP '2024-02-01 00:00:00.000000+00'\n"
        "  AND (\nid > 1\n)"
    )


def test_where_bigquery_asks_for_a_partition_filter_one_is_sent_that_every_row_meets() -> None:
    """A NULL partition exists too: no row may fall through."""
    assert export_sql.select(a_plan(every_partition_of="d`ay")).endswith(
        "FROM `p`.`d`.`t`\nWHERE (`d\\`ay` IS NULL OR `d\\`ay` IS NOT NULL)"
    )
    windowed = a_plan(
        cursor=CURSOR, window=Window(LOW, HIGH), every_partition_of="_PARTITIONTIME", where="a"
    )
    assert export_sql.select(windowed).endswith(
        "`at` <= TIMESTAMP '2024-02-01 00:00:00.000000+00'\n"
        "  AND (`_PARTITIONTIME` IS NULL OR `_PARTITIONTIME` IS NOT NULL)\n  AND (\na\n)"
    )
    assert export_sql.probe("t", CURSOR, every_partition_of="day").endswith(
        ".678901+00' OR `at` IS NULL) AND (`day` IS NULL OR `day` IS NOT NULL))"
    )


def test_a_limit_ends_a_full_export() -> None:
    assert export_sql.select(a_plan(limit=5)).endswith("FROM `p`.`d`.`t`\nLIMIT 5")


def test_a_shaped_column_keeps_its_name_in_bigquery() -> None:
    shaped = Column("new", "o`dd", "JSON", "jsonb", False, "F(x)", False, "jsonb")
    assert export_sql.select(a_plan(columns=(ID, shaped))).startswith(
        "SELECT\n  `id`,\n  F(x) AS `o\\`dd`\nFROM"
    )


def test_a_probe_asks_for_the_highest_value_the_rows_and_the_time() -> None:
    assert export_sql.probe("`p`.`d`.`t`", CURSOR) == (
        "SELECT MAX(c) AS high, COUNT(c) AS rows_above, COUNTIF(c IS NULL) AS nulls, "
        "CURRENT_TIMESTAMP() AS at FROM (SELECT `at` AS c FROM `p`.`d`.`t` WHERE "
        "(`at` > TIMESTAMP '2024-01-02 03:04:05.678901+00' OR `at` IS NULL))"
    )


def test_a_probe_with_a_limit_looks_at_the_lowest_rows_that_match() -> None:
    assert export_sql.probe("t", CURSOR, where="a = 'x' -- y", limit=10).endswith(
        " AND `at` IS NOT NULL AND (\na = 'x' -- y\n) ORDER BY `at` LIMIT 10)"
    )


@pytest.mark.parametrize(
    ("window", "conditions"),
    [
        (None, []),
        (Window(None, None), ["`d` IS NOT NULL"]),
        (Window(None, None, nulls=True), []),
        (
            Window(date(2024, 1, 1), date(2024, 1, 2), nulls=True),
            ["(`d` > DATE '2024-01-01' AND `d` <= DATE '2024-01-02' OR `d` IS NULL)"],
        ),
        (Window(date(2024, 1, 1), None), ["`d` > DATE '2024-01-01'"]),
        (Window(None, date(2024, 1, 2)), ["`d` <= DATE '2024-01-02'"]),
    ],
)
def test_a_window_leaves_an_open_side_out(window: Window | None, conditions: list[str]) -> None:
    assert export_sql.window_conditions(Cursor("d", "DATE"), window) == conditions


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("TIMESTAMP", "TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 5400 SECOND)"),
        ("DATETIME", "DATETIME(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 5400 SECOND))"),
        (
            "DATE",
            "DATE_SUB(DATE(TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 5400 SECOND)), "
            "INTERVAL 1 DAY)",
        ),
    ],
)
def test_a_lag_ends_the_look_before_bigquerys_clock(kind: str, bound: str) -> None:
    cursor, lag = Cursor("at", kind), timedelta(minutes=90)
    assert export_sql.probe("t", cursor, lag=lag).endswith(
        f"FROM t WHERE (`at` <= {bound} OR `at` IS NULL))"
    )


def test_a_cursor_column_cannot_leave_its_quotes() -> None:
    cursor = Cursor("a` > 0 OR `b", "DATE")
    assert export_sql.window_conditions(cursor, Window(date(2024, 1, 1), None)) == [
        "`a\\` > 0 OR \\`b` > DATE '2024-01-01'"
    ]


@pytest.mark.parametrize(
    ("value", "kind", "literal"),
    [
        (date(1, 1, 1), "DATE", "DATE '0001-01-01'"),
        (datetime(2024, 1, 2, 23, tzinfo=UTC), "DATE", "DATE '2024-01-02'"),
        (datetime(2024, 1, 2, 3, 4, 5), "DATETIME", "DATETIME '2024-01-02 03:04:05.000000'"),  # noqa: DTZ001
        (date(2024, 1, 2), "DATETIME", "DATETIME '2024-01-02 00:00:00.000000'"),
        (LOW, "TIMESTAMP", "TIMESTAMP '2024-01-02 03:04:05.678901+00'"),
        (LOW.replace(tzinfo=None), "TIMESTAMP", "TIMESTAMP '2024-01-02 03:04:05.678901+00'"),
        (
            datetime(2024, 1, 2, 3, 45, 0, 1, tzinfo=KATHMANDU),
            "TIMESTAMP",
            "TIMESTAMP '2024-01-01 22:00:00.000001+00'",
        ),
        (date(2024, 1, 2), "TIMESTAMP", "TIMESTAMP '2024-01-02 00:00:00.000000+00'"),
        (
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            "TIMESTAMP",
            "TIMESTAMP '9999-12-31 23:59:59.999999+00'",
        ),
    ],
)
def test_a_cursor_value_is_a_literal_of_its_type(
    value: CursorValue, kind: str, literal: str
) -> None:
    assert export_sql.literal(value, kind) == literal


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("gs://b/x", "'gs://b/x'"),
        ("it's", r"'it\'s'"),
        ("\\", r"'\\'"),
        ("\\'); DROP TABLE t; --", r"'\\\'); DROP TABLE t; --'"),
        ("a\nb\rc\0d", r"'a\nb\rc\x00d'"),
        ("🐘", "'🐘'"),
    ],
)
def test_a_text_cannot_leave_its_quotes(value: str, literal: str) -> None:
    assert export_sql.text(value) == literal


def test_a_table_is_quoted_part_by_part() -> None:
    assert (
        export_sql.table_sql("my-project", "d`x", "t$20240101")
        == r"`my-project`.`d\`x`.`t$20240101`"
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "  SELECT 1 ;; ",
        "SELECT 1 -- the end",
        "SELECT 1 # the end",
        "SELECT ';' AS a, '-- no comment' AS b, ') AS q' AS c",
        "/* head */ SELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SELECT 1 UNION ALL SELECT 2",
        "(SELECT 1) EXCEPT DISTINCT (SELECT 2)",
        "SELECT * FROM d.t WHERE x > 1 GROUP BY y HAVING z QUALIFY w ORDER BY 1 LIMIT 5",
    ],
)
def test_a_query_is_one_table_expression(query: str) -> None:
    assert export_sql.query_sql(query) == f"(\n{query.strip().rstrip('; ')}\n) AS q"


@pytest.mark.parametrize(
    "query",
    [
        "",
        ";",
        "-- nothing",
        "d.t",
        "a JOIN b",
        "SELECT 1 /* open",
        "SELECT 'open",
        "SELECT (1",
        "SELECT 1)",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE t; --",
        "DROP TABLE t",
        "DELETE FROM t WHERE TRUE",
        "DECLARE x INT64; SELECT x",
        "CALL p()",
        "EXPORT DATA OPTIONS (uri = 'x') AS SELECT 1",
        "SELECT 1) AS a, (SELECT 2",
        "SELECT 1) AS q, (SELECT 2",
        "SELECT 1) AS q CROSS JOIN (SELECT 2",
        "SELECT 1) AS q WHERE TRUE OR (TRUE",
        "SELECT 1) UNION ALL SELECT * FROM (SELECT 2",
        "SELECT 1); DROP TABLE t; SELECT * FROM (SELECT 2",
        "SELECT 1 /* /* */ ); DROP TABLE t; SELECT * FROM (SELECT 1 -- */",
    ],
)
def test_what_is_not_one_select_is_refused(query: str) -> None:
    with pytest.raises(ConfigError, match="one GoogleSQL SELECT") as caught:
        export_sql.query_sql(query)
    assert caught.value.where == "query"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "where",
    [
        "a > 1",
        "a = 'it''s' OR b IN (1, 2)".replace("''", "\\'"),
        "(a) AND (b)",
        "a = ') OR (1 = 1'",
        "a = r'\\' OR '",
        "a LIKE '''x'y'''",
        "EXISTS (SELECT 1 FROM d.u WHERE u.id = id)",
        "a -- the end",
        "a # the end",
        "`o dd` IS NOT NULL",
        "a\n  AND b",
    ],
)
def test_one_condition_is_taken_as_it_is(where: str) -> None:
    assert export_sql.checked_condition(where) == where
    assert f"WHERE (\n{where}\n)" in export_sql.select(a_plan(where=where))


@pytest.mark.parametrize(
    "where",
    [
        "",
        " ",
        "-- nothing",
        "a /* open",
        "a = 'open",
        "a)",
        "(a",
        "a;",
        "a, b",
        "SELECT 1",
        "1 = 1) OR (1 = 1",
        "1 = 1) LIMIT 1 --",
        "1 = 1) GROUP BY (a",
        "1 = 1) ORDER BY (a",
        "1 = 1) UNION ALL (SELECT 1",
        "1); DROP TABLE t; SELECT (1",
        "a = 'b'); DROP TABLE t; SELECT ('c'",
        "1 /* /* */ ); DROP TABLE t; SELECT (1 -- */",
        "1 -- x\r); DROP TABLE t; SELECT (1",
        "`a\\`); DROP TABLE t; SELECT (`b`",
        r"a = r'\\'); DROP TABLE t; SELECT ('b'",
    ],
)
def test_what_is_not_one_condition_is_refused_before_any_statement(where: str) -> None:
    with pytest.raises(ConfigError, match="one GoogleSQL condition"):
        export_sql.checked_condition(where)
    if where:
        with pytest.raises(ConfigError):
            export_sql.select(a_plan(where=where))
        with pytest.raises(ConfigError):
            export_sql.probe("t", CURSOR, where=where)


def test_the_columns_of_a_plan_keep_their_order() -> None:
    assert export_sql.select(a_plan(columns=(AT, ID))).startswith("SELECT\n  `at`,\n  `id`\n")
