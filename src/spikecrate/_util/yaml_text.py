"""Read YAML as JSON values, with the line of every value.

Scalars are read by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `on`, `no`, dates and
`1:30` are text, unlike in PyYAML's own constructors. Aliases, tags and keys that occur twice are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from yaml.nodes import Node

Place = tuple[str | int, ...]
"""Keys and positions that lead from the root to a value."""

WHOLE: Final = re.compile(r"[-+]?[0-9]{1,300}")
REAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
MOST_DEPTH: Final = 100
"""Deepest nesting: the time that PyYAML takes grows with its square."""
TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
"""Tags that PyYAML gives to values without one."""


class YamlError(ValueError):
    """A text is not the YAML that is read here.

    Parameters
    ----------
    line : int
        The line, from 1.
    problem : str
        What is wrong there.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML document.

    Attributes
    ----------
    value : JSON value
        Its content.
    lines : dict
        Line of every value by its place, from 1; that of an entry of a mapping is the line of its key.
    """

    value: Any
    lines: dict[Place, int]


def read_yaml(text: str) -> Document:
    r"""Read one YAML document.

    Parameters
    ----------
    text : str
        The document.

    Returns
    -------
    Document

    Raises
    ------
    YamlError
        The text is not YAML, holds several documents, an alias, a tag, or a key twice.

    Examples
    --------
    >>> document = read_yaml("a: 1\nb: [on, 2.5]\n")
    >>> document.value, document.lines["b", 1]
    ({'a': 1, 'b': ['on', 2.5]}, 2)
    """
    import yaml

    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise YamlError(_line(event.start_mark), "it is nested too deep")
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(_line(event.start_mark), f"the alias *{event.anchor}; write the value itself")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {(): 1}
        return Document(value=None if root is None else _value(root, (), lines), lines=lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(filter(None, (error.context, error.problem)))
        raise YamlError(_line(mark), words) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"the character {chr(error.character)!r} is not allowed") from None


def _value(node: Node, place: Place, lines: dict[Place, int]) -> Any:
    import yaml

    if node.tag not in TAGS:
        raise YamlError(_line(node.start_mark), f"the tag {node.tag}")
    lines.setdefault(place, _line(node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*place, number), lines) for number, child in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node.value) if node.style is None else node.value
    found: dict[str, Any] = {}
    for key, child in node.value:
        line = _line(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(line, "a key is a list or a mapping")
        if key.value in found:
            raise YamlError(
                line, f"the key {key.value!r} occurs twice; it is on line {lines[(*place, key.value)]} too"
            )
        lines[(*place, key.value)] = line
        found[key.value] = _value(child, (*place, key.value), lines)
    return found


def _line(mark: Any) -> int:
    """Return the line of a mark, from 1; 1 where there is none."""
    return 1 if mark is None else int(mark.line) + 1


def _scalar(text: str) -> Any:
    """Return the value of a plain scalar."""
    if text in WORDS:
        return WORDS[text]
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if REAL.fullmatch(text) else text
