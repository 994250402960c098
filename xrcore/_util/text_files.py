"""Read small files that people or programs wrote: bytes of a limited size, JSON and YAML."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any

import yaml

from xrcore._util.errors import XrcoreError, shown
from xrcore._util.input_files import file_size, open_file

_MOST_LEVELS = 32  # of lists in lists
_MOST_DIGITS = 18  # of an integer in JSON: below 2**63


def read_bytes(path: str | os.PathLike[str], largest: int) -> bytes:
    """Read a file whole, if it is a regular file of at most so many bytes.

    Parameters
    ----------
    path : str or path
        The file.
    largest : int
        Most bytes that are read.

    Returns
    -------
    bytes
        What is in it.

    Raises
    ------
    XrcoreError
        If it is missing, no file (a folder, pipe or device is never waited for), too large, or cannot be read.
    """
    with open_file(path) as file:
        size = file_size(file)
        if size > largest:
            raise XrcoreError(f"{path}: too large: {size} bytes, and at most {largest} are read; is it the right file?")
        try:
            content = file.read(size + 1)
        except OSError as error:
            raise XrcoreError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(content) != size:
        raise XrcoreError(f"{path}: changed while it was read; try again")
    return content


def read_json(path: str | os.PathLike[str], largest: int = 10_000_000) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or path
        The file.
    largest : int
        Most bytes that are read.

    Returns
    -------
    object
        Of dicts, lists, text, bools, None and finite numbers.

    Raises
    ------
    XrcoreError
        If it cannot be read, or is not JSON; NaN, infinity, integers of 19 and more digits and repeated keys are refused too.
    """
    content = read_bytes(path, largest)
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_constant=_refused,
            parse_int=_integer,
            parse_float=_finite,
            object_pairs_hook=_pairs,
        )
    except UnicodeDecodeError:
        raise XrcoreError(f"{path}: not valid JSON (not UTF-8)") from None
    except json.JSONDecodeError as error:
        raise XrcoreError(f"{path}: not valid JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise XrcoreError(f"{path}: not valid JSON ({reason})") from None


def read_yaml(path: str | os.PathLike[str], largest: int = 1_000_000) -> Any:
    """Read a YAML file.

    Numbers are those of YAML 1.2: 1e3 is a number; 1:30, 1_000 and a date are text. Besides, true, yes and on (false, no, off) are bools.

    Parameters
    ----------
    path : str or path
        The file.
    largest : int
        Most bytes that are read.

    Returns
    -------
    object
        Of dicts, lists, text, bools, None, integers and floats.

    Raises
    ------
    XrcoreError
        If it cannot be read, or is not YAML; aliases, tags, repeated keys and more than 32 levels are refused too.
    """
    content = read_bytes(path, largest)
    try:
        return parse_yaml(content)
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None


def parse_yaml(text: str | bytes) -> Any:
    """Read YAML as `read_yaml` does.

    Parameters
    ----------
    text : str or bytes
        One document.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    XrcoreError
        Saying what is wrong in which line.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f", line {mark.line + 1}"
        what = " ".join([error.context or "", error.problem or ""]).split()
        raise XrcoreError(f"not valid YAML ({' '.join(what)}{where})") from None
    except yaml.YAMLError as error:
        raise XrcoreError(f"not valid YAML ({shown(str(error))})") from None
    except (ValueError, RecursionError):  # such as an escape of no character
        raise XrcoreError("not valid YAML") from None


class _Loader(yaml.SafeLoader):
    """YAML without aliases, tags, merging and dates, with unique keys and the numbers of YAML 1.2."""

    # the table of the base class, of bools, null and "=" as there
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        mark = event.start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not read: write the value out", problem_mark=mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="tags are not read: leave out what begins with !", problem_mark=mark)
        if self._level >= _MOST_LEVELS:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        self._level += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {shown(key)} stands there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def number(self, node: yaml.ScalarNode) -> int | float:
        text = str(self.construct_scalar(node))
        if not re.fullmatch(_INTEGER, text):
            return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan"))
        if len(text) > 100:
            raise yaml.MarkedYAMLError(problem=f"a number of {len(text)} digits", problem_mark=node.start_mark)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_INTEGER = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan"
_BOOL, _NULL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
for _first, _resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
    _Loader.yaml_implicit_resolvers[_first] = [(tag, pattern) for tag, pattern in _resolvers if tag in (_BOOL, _NULL)]
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"^(?:{_INTEGER}|{_FLOAT})$"), list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {shown(text)} is too large")
    return number


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} stands there twice")
    return found
