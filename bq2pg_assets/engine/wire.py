"""The wire form of the types that pgpq does not write. Pure.

Belongs here: Arrow arrays to arrays of bytes as PostgreSQL's receive functions read them
(numeric_recv, interval_recv, range_recv, array_recv in src/backend/utils/adt), whole columns at a
time. Does not: framing rows, which pgpq does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EPOCH_DAYS = 10_957  # from 1970-01-01 to 2000-01-01
EPOCH_MICROS = EPOCH_DAYS * 86_400_000_000
INTERVAL = (
    r"^(?P<ysign>-?)(?P<years>\d+)-(?P<months>\d+) (?P<days>-?\d+) "
    r"(?P<tsign>-?)(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?$"
)
OPEN = pa.array(["", "UNBOUNDED", "NULL"])
LOWER_INCLUSIVE, LOWER_OPEN, UPPER_OPEN = 0x02, 0x08, 0x10
# How many of the four digits of a group there are, without the zeros behind them.
USED = np.array([len(f"{group:04d}".rstrip("0")) for group in range(10_000)])
Bytes = np.ndarray  # of uint8; a matrix has one row for each value


@dataclass(frozen=True, slots=True)
class Form:
    """One element type: its object id in pg_type, and its values' bytes.

    `encode` keeps NULL. Raises ValueError when a text is not what BigQuery writes.
    """

    oid: int
    encode: Callable[[pa.Array], pa.Array]


def numeric(array: pa.Array) -> pa.Array:
    """numeric_recv: digits in base 10,000, the weight of the first, the sign, the scale.

    The scale is the value's own: Parquet's is the column's. Zeros before and after the digits are
    the same for the whole array; PostgreSQL leaves them out when it makes its value.
    """
    scale, most = array.type.scale, 39 if array.type.bit_width == 128 else 78
    whole = -(-max(most - scale, 1) // 4)  # groups of four digits before the point
    width = 4 * (whole + -(-scale // 4))
    text = pc.fill_null(_unscaled(array).cast(pa.string()), "0")
    padded = pc.ascii_lpad(pc.utf8_ltrim(text, "-"), 4 * whole + scale, padding="0")
    digits = _characters(pc.ascii_rpad(padded, width, padding="0"), width) - ord("0")
    pairs = digits[:, 0::2] * np.uint8(10) + digits[:, 1::2]
    groups = pairs[:, 0::2] * np.int16(100) + pairs[:, 1::2]
    used = np.flatnonzero(groups.any(axis=0))
    first, last = (used[0], used[-1] + 1) if len(used) else (whole - 1, whole)
    head = np.empty((len(array), 4), ">i2")
    head[:, 0], head[:, 1] = last - first, whole - 1 - first
    head[:, 2] = np.where(_true(pc.starts_with(text, "-")), 0x4000, 0)
    head[:, 3] = _digits_used(groups[:, whole:])
    body = np.ascontiguousarray(groups[:, first:last].astype(">i2"))
    return _array(np.hstack([_bytes(head), _bytes(body)]), array)


def interval(array: pa.Array) -> pa.Array:
    """interval_recv: microseconds, days, months. From BigQuery's text `Y-M D H:M:S.F`."""
    found = _extracted(array)
    years, months, days, hours, minutes, seconds = (
        np.asarray(found[name].cast(pa.int64()))
        for name in ("years", "months", "days", "hours", "minutes", "seconds")
    )
    fraction = np.asarray(pc.ascii_rpad(found["fraction"], 6, padding="0").cast(pa.int64()))
    micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction
    out = np.empty(len(array), [("micros", ">i8"), ("days", ">i4"), ("months", ">i4")])
    out["micros"] = micros * _sign(found["tsign"])
    out["days"] = days
    out["months"] = (years * 12 + months) * _sign(found["ysign"])
    return _array(_bytes(out), array)


def micros(array: pa.Array) -> pa.Array:
    """timestamptz_recv: microseconds since 2000-01-01 in UTC; one without zone is UTC."""
    values = pc.fill_null(array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64()), 0)
    return _array(_moments(np.asarray(values)), array)


def range_of(bound: Callable[[pa.Array], Bytes]) -> Callable[[pa.Array], pa.Array]:
    """range_recv: flags, then each bound that is not open. From BigQuery's `[low, high)`."""

    def encode(array: pa.Array) -> pa.Array:
        first, second = _bounds(array)
        low_open, high_open = (_true(pc.is_in(one, value_set=OPEN)) for one in (first, second))
        flags = np.where(low_open, LOWER_OPEN, LOWER_INCLUSIVE) | high_open * UPPER_OPEN
        low, high = bound(first), bound(second)
        size = np.full((len(array), 1), low.shape[1], ">i4")
        parts = [_bytes(flags.astype(np.uint8)), _bytes(size), low, _bytes(size), high]
        if not (low_open | high_open).any():
            return _array(np.hstack(parts), array)
        there = [np.ones(len(array), bool), ~low_open, ~low_open, ~high_open, ~high_open]
        return _array(
            np.hstack(parts),
            array,
            kept=np.hstack(
                [np.repeat(t[:, None], p.shape[1], 1) for t, p in zip(there, parts, strict=True)]
            ),
        )

    return encode


def days_of(texts: pa.Array) -> Bytes:
    """date_recv: days since 2000-01-01. An open bound is any day."""
    closed = pc.if_else(pc.is_in(texts, value_set=OPEN), "2000-01-01", texts)
    days = np.asarray(closed.cast(pa.date32()).cast(pa.int32()))
    return _bytes((days - EPOCH_DAYS).astype(">i4"))


def moments_of(zone: str | None) -> Callable[[pa.Array], Bytes]:
    """timestamp_recv and timestamptz_recv: microseconds since 2000-01-01, in UTC.

    BigQuery writes a zone behind each TIMESTAMP, and none behind a DATETIME.
    """

    def encode(texts: pa.Array) -> Bytes:
        any_moment = "2000-01-01 00:00:00" + ("+00" if zone else "")
        closed = pc.if_else(pc.is_in(texts, value_set=OPEN), any_moment, texts)
        return _moments(np.asarray(closed.cast(pa.timestamp("us", zone)).cast(pa.int64())))

    return encode


FORMS = {
    "numeric": Form(1700, numeric),
    "timestamptz": Form(1184, micros),
    "interval": Form(1186, interval),
    "daterange": Form(3912, range_of(days_of)),
    "tsrange": Form(3908, range_of(moments_of(None))),
    "tstzrange": Form(3910, range_of(moments_of("UTC"))),
}


def array_of(element: str) -> Callable[[pa.Array], pa.Array]:
    """array_recv of one dimension: dimensions, NULL flag, element type, length, lower bound.

    Then each element's length, -1 for NULL, and bytes. An empty array has no dimension.
    """
    form = FORMS[element]

    def encode(array: pa.Array) -> pa.Array:
        lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0), np.int64)
        values = form.encode(array.flatten())  # without what lies behind a NULL
        there = _true(values.is_valid())
        sizes = np.where(there, np.diff(_offsets(values)), 0)
        bounds = np.concatenate([[0], np.cumsum(lengths)])  # of each list's elements
        ends = np.concatenate([[0], np.cumsum(sizes + 4)])  # of the elements, framed
        filled = lengths > 0
        heads = np.where(filled, 20, 12)
        offsets = np.concatenate([[0], np.cumsum(heads + ends[bounds[1:]] - ends[bounds[:-1]])])
        out = np.empty(offsets[-1], np.uint8)

        head = np.empty((len(array), 5), ">i4")
        head[:, 0], head[:, 2], head[:, 3], head[:, 4] = filled, form.oid, lengths, 1
        nulls = np.concatenate([[0], np.cumsum(~there)])
        head[:, 1] = nulls[bounds[1:]] > nulls[bounds[:-1]]
        _scatter(out, offsets[:-1], heads, _bytes(head))

        shift = np.repeat(offsets[:-1] + heads - ends[bounds[:-1]], lengths)
        starts = ends[:-1] + shift
        frames = _bytes(np.where(there, sizes, -1).astype(">i4"))
        _scatter(out, starts, np.full(len(starts), 4), frames)
        _copy(out, starts + 4, values, sizes)
        return _binary(offsets, out, array)

    return encode


def _unscaled(array: pa.Array) -> pa.Array:
    """The same integers without a scale: as text they have neither point nor exponent."""
    bits = array.type.bit_width
    plain = pa.decimal128(38, 0) if bits == 128 else pa.decimal256(76, 0)
    return pa.Array.from_buffers(plain, len(array), array.buffers(), offset=array.offset)


def _extracted(array: pa.Array) -> dict[str, pa.Array]:
    """The named parts of each INTERVAL, of none where it is NULL."""
    filled = pc.fill_null(array, "0-0 0 0:0:0")
    found = pc.extract_regex(filled, pattern=INTERVAL)
    if found.null_count:
        text = filled.filter(found.is_null())[0].as_py()
        raise ValueError(f"{text!r} is not an INTERVAL as BigQuery writes it")
    return {field.name: found.field(i) for i, field in enumerate(found.type)}


def _bounds(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Both bounds of each range; open ones where it is NULL."""
    filled = pc.fill_null(array, "[NULL, NULL)")
    split = pc.split_pattern(filled, ", ")
    framed = pc.and_(pc.starts_with(filled, "["), pc.ends_with(filled, ")"))
    right = pc.and_(framed, pc.equal(pc.list_value_length(split), 2))
    if not pc.all(right).as_py() and len(array):
        text = filled.filter(pc.invert(right))[0].as_py()
        raise ValueError(f"{text!r} is not a RANGE as BigQuery writes it")
    low, high = pc.list_element(split, 0), pc.list_element(split, 1)
    return pc.utf8_slice_codeunits(low, 1), pc.utf8_slice_codeunits(high, 0, -1)


def _sign(texts: pa.Array) -> np.ndarray:
    return np.where(_true(pc.equal(texts, "-")), -1, 1)


def _moments(since_1970: np.ndarray) -> Bytes:
    return _bytes((since_1970 - EPOCH_MICROS).astype(">i8"))


def _characters(texts: pa.Array, width: int) -> Bytes:
    """One row a text, all of which have `width` ASCII characters."""
    offsets = _offsets(texts)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    return data[offsets[0] : offsets[-1]].reshape(len(texts), width)


def _digits_used(groups: np.ndarray) -> np.ndarray:
    """How many digits there are in the groups of four, without the zeros behind them."""
    if not groups.shape[1]:
        return np.zeros(len(groups), np.int64)
    last = groups.shape[1] - 1 - (groups[:, ::-1] != 0).argmax(axis=1)
    value = groups[np.arange(len(groups)), last]  # 0 where all are
    return np.where(value, 4 * last + USED[value], 0)


def _true(array: pa.Array) -> np.ndarray:
    return np.asarray(array.to_numpy(zero_copy_only=False), bool)


def _bytes(values: np.ndarray) -> Bytes:
    """One row of bytes for each value, or for each row of values."""
    rows = len(values)
    return (
        np.ascontiguousarray(values)
        .view(np.uint8)
        .reshape(rows, values.dtype.itemsize * (values.size // rows if rows else 1))
    )


def _offsets(array: pa.Array) -> np.ndarray:
    """Where the values of a binary or string array begin in its data, and the last ends."""
    held = np.frombuffer(array.buffers()[1] or b"\0\0\0\0", np.int32)
    return held[array.offset : array.offset + len(array) + 1].astype(np.int64)


def _array(matrix: Bytes, like: pa.Array, *, kept: np.ndarray | None = None) -> pa.Array:
    """A binary array of the matrix's rows, of their `kept` bytes; NULL where `like` is."""
    if kept is None:
        lengths = np.full(len(matrix), matrix.shape[1])
        data = matrix.reshape(-1)
    else:
        lengths, data = kept.sum(axis=1), matrix[kept]
    return _binary(np.concatenate([[0], np.cumsum(lengths)]), data, like)


def _binary(offsets: Sequence[int] | np.ndarray, data: Bytes, like: pa.Array) -> pa.Array:
    there = np.packbits(_true(like.is_valid()), bitorder="little")
    buffers = [there, np.asarray(offsets, np.int32), np.ascontiguousarray(data)]
    return pa.Array.from_buffers(pa.binary(), len(like), [pa.py_buffer(b) for b in buffers])


def _scatter(out: Bytes, starts: np.ndarray, sizes: np.ndarray, rows: Bytes) -> None:
    """Write the first bytes of each row to its place."""
    for size in np.unique(sizes):
        at = sizes == size
        out[starts[at][:, None] + np.arange(size)] = rows[at, :size]


def _copy(out: Bytes, starts: np.ndarray, values: pa.Array, sizes: np.ndarray) -> None:
    """Write each value's bytes to its place."""
    total = int(sizes.sum())
    within = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8)
    source = np.repeat(_offsets(values)[:-1], sizes) + within
    out[np.repeat(starts, sizes) + within] = data[source]
