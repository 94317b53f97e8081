"""Python's pickles, of which only plain values are read: a machine of its own, which makes nothing else.

Loading a pickle runs whatever its author wants. Here no class is looked up, nothing is called and no
registry is asked: an opcode that is not one of those below ends it, before anything of it is done. An allow-list in
front of the real unpickler would do, but for one mistake in it; this has nothing to hide from.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from proxy.core.formats.refusal import BadSession

MAX_OPCODES: Final = 20_000
"""They are done one by one, while everybody waits: so many take some 30 ms."""
_MARK: Final = object()
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUSHED: Final = frozenset(
    {
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
        "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    }
)  # fmt: skip
"""Opcodes that push their argument."""
_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": list,
    "EMPTY_SET": list,
}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED: Final = frozenset({"PROTO", "FRAME"})


def read(raw: bytes) -> Any:
    """Return the value of a pickle; tuples and sets as lists. Raises `BadSession`.

    It may refer to itself: `plain` makes it bounded.
    """
    machine = _Machine(len(raw))
    stream = BytesIO(raw)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                break
            machine.do(opcode.name, argument)
    except BadSession:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError):
        raise BadSession("a pickle that is damaged") from None
    if stream.read(1):
        raise BadSession("something behind the pickle")
    return machine.result()


class _Machine:
    """A stack, marks in it, and a memo."""

    def __init__(self, size: int) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._size = size
        self._left = MAX_OPCODES

    def do(self, name: str, argument: Any) -> None:
        """Do one opcode; raises `BadSession`, and what a damaged pickle brings about."""
        stack = self._stack
        self._left -= 1
        if self._left < 0:
            raise BadSession(f"more than {MAX_OPCODES} opcodes")
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _MAKERS:
            stack.append(_MAKERS[name]())
        elif name in _TUPLES:
            self._push_list(self._pop(_TUPLES[name]))
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE", "LIST"):
            self._push_list(self._to_mark())
        elif name == "DICT":
            items = self._to_mark()
            stack.append({})
            self._set_items(items)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            self._append(self._pop(1) if name == "APPEND" else self._to_mark())
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items(self._pop(2) if name == "SETITEM" else self._to_mark())
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            self._remember(len(self._memo) if name == "MEMOIZE" else argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name not in _IGNORED:
            raise BadSession(_why_not(name, argument))

    def result(self) -> Any:
        """Return the one value that is left."""
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise BadSession("a pickle that is damaged")
        return self._stack[0]

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count or any(one is _MARK for one in self._stack[-count:]):
            raise BadSession("a pickle that is damaged")
        found = self._stack[-count:]
        del self._stack[-count:]
        return found

    def _to_mark(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                found = self._stack[index + 1 :]
                del self._stack[index:]
                return found
        raise BadSession("a pickle that is damaged")

    def _push_list(self, items: list[Any]) -> None:
        self._stack.append(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise BadSession("a pickle that is damaged")
        target += items

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise BadSession("a pickle that is damaged")
        for name, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(name, str | int):
                raise BadSession("a name that is no text")
            target[name] = value

    def _remember(self, index: int) -> None:
        if index > self._size or self._stack[-1] is _MARK:
            raise BadSession("a pickle that is damaged")
        self._memo[index] = self._stack[-1]


def _why_not(name: str, argument: Any) -> str:
    """Return what an application would have to leave out; names of classes are no secret."""
    if name == "GLOBAL" and isinstance(argument, str) and len(argument) < 200:
        return f"an object of {argument.replace(' ', '.')}, and no objects are read"
    if name in {"STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}:
        return "an object, and only plain values are read"
    return f"the opcode {name}, and only plain values are read"
