"""Spans of time, as they are written in YAML and on the command line."""

from typing import Any

import pytest

from bq2pg_assets.config.duration import seconds
from bq2pg_assets.config.table import TableConfig


@pytest.mark.parametrize(
    ("text", "expected"),
    [("6h", 21600), ("30m", 1800), ("7d", 604800), ("45 s", 45), ("0", 0), (0, 0), (90, 90)],
)
def test_a_number_with_its_unit_is_read(text: Any, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "-1h", "1.5h", "6 hours", 1.5, True, None])
def test_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a span of time"):
        seconds(text)


def test_a_table_says_how_old_an_export_may_be_that_is_used_again() -> None:
    assert TableConfig.model_validate({"name": "t", "source": "d.t"}).resume == 6 * 3600
    given = {"name": "t", "source": "d.t", "resume": "30m"}
    assert TableConfig.model_validate(given).resume == 1800
