"""Reads pickles of dictionaries of integer arrays, as label files are, without unpickling them.

A small machine follows the few opcodes that such files have. It calls nothing and sets no
attribute: what a file names or builds becomes a record of ours. Nothing is copied or compared
before it is known to be a short text or a number, so that time and memory grow with the file alone.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Any

import numpy as np

MOST_BYTES = 2**24  # CIFAR-10's file has 2.4 MB
MOST_STEPS = 500_000  # CIFAR-100's file has 101,000, most of them in lists of coarse labels

# A pickle of NumPy arrays names these (NumPy 1 and 2).
ARRAY = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
DTYPE, BYTES = "numpy dtype", "_codecs encode"
NAMES = {*ARRAY, DTYPE, BYTES, "numpy ndarray"}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
VALUES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict,
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name:
    """What a file names."""

    def __init__(self, name: str):
        self.name = name


class Record:
    """What a file makes by a name and arguments, and the state that it gives to it."""

    def __init__(self, name: str, arguments: tuple):
        self.name, self.arguments, self.state = name, arguments, ()


def load(stream: IO[bytes]) -> Any:
    """Returns the first value of a stream, made of numbers, texts, containers and Records.

    Raises:
      ValueError: if the file has what such files do not need; other types for a torn one.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if step == MOST_STEPS:
            raise ValueError(f"it has more than {MOST_STEPS} steps")
        code = opcode.name
        if code in LITERALS:
            stack.append(argument)
        elif code in VALUES:
            stack.append(VALUES[code]())
        elif code in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif code in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif code == "MARK":
            marks.append(len(stack))
        elif code in TUPLES:
            stack[-TUPLES[code] :] = [tuple(stack[-TUPLES[code] :])]
        elif code in ("TUPLE", "SETITEMS", "APPENDS"):
            _close(code, stack, marks.pop())
        elif code in ("SETITEM", "APPEND"):
            _close(code + "S", stack, len(stack) - (2 if code == "SETITEM" else 1))
        elif code in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_named(argument or f"{_text(stack.pop(-2))} {_text(stack.pop())}"))
        elif code in ("REDUCE", "BUILD"):
            _make(code, stack, stack.pop())
        elif code == "STOP":
            return stack.pop()
        elif code not in ("PROTO", "FRAME"):
            raise ValueError(f"it has an opcode {code}, which label files do not need")
    raise ValueError("it ends early")


def _close(code: str, stack: list, mark: int) -> None:
    """Puts what lies above the mark into a tuple, a dictionary or a list."""
    items = stack[mark:]
    del stack[mark:]
    if code == "TUPLE":
        stack.append(tuple(items))
    elif code == "APPENDS" and isinstance(stack[-1], list):
        stack[-1].extend(items)
    elif code == "SETITEMS" and isinstance(stack[-1], dict):
        stack[-1].update(zip(map(_text, items[::2]), items[1::2], strict=True))
    else:
        raise ValueError("it adds items to what is no list or dictionary")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError(f"it has {type(value).__name__} where a short text belongs")
    return value


def _named(name: str) -> Name:
    if name not in NAMES:
        said = repr(name.replace(" ", ".", 1)[:100])[1:-1]  # without a line's end
        raise ValueError(f"it names {said}, which label files do not need")
    return Name(name)


def _make(code: str, stack: list, value: Any) -> None:
    """Makes a Record of a name and arguments, or keeps a Record's state."""
    on, wanted = stack[-1], Name if code == "REDUCE" else Record
    if not isinstance(on, wanted) or not isinstance(value, tuple):
        raise ValueError(f"it applies {code} to {type(on).__name__} and {type(value).__name__}")
    if isinstance(on, Name):
        stack[-1] = Record(on.name, value)
    else:
        on.state = value


def contents(value: Any) -> Any:
    """Returns what an array of one object holds, as in a .npy file of a dictionary."""
    (content,) = value.state[4]
    return content


def labels(value: Any) -> np.ndarray:
    """Returns a row of integers that a file gives as an array.

    Raises:
      ValueError: if it is something else.
    """
    if not isinstance(value, Record) or value.name not in ARRAY or len(value.state) != 5:
        raise ValueError(f"its labels are no array, but {type(value).__name__}")
    _, shape, dtype, _, content = value.state
    array = np.frombuffer(_bytes(content), _dtype(dtype))
    if not isinstance(shape, tuple) or shape != (len(array),):
        raise ValueError(f"its labels are not a row of {len(array)}")
    return array


def _dtype(value: Any) -> np.dtype:
    if not isinstance(value, Record) or value.name != DTYPE:
        raise ValueError(f"its labels have {type(value).__name__} for a dtype")
    name = _text(value.arguments[0])
    if name not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        raise ValueError(f"its labels are of type {name!r}, not integers")
    big = len(value.state) > 1 and value.state[1] == ">"
    return np.dtype((">" if big else "<") + name)


def _bytes(value: Any) -> bytes:
    """Returns bytes, which old protocols write as a text to be encoded."""
    if isinstance(value, Record) and value.name == BYTES:
        value = value.arguments[0]
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes):
        raise ValueError(f"its labels are in {type(value).__name__}, not bytes")
    return value
