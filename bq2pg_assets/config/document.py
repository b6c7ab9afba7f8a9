"""One YAML file as data that still knows its lines.

Belongs here: reading YAML text, what YAML itself gets wrong or reads otherwise than people do
(repeated keys, `no` as a key, dates, base-60 numbers), and the line of each value. Does not: what
the data mean (table.py), files and folders (load.py).

YAML 1.1 (PyYAML) and 1.2 (editors) read `no`, `on`, `2024-01-31` and `1:30` differently; where a
text is expected they are refused until they are quoted, so that a file means one thing only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bq2pg_assets.config.problems import Loc, dotted, quote_it

try:
    # 1,000 files of 15 lines: 0.17 s with libyaml, 1.3 s without.
    from yaml import CSafeLoader as Loader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

TAG = "tag:yaml.org,2002:"
KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}
KEY_KINDS = KINDS | {"null": "nothing"}
HINTS = {
    "tab character": "indent with spaces, not with tabs",
    "scanning an alias": "quote a value that begins with *",
    "undefined alias": "quote a value that begins with *",
    "scanning an anchor": "quote a value that begins with &",
    "mapping values are not allowed": "quote a value that holds a colon and a space",
    "expected a single document": "keep one table in one file, without ---",
    "constructor for the tag": "leave the !tag out, or quote a value that begins with !",
}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `data` is None for an empty one.

    `problems` are whole sentences that begin with file and line; `unusable` says that they leave
    nothing of `data`.
    """

    file: str
    data: Any = None
    problems: tuple[str, ...] = ()
    unusable: bool = False
    root: Node | None = field(default=None, repr=False)

    def depth(self, path: Loc) -> int:
        """How many parts of `path` are in the file."""
        return len(self._pairs(path))

    def at(self, path: Loc) -> str:
        """`file:line` of the last part of `path` that is there; the file alone when none is."""
        pairs = self._pairs(path)
        return f"{self.file}:{pairs[-1][0].start_mark.line + 1}" if pairs else self.file

    def misread(self, path: Loc) -> tuple[str, str] | None:
        """The text at `path` and what YAML takes it for, when it is unquoted and no string."""
        pairs = self._pairs(path)
        if not pairs or len(pairs) < len(path):
            return None
        value, kind = pairs[-1][1], KINDS.get(pairs[-1][1].tag.removeprefix(TAG))
        return (value.value, kind) if kind and not value.style else None

    def _pairs(self, path: Loc) -> list[tuple[Node, Any]]:
        """Key and value node of each part of `path`, as far as it goes; an item is its own key."""
        pairs: list[tuple[Node, Any]] = []
        node = self.root
        for part in path:
            pair = _member(node, part)
            if pair is None:
                break
            pairs.append(pair)
            node = pair[1]
        return pairs


def read_document(content: bytes, *, file: str) -> Document:
    """Parse the content of one file. What is wrong with it is in `problems`, never raised."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        sentence = f"byte {content[error.start]:#04x} is not UTF-8 text; save the file as UTF-8"
        return _unusable(f"{file}:{line}", sentence)
    loader = Loader(text)
    try:
        root = loader.get_single_node()
        problems = tuple(f"{file}:{line}: {said}" for line, said in _repair(root, (), set()))
        data = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        hint = next((hint for words, hint in HINTS.items() if words in said), None)
        if hint is None and mark is not None and "cannot start any token" in said:
            hint = _bad_start(text.splitlines()[mark.line][mark.column :][:1])
        lines = max(1, len(text.splitlines()))
        where = file if mark is None else f"{file}:{min(mark.line + 1, lines)}"
        return _unusable(where, f"this is not YAML: {said}" + (f"; {hint}" if hint else ""))
    except yaml.YAMLError as error:
        return _unusable(file, f"this is not YAML: {str(error).splitlines()[0]}")
    except RecursionError:
        return _unusable(file, "this is nested too deeply; a table needs three levels")
    except (ValueError, LookupError, AttributeError) as error:
        # PyYAML's constructors let these through, for example for !!int without a number.
        return _unusable(file, f"a value is not of its kind ({error}); remove its !! or quote it")
    finally:
        loader.dispose()
    return Document(file, data, problems, root=root)


def _unusable(where: str, sentence: str) -> Document:
    return Document(where.partition(":")[0], problems=(f"{where}: {sentence}",), unusable=True)


def _bad_start(character: str) -> str:
    if character == "\t":
        return "indent with spaces, not with tabs"
    return f"quote a value that begins with {character}"


def _repair(node: Node | None, path: Loc, seen: set[int]) -> Iterator[tuple[int, str]]:
    """Each repeated or misread key and each misread date or base-60 number, as line and sentence.

    Misread scalars become strings, so that the rest of the file can be judged as it was meant.
    """
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        yield from _repair_keys(node, path)
        for key, value in node.value:
            yield from _repair(value, (*path, str(key.value)), seen)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repair(value, (*path, index), seen)
    elif isinstance(node, ScalarNode) and not node.style:
        kind = node.tag.removeprefix(TAG)
        if kind == "timestamp" or (kind in ("int", "float") and ":" in node.value):
            node.tag = TAG + "str"
            what = "a date" if kind == "timestamp" else "a number in base 60"
            yield node.start_mark.line + 1, f"{dotted(path)}: {quote_it(node.value, what)}"


def _repair_keys(node: MappingNode, path: Loc) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag == TAG + "merge":
            continue
        line, kind = key.start_mark.line + 1, KEY_KINDS.get(key.tag.removeprefix(TAG))
        if earlier := first.get(key.value):
            name = dotted((*path, key.value))
            yield line, f"{name} is given twice, first in line {earlier}; keep one"
        first.setdefault(key.value, line)
        if kind and not key.style:
            key.tag = TAG + "str"
            yield line, f"the key {dotted((*path, key.value))}: {quote_it(key.value, kind)}"


def _member(node: Any, part: str | int) -> tuple[Node, Any] | None:
    if isinstance(node, MappingNode):
        return next((pair for pair in reversed(node.value) if pair[0].value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
