"""The pickles of ``torch.save``, interpreted as data.

A pickle is a program for a stack machine, two of whose instructions call whatever they name. This machine has
none that calls: it knows the instructions that dictionaries of tensors are written with (the list of the
standard library's ``pickletools``), a tensor becomes a description of where its values lie, and a name that
is not one of torch's few is refused. Nothing is imported and no code of the file's choosing can run.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from fieldwave.errors import WeightsError

__all__ = ["DamagedPickle", "PickledTensor", "Storage", "interpret"]

_MOST_INSTRUCTIONS = 1_000_000  # a state dict of a thousand tensors takes 50,000


@dataclass(frozen=True)
class Storage:
    """Values in a row somewhere in the file; ``offset`` where it is a view, in values."""

    key: str
    dtype: str
    count: int
    offset: int = 0


@dataclass(frozen=True)
class PickledTensor:
    """A tensor on a storage; offset and strides in values, not in bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Stream(Protocol):
    """What pickletools reads from: an open file, or a mapped one."""

    def read(self, count: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


class DamagedPickle(Exception):
    """The bytes are no pickle, or not one that torch.save writes."""


def interpret(stream: Stream, origin: str) -> Any:
    """The value of the pickle at the stream's position, which then stands behind it.

    ``origin`` is the file's name, for messages.

    Raises:
        WeightsError: the pickle holds something that is no tensor; the message names it.
        DamagedPickle: it is damaged.
    """
    machine = _Machine(origin)
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # damaged text, to pickletools
            return machine.value(stream)
    except WeightsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedPickle(str(error)) from error


_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


@dataclass(frozen=True)
class _Name:
    """Something that the pickle wants to have; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_MARK = object()

# What a name that may be called stands for, given its arguments. All of torch's make a tensor from a storage.
_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda pairs=(): dict(_pair(pair) for pair in pairs),
    "torch._utils._rebuild_tensor": lambda storage, offset, shape, strides: _tensor(
        storage, offset, shape, strides
    ),
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, strides, *_: _tensor(
        storage, offset, shape, strides
    ),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.nn.parameter.Parameter": lambda tensor, *_: tensor,
    "torch.Size": lambda sizes=(): tuple(sizes),
}


class _Machine:
    """The stack, the marks and the memo; one method for each instruction that is not a constant."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def value(self, stream: Stream) -> Any:
        """Run to the end, and what is on the stack then."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
            if count >= _MOST_INSTRUCTIONS:
                raise WeightsError(
                    f"{self._origin}: its pickle is longer than that of any state dict; it was not read"
                )
            if opcode.name == "STOP":
                return self.pop()
            self.run(opcode.name, argument)
        raise DamagedPickle("it has no end")

    def pop(self) -> Any:
        return self._stack.pop()

    def run(self, instruction: str, argument: Any) -> None:
        if instruction in _IGNORED:
            return
        if instruction in _ARGUMENTS:
            self._stack.append(argument)
        elif instruction in _CONSTANTS:
            self._stack.append(_CONSTANTS[instruction]())
        elif instruction in _TUPLES:
            count = _TUPLES[instruction]
            self._stack[-count:] = [tuple(self._operands(count))]
        elif instruction in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self._stack[-1]
        elif instruction in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[argument])
        else:
            method = getattr(self, f"_{instruction.lower()}", None)
            if method is None:
                raise self._refusal(f"the pickle instruction {instruction}")
            method(argument)

    def _memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _mark(self, argument: Any) -> None:
        self._stack.append(_MARK)

    def _tuple(self, argument: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _list(self, argument: Any) -> None:
        self._stack.append(self._marked())

    def _dict(self, argument: Any) -> None:
        self._stack.append({})
        self._set_items(self._marked_before_top())

    def _append(self, argument: Any) -> None:
        value = self.pop()
        self._stack[-1].append(value)

    def _appends(self, argument: Any) -> None:
        values = self._marked()
        self._stack[-1].extend(values)

    def _setitem(self, argument: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set_items([key, value])

    def _setitems(self, argument: Any) -> None:
        self._set_items(self._marked())

    def _global(self, argument: Any) -> None:
        module, name = argument.split(" ", 1)
        self._stack.append(self._named(module, name))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        self._stack.append(self._named(module, name))

    def _reduce(self, argument: Any) -> None:
        arguments, maker = self.pop(), self.pop()
        if not isinstance(maker, _Name) or str(maker) not in _MAKERS:
            raise self._refusal(f"a call of {maker if isinstance(maker, _Name) else 'a value'}")
        self._stack.append(_MAKERS[str(maker)](*arguments))

    def _build(self, argument: Any) -> None:
        """Attributes of what is on the stack: of a dictionary (``_metadata``) or a parameter; not needed."""
        self.pop()

    def _binpersid(self, argument: Any) -> None:
        kind, storage, key, _, count, *view = self.pop()
        if kind != "storage" or not isinstance(storage, _Name) or storage.name not in _DTYPES:
            raise self._refusal("an object of its own kind")
        offset = view[0][1] if view and view[0] is not None else 0
        self._stack.append(Storage(_text(key), _DTYPES[storage.name], _natural(count), _natural(offset)))

    def _named(self, module: str, name: str) -> _Name:
        known = f"{module}.{name}" in _MAKERS or (module in ("torch", "torch.cuda") and name in _DTYPES)
        if not known:
            raise self._refusal(f"{module}.{name}")
        return _Name(module, name)

    def _operands(self, count: int) -> list[Any]:
        operands = self._stack[-count:]
        if len(operands) < count or any(value is _MARK for value in operands):
            raise ValueError("the stack holds too little")
        return operands

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which goes with it."""
        values = []
        while (value := self.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _marked_before_top(self) -> list[Any]:
        top = self.pop()
        values = self._marked()
        self._stack.append(top)
        return values

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A key of nested tuples could take a year to hash.
            if not isinstance(key, str | int):
                raise self._refusal("a dictionary whose keys are neither text nor numbers")
            target[key] = value

    def _refusal(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self._origin} holds {what}, which is no tensor: nothing of it was run; "
            "save the tensors alone, with torch.save(model.state_dict(), path)"
        )


_IGNORED = {"PROTO", "FRAME"}
_ARGUMENTS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> PickledTensor:
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("not the arguments of a tensor")
    place = storage.offset + _natural(offset)
    return PickledTensor(storage, place, tuple(map(_natural, shape)), tuple(map(_natural, strides)))


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("a size is no natural number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a storage's key is no text")
    return value


def _pair(value: Any) -> tuple[str, Any]:
    key, item = value
    return _text(key), item
