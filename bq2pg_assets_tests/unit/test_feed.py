"""Which part of which shard a worker gets, and when shards are begun and let go.

Belongs here: the order of steps, on a store that only notes them. Does not: reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bq2pg_assets.engine.cancel import CancelToken
from bq2pg_assets.engine.feed import Feed, Part
from bq2pg_assets.engine.model import Shard


@dataclass(frozen=True)
class APart:
    shard: Shard
    row_groups: tuple[int, ...]


@dataclass
class Fetched:
    store: "Noting"
    shard: Shard

    def parts(self, wanted: int, *, staged: Sequence[int] = ()) -> list[APart]:
        groups = [i for i in range(self.store.groups) if i not in staged]
        taken = [tuple(groups[start::wanted]) for start in range(wanted)]
        self.store.notes.append(f"cut {self.shard.uri} {wanted}")
        return [APart(self.shard, groups) for groups in taken if groups]

    def close(self) -> None:
        self.store.notes.append(f"close {self.shard.uri}")


@dataclass
class Noting:
    groups: int = 4
    ahead: int = 1
    notes: list[str] = field(default_factory=list)

    def fetch(self, shard: Shard, *, piece: int, cancel: CancelToken) -> Fetched:
        self.notes.append(f"fetch {shard.uri}")
        return Fetched(self, shard)

    def on_disk(self) -> int:
        kinds = [note.split()[0] for note in self.notes]
        return kinds.count("fetch") - kinds.count("close")


def feed(store: Noting, names: str, *, workers: int, **staged: Sequence[int]) -> Feed:
    shards = [Shard(name, 1, 1) for name in names]
    return Feed(
        shards,
        store=store,  # type: ignore[arg-type]
        workers=workers,
        piece=1_000,
        cancel=CancelToken(),
        staged=staged,
    )


def all_parts(source: Feed) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    while (part := source.take()) is not None:
        found.append((part.shard.uri, part.row_groups))
        source.done(part)
    return found


def test_every_shard_is_handed_out_once_and_the_next_is_begun_before_it_is_asked_for() -> None:
    store = Noting()
    with feed(store, "abc", workers=1) as source:
        assert all_parts(source) == [(name, (0, 1, 2, 3)) for name in "abc"]
    assert store.notes == [
        *["fetch a", "fetch b", "cut a 1", "close a"],
        *["fetch c", "cut b 1", "close b"],
        *["cut c 1", "close c"],
    ]


def test_the_last_shards_fewer_than_the_workers_are_cut_for_all_of_them() -> None:
    with feed(Noting(), "abc", workers=2) as source:
        assert all_parts(source) == [
            ("a", (0, 1, 2, 3)),
            ("b", (0, 1, 2, 3)),
            ("c", (0, 2)),
            ("c", (1, 3)),
        ]


def test_a_shard_is_let_go_with_its_last_part_and_never_more_than_one_is_ahead() -> None:
    store = Noting()
    with feed(store, "abcdef", workers=3) as source:
        taken = list[Part]()
        while (part := source.take()) is not None:
            taken.append(part)
            assert store.on_disk() <= 4
            if len(taken) == 3:
                for one in taken:
                    source.done(one)
                taken.clear()
    assert store.on_disk() == 0


def test_a_run_that_stops_lets_everything_go() -> None:
    store = Noting()
    with feed(store, "abcd", workers=2) as source:
        assert source.take() is not None
        assert source.take() is not None
    assert store.on_disk() == 0


def test_what_is_staged_is_left_out_and_a_shard_without_more_is_passed_over() -> None:
    store = Noting()
    with feed(store, "abc", workers=1, a=[0, 2], b=range(4)) as source:
        assert all_parts(source) == [("a", (1, 3)), ("c", (0, 1, 2, 3))]
    assert store.on_disk() == 0


def test_streams_are_opened_only_when_a_worker_asks() -> None:
    store = Noting(ahead=0)
    with feed(store, "ab", workers=1) as source:
        assert all_parts(source) == [(name, (0, 1, 2, 3)) for name in "ab"]
    assert store.notes == [
        *["fetch a", "cut a 1", "close a"],
        *["fetch b", "cut b 1", "close b"],
    ]
