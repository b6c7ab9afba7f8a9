"""Promise: bad rows warn on the asset of a table that quarantines, and nowhere else."""

import dagster as dg

from bq2pg_assets.config.table import TableConfig
from bq2pg_assets.defs.checks import check_results, check_specs, checks_of
from bq2pg_assets.engine.model import Mode, Outcome, TargetName
from bq2pg_assets.engine.results import SyncResult

KEY = dg.AssetKey(["public", "t"])
PLAIN = TableConfig(name="t", source="d.t")
QUARANTINE = TableConfig(name="t", source="d.t", bad_rows="quarantine")


def verdicts(table: TableConfig, *, quarantined: int) -> dict[str, dg.AssetCheckResult]:
    result = SyncResult(
        "t", TargetName("public", "t"), Outcome.LOADED, Mode.REPLACE,
        rows=5, bytes=1, shards=1, seconds=1.0, phases={}, columns=(), checks=(),
        cursor_before=None, cursor_after=None, quarantined=quarantined,
    )  # fmt: skip
    found = check_results(checks_of(result, table), key=KEY)
    return {str(one.check_name): one for one in found}


def test_every_declared_check_has_a_verdict() -> None:
    for table in (PLAIN, QUARANTINE):
        declared = {spec.name for spec in check_specs(KEY, table)}
        assert set(verdicts(table, quarantined=0)) == declared
        assert ("quarantine" in declared) is (table is QUARANTINE)


def test_quarantined_rows_warn_and_do_not_block() -> None:
    good = verdicts(QUARANTINE, quarantined=0)["quarantine"]
    bad = verdicts(QUARANTINE, quarantined=3)["quarantine"]
    assert (good.passed, bad.passed) == (True, False)
    assert bad.severity is dg.AssetCheckSeverity.WARN
    assert "3 rows quarantined: bq2pg quarantine list t" in str(bad.description)
    [spec] = [s for s in check_specs(KEY, QUARANTINE) if s.name == "quarantine"]
    assert not spec.blocking
