"""Numbers, sizes and moments as people read them; pure.

Belongs here: formatting one value. Does not: lines or tables made of them.
"""

from datetime import UTC, date, datetime

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: int) -> str:
    """1234567 → 1,234,567."""
    return f"{number:,}"


def size(number: int) -> str:
    """Bytes in binary units, as BigQuery bills them: 1536 → 1.5 KiB."""
    value = float(number)
    for unit in UNITS[:-1]:
        if abs(value) < 1024:
            return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {UNITS[-1]}"


def price(dollars: float) -> str:
    """US dollars; small amounts keep two digits that say something."""
    if dollars == 0:
        return "free"
    return (
        f"${dollars:,.2f}"
        if dollars >= 0.01
        else f"${dollars:.2g}"
        if dollars >= 1e-4
        else "<$0.0001"
    )


def duration(seconds: float) -> str:
    """4.23 → 4.2 s, 75 → 1 min 15 s, 3700 → 1 h 1 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rate(rows: int, seconds: float) -> str:
    """Rows per second, or nothing where there is nothing to divide."""
    return count(round(rows / seconds)) if rows and seconds > 0 else ""


def moment(value: datetime | date | None) -> str:
    """A cursor value or a time: UTC where it has a zone, without a fraction that is zero."""
    if value is None:
        return ""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ") + "Z"
    return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()


def plural(number: int, noun: str) -> str:
    """1 table, 2 tables."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def iso(value: datetime | date | None) -> str | None:
    """For JSON."""
    return value.isoformat() if value is not None else None
