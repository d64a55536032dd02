"""Frozen value classes that cost nothing to define: `dataclasses` takes 13 ms to import, a jailed run 3.

A type checker sees real frozen dataclasses. At run time `dataclasses.replace`, `fields`, `asdict` and
`is_dataclass` work too: what they look for is made when one of them asks for it.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"
from __future__ import annotations

TYPE_CHECKING = False

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen):
        """Class decorator, used as `@record(frozen=True)`: what `dataclasses.dataclass` does, in 10 µs a
        class. Fields are the annotated names; `__post_init__` may check them. Records do not inherit from
        records."""
        assert frozen, "records are frozen"
        return _make


def _make(cls):
    cls.__match_args__ = names = tuple(cls.__annotations__)
    cls._record_names = frozenset(names)
    cls._record_defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    cls._record_check = cls.__dict__.get("__post_init__")
    for method in (__init__, __eq__, __hash__, __repr__, __setattr__, __delattr__, __replace__):
        setattr(cls, method.__name__, method)
    cls.__dataclass_fields__ = _Lazy(lambda real: real.__dataclass_fields__)
    cls.__signature__ = _Lazy(_signature)
    return cls


def __init__(self, /, *args, **named):
    names, values = self.__match_args__, self.__dict__
    if len(args) < len(names):
        values.update(self._record_defaults)
    values.update(zip(names, args, strict=False))
    values.update(named)
    if values.keys() != self._record_names or len(args) > len(names) or (args and named):
        _check_given(self, args, named)
    if self._record_check is not None:
        self.__post_init__()


def _check_given(self, args, named):
    """Raise TypeError, as a function with these parameters does, unless each field has one value."""
    names, what = self.__match_args__, type(self).__name__
    if len(args) > len(names):
        raise TypeError(f"{what}() takes {len(names)} values, {len(args)} were given")
    for name in named.keys() - self._record_names.difference(names[: len(args)]):
        wrong = "multiple values for argument" if name in names else "an unexpected keyword argument"
        raise TypeError(f"{what}() got {wrong} {name!r}")
    missing = ", ".join(repr(name) for name in names if name not in self.__dict__)
    if missing:
        raise TypeError(f"{what}() is missing {missing}")


def __eq__(self, other):
    return self.__dict__ == other.__dict__ if other.__class__ is self.__class__ else NotImplemented


def __hash__(self):
    return hash((self.__class__, *map(self.__dict__.__getitem__, self.__match_args__)))


def __repr__(self):
    inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({inner})"


def __setattr__(self, name, _value):
    raise AttributeError(
        f"cannot assign to {name!r}: {type(self).__name__} is frozen; use dataclasses.replace"
    )


def __delattr__(self, name):
    raise AttributeError(f"cannot delete {name!r}: {type(self).__name__} is frozen")


def __replace__(self, /, **changes):
    return type(self)(**{**self.__dict__, **changes})


class _Lazy:
    """A class attribute read off the equivalent real dataclass, which is made at the first look."""

    def __init__(self, read):
        self.read = read

    def __get__(self, _instance, owner):
        import dataclasses

        defaults = owner._record_defaults
        real = dataclasses.make_dataclass(
            owner.__name__,
            [
                (name, kind, dataclasses.field(default=defaults[name])) if name in defaults else (name, kind)
                for name, kind in owner.__annotations__.items()
            ],
            frozen=True,
        )
        return self.read(real)


def _signature(real):
    import inspect

    return inspect.signature(real).replace(return_annotation=inspect.Signature.empty)
