"""A plan of an unspectacular run, for tests that change one thing about it."""

from dataclasses import replace
from typing import Any

from bq2pg_assets.engine.model import Column, ExportWay, Mode, SyncPlan, TargetName

ID = Column("id", "id", "INT64", "bigint", True, "`id`", True, "native")
AT = Column("at", "at", "TIMESTAMP", "timestamp with time zone", False, "`at`", True, "timestamptz")
A_PLAN = SyncPlan(
    table="t",
    target=TargetName("public", "t"),
    publish=Mode.REPLACE,
    creates_target=False,
    way=ExportWay.EXTRACT,
    reason="a whole plain table: free",
    source_sql="`p`.`d`.`t`",
    location="EU",
    columns=(ID, AT),
    cursor=None,
    window=None,
    where=None,
    limit=None,
    cursor_after="clear",
    key=(),
    snapshot_at=None,
    expected_rows=None,
)


def a_plan(**changes: Any) -> SyncPlan:
    return replace(A_PLAN, **changes)
