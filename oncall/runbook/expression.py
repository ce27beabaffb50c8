"""The small grammar of conditions: arithmetic and comparisons over named readings, three-valued.

An expression is parsed once, into a tree of allowed nodes; nothing is ever executed. What could not be read
is `Unknown` and stays so through arithmetic; `and`, `or` and `not` follow Kleene: `false and unknown` is
false. A result that rests on too short a history is marked weak.
"""

import ast
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from oncall.model import Scalar


class Value(NamedTuple):
    """A result: `value` None is unknown, and then `missing` names what could not be read."""

    value: Scalar
    missing: frozenset[str] = frozenset()
    weak: bool = False

    @property
    def known(self) -> bool:
        return self.value is not None

    def truth(self) -> bool | None:
        return None if self.value is None else bool(self.value)

    def number(self) -> float | None:
        """As a finite float; None for text and for what is unknown."""
        if self.value is None or isinstance(self.value, str):
            return None
        return float(self.value) if math.isfinite(self.value) else None


Lookup = Callable[[str], Value]

_MAX_LENGTH = 500
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_NUMERIC: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "log": math.log,
    "ceil": math.ceil,
}
# These take names of steps or signals, not their values: so many of them.
_OF_NAME = {"count": 1, "absence": 1, "along": 2}
FUNCTIONS = frozenset({*_NUMERIC, *_OF_NAME, "first", "known", "roughly", "given"})


class Expression:
    """A parsed condition or formula."""

    def __init__(self, text: str) -> None:
        """Raises ValueError that says what is not allowed."""
        self.text = text
        if len(text) > _MAX_LENGTH:
            raise ValueError(f"longer than {_MAX_LENGTH} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = getattr(error, "msg", None) or "cannot be parsed"
            raise ValueError(f"{text!r}: {what}") from None
        self.names: frozenset[str] = frozenset(_check(self._tree))
        """Every name it reads, with its attribute: `pool_active`, `sessions.active`, `count(locks)`."""

    def evaluate(self, lookup: Lookup) -> Value:
        return _evaluate(self._tree, lookup)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _check(node: ast.expr) -> list[str]:
    """The names below a node. Raises ValueError at the first thing that the grammar does not have."""
    name = _dotted(node)
    if name:
        return [name]
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.BoolOp(values=parts):
            return [n for part in parts for n in _check(part)]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=inner):
            return _check(inner)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _ARITHMETIC:
            return _check(left) + _check(right)
        case ast.Compare(ops=ops, left=left, comparators=rest):
            if not all(type(op) in _COMPARE or isinstance(op, ast.Eq | ast.NotEq) for op in ops):
                raise ValueError("compare with < <= > >= == != only")
            return [n for part in (left, *rest) for n in _check(part)]
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]):
            return _check_call(function, args)
    raise ValueError(
        f"{ast.unparse(node)!r} is not allowed here; allowed are names, numbers, 'text', "
        "+ - * /, comparisons, and, or, not, and " + ", ".join(sorted(FUNCTIONS))
    )


def _check_call(function: str, args: Sequence[ast.expr]) -> list[str]:
    if function not in FUNCTIONS:
        raise ValueError(f"no function {function!r}; there are {', '.join(sorted(FUNCTIONS))}")
    if not args or (function in {"abs", "log", "ceil", "known", "roughly"} and len(args) != 1):
        raise ValueError(f"{function}() takes {'one value' if args else 'a value'}")
    if len(args) != _OF_NAME.get(function, len(args)):
        raise ValueError(f"{function}() takes {'one name' if _OF_NAME[function] == 1 else 'two names'}")
    if function == "given" and len(args) not in (2, 3):
        raise ValueError("given() takes a condition, a value and, if you like, a reason")
    if function in _OF_NAME:
        if not all(isinstance(arg, ast.Name) for arg in args):
            raise ValueError(f"{function}() takes names of steps or signals")
        return [_call_name(function, args)]
    return [n for arg in args for n in _check(arg)]


def _call_name(function: str, args: Sequence[ast.expr]) -> str:
    return f"{function}({','.join(_dotted(arg) or '' for arg in args)})"


def bases(name: str) -> tuple[str, ...]:
    """What a name of `Expression.names` rests on: `locks.pid` on locks, `count(locks)` on locks."""
    inner = name.partition("(")[2].rstrip(")")
    return tuple(inner.split(",")) if inner else (name.partition(".")[0],)


def _evaluate(node: ast.expr, lookup: Lookup) -> Value:
    name = _dotted(node)
    if name:
        return lookup(name)
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return Value(constant)
        case ast.BoolOp(op=op, values=parts):
            return _kleene([_evaluate(p, lookup) for p in parts], stop=isinstance(op, ast.Or))
        case ast.UnaryOp(op=op, operand=inner):
            return _unary(op, _evaluate(inner, lookup))
        case ast.BinOp(op=op, left=left, right=right):
            return _numeric(_ARITHMETIC[type(op)], [_evaluate(left, lookup), _evaluate(right, lookup)])
        case ast.Compare(ops=ops, left=left, comparators=rest):
            values = [_evaluate(part, lookup) for part in (left, *rest)]
            links = [_compare(op, a, b) for op, a, b in zip(ops, values, values[1:], strict=False)]
            return _kleene(links, stop=False)
        case ast.Call(func=ast.Name(id=function), args=args):
            if function in _OF_NAME:
                return lookup(_call_name(function, args))
            return _call(function, [_evaluate(arg, lookup) for arg in args])
    raise AssertionError(f"unchecked node {ast.dump(node)}")


def _together(values: Sequence[Value]) -> tuple[frozenset[str], bool]:
    missing = frozenset().union(*(v.missing for v in values if not v.known))
    return missing, any(v.weak for v in values)


def _kleene(values: Sequence[Value], *, stop: bool) -> Value:
    """`or` with stop=True, `and` with stop=False: one value equal to `stop` decides, whatever is unknown."""
    deciding = [v for v in values if v.truth() is stop]
    if deciding:
        return Value(stop, weak=all(v.weak for v in deciding))
    missing, weak = _together(values)
    return Value(None, missing, weak) if any(not v.known for v in values) else Value(not stop, weak=weak)


def _unary(op: ast.unaryop, inner: Value) -> Value:
    if isinstance(op, ast.Not):
        truth = inner.truth()
        return Value(None if truth is None else not truth, inner.missing, inner.weak)
    return _numeric(lambda a: -a, [inner])


def _numeric(function: Callable[..., float], values: Sequence[Value]) -> Value:
    """A formula over numbers; unknown where one is unknown, is text, or where the result is undefined."""
    missing, weak = _together(values)
    numbers = [v.number() for v in values]
    known = [n for n in numbers if n is not None]
    if len(known) < len(values):
        return Value(None, missing, weak)
    try:
        result = function(*known)
    except (ZeroDivisionError, ValueError, OverflowError):
        return Value(None, missing, weak)
    return Value(result if math.isfinite(result) else None, missing, weak)


def _compare(op: ast.cmpop, a: Value, b: Value) -> Value:
    missing, weak = _together([a, b])
    if not a.known or not b.known:
        return Value(None, missing, weak)
    if isinstance(op, ast.Eq | ast.NotEq):
        return Value((a.value == b.value) is isinstance(op, ast.Eq), weak=weak)
    left, right = a.number(), b.number()
    if left is None or right is None:
        return Value(None, missing, weak)
    return Value(_COMPARE[type(op)](left, right), weak=weak)


def _given(condition: Value, value: Value, reason: Value | None = None) -> Value:
    """The value where the condition holds or cannot be told; unknown, for a reason, where it does not hold."""
    if condition.truth() is not False:
        return value
    return Value(None, frozenset({str(reason.value)} if reason else ()))


def _call(function: str, values: Sequence[Value]) -> Value:
    if function == "known":
        return Value(values[0].known)
    if function == "given":
        return _given(*values)
    if function == "roughly":
        # Good enough here even over a short history: where it only guards against another reading.
        return values[0]._replace(weak=False)
    if function == "first":
        return next((v for v in values if v.known), Value(None, _together(values)[0]))
    return _numeric(_NUMERIC[function], values)
