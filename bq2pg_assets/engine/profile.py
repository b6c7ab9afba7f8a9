"""Where the time of a sync went, and what to do about the greatest part of it. Pure.

Belongs here: the seconds of a copy's workers, shares of the whole, advice. Does not: measuring
(stopwatch.py), the phases (attempt.py), showing it.

Advice says no more than the figures do. A worker that waits in a write cannot tell a busy server
from a slow network, and one that decodes cannot tell its own work from waiting for a free core.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bq2pg_assets.engine.model import ExportWay, Mode

PARTS = ("connect", "download", "decode", "encode", "server")
SHORT_SECONDS = 2.0  # a run below it waits for round trips, which nobody can shorten
BOTTLENECK = 0.4  # the share of the time from which a step is called one
WORTH_A_WORD = 0.05  # smaller shares are left out of the summary


@dataclass(frozen=True, slots=True)
class WayOut:
    """What a step is called and what makes it shorter; `more` where more workers would have work,
    {} being how many there may be now."""

    what: str
    way_out: str
    more: str = ""


WAYS_OUT = {
    "extract": WayOut(
        "BigQuery's extract job",
        "assign it a reservation (job type PIPELINE), or try export: read_api",
    ),
    "export": WayOut(
        "BigQuery's query",
        "read fewer columns, partition or cluster the source by what is asked for, or give it "
        "more slots",
    ),
    "connect": WayOut(
        "Getting connections to PostgreSQL",
        "load fewer tables at once, or raise BQ2PG_PG_MAX_CONNECTIONS and the server's own limit",
    ),
    "download": WayOut(
        "Waiting for Cloud Storage",
        "run bq2pg in the bucket's region",
        ", or raise parallelism ({})",
    ),
    "streams": WayOut(
        "Waiting for BigQuery's streams",
        "run bq2pg where the dataset lies",
        ", or raise parallelism ({})",
    ),
    "cpu": WayOut(
        "Decoding and encoding",
        "give bq2pg faster or more cores",
        ", and raise parallelism ({}) with them",
    ),
    "server": WayOut(
        "PostgreSQL, or the network to it,",
        "give it a larger machine or faster disks",
        ", or raise parallelism ({}) while its machine has idle cores",
    ),
    "index": WayOut(
        "Building keys and indexes",
        "drop those that nobody uses, or raise maintenance_work_mem for bq2pg's role",
    ),
    "swap": WayOut(
        "Publishing",
        "look for transactions that hold the table, materialized views on it and foreign keys to "
        "it, which are waited for, filled and validated",
    ),
    "replace": WayOut(
        "Publishing",
        "drop indexes that nobody uses; where the table says replace_strategy: truncate, swap "
        "builds each of them once instead of row by row",
    ),
    "publish": WayOut(
        "Publishing",
        "drop indexes and triggers of the target that nobody uses: each row passes through them",
    ),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """What the workers of one copy spent their time on; `seconds` are all workers' together.

    Its parts: `connect` until a connection was there. `download`, waiting for bytes of a shard or a
    stream. `decode`, Parquet or messages into batches. `encode`, batches into the bytes of COPY.
    `server`, all else, which is writing them and waiting until PostgreSQL has taken them. `workers`
    are those that found something to copy, of `parallelism` at most.
    """

    workers: int = 0
    parallelism: int = 0
    seconds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def with_worker(self, seconds: Mapping[str, float]) -> "Profile":
        """With what one worker more spent."""
        both = {part: self.seconds[part] + seconds[part] for part in PARTS}
        return replace(self, workers=self.workers + 1, seconds=both)

    @property
    def record(self) -> dict[str, float]:
        """As `sync_history` keeps it: milliseconds are enough."""
        rounded = {part: round(took, 3) for part, took in self.seconds.items()}
        return {"workers": self.workers, "parallelism": self.parallelism, **rounded}


def shares(profile: Profile | None, phases: Mapping[str, float]) -> dict[str, float]:
    """What each step took of all phases together, the greatest first.

    The copy is divided as its workers' seconds are, for they work side by side.
    """
    seconds = dict(phases)
    if profile is not None and (spent := sum(profile.seconds.values())) > 0:
        copy = seconds.pop("copy", 0.0)
        seconds |= {part: copy * took / spent for part, took in profile.seconds.items()}
    whole = sum(seconds.values())
    if whole <= 0:
        return {}
    ordered = sorted(seconds.items(), key=lambda one: -one[1])
    return {step: took / whole for step, took in ordered}


def summary(profile: Profile | None, phases: Mapping[str, float]) -> str | None:
    """The greater shares in words; None of a run too short for them to mean anything."""
    if sum(phases.values()) < SHORT_SECONDS:
        return None
    told = [(step, part) for step, part in shares(profile, phases).items() if part >= WORTH_A_WORD]
    return ", ".join(f"{step} {part:.0%}" for step, part in told)


def advice(
    profile: Profile | None,
    phases: Mapping[str, float],
    *,
    publish: Mode,
    way: ExportWay | None,
) -> str | None:
    """The bottleneck and the way out, in one line; None where there is none of either."""
    if profile is None or sum(phases.values()) < SHORT_SECONDS:
        return None
    found = shares(profile, phases)
    found["cpu"] = found.pop("decode", 0.0) + found.pop("encode", 0.0)
    step = max(found, key=lambda one: found[one])
    known = WAYS_OUT.get(_case(step, swaps="index" in phases, publish=publish, way=way))
    if known is None or found[step] < BOTTLENECK:
        return None
    # Of too few shards one worker more would have nothing to copy.
    more = known.more if profile.workers >= profile.parallelism else ""
    way_out = known.way_out + more.format(profile.parallelism)
    return f"{known.what} took {found[step]:.0%} of the time: {way_out}."


def _case(step: str, *, swaps: bool, publish: Mode, way: ExportWay | None) -> str:
    """The step, more exactly where what helps depends on how it was done."""
    if step == "publish":
        return "swap" if swaps else "replace" if publish is Mode.REPLACE else step
    if step == "export" and way is ExportWay.EXTRACT:
        return "extract"
    return "streams" if step == "download" and way is ExportWay.READ_API else step
