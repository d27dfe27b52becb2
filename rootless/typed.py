"""What hot modules need of ``typing`` at run time, without loading it: with all it pulls in it takes 8 ms.

To a type checker these are ``typing``'s own. Annotations are never evaluated here, so everything that only
they use is imported under ``if TYPE_CHECKING``.

``NamedTuple``: ``typing``'s compiles every annotation and evaluates a constructor for each class, 0.3 ms a
class, and a run defines about ninety. Making an instance of this one is a little slower, so what is made by
the thousand uses the original.
"""

from __future__ import annotations

#: Type checkers take it for true, by its name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414  the aliases export them
    from typing import cast as cast  # noqa: PLC0414
else:
    from _collections import _tuplegetter

    def cast(kind, value):
        """Return ``value``, which the type checker takes to be of ``kind``."""
        return value

    class _Definition(type):
        """Turns the annotations of a class body into fields."""

        def __new__(mcs, name, bases, body):
            # Strings, since every module here imports annotations from __future__; none where there are no fields.
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one with a default")
            body.update(__slots__=(), _fields=fields, _field_defaults=defaults, __match_args__=fields)
            for index, field in enumerate(fields):
                body[field] = _tuplegetter(index, field)
            return super().__new__(mcs, name, bases, body)

    def _new(cls, *values, **named):
        fields = cls._fields
        missing = fields[len(values) :]
        if named or missing:
            if len(values) > len(fields):
                raise TypeError(f"{cls.__name__} takes {len(fields)} values, not {len(values)}")
            try:
                values += tuple(named.pop(field) if field in named else cls._field_defaults[field] for field in missing)
            except KeyError as e:
                raise TypeError(f"{cls.__name__} needs a value for {e}") from None
            if named:
                raise TypeError(f"{cls.__name__} has no field {next(iter(named))!r}")
        elif len(values) > len(fields):
            raise TypeError(f"{cls.__name__} takes {len(fields)} values, not {len(values)}")
        return tuple.__new__(cls, values)

    def _make(cls, values):
        return cls(*values)

    def _replace(self, **named):
        changed = tuple(named.pop(field, value) for field, value in zip(self._fields, self, strict=True))
        if named:
            raise ValueError(f"{type(self).__name__} has no field {next(iter(named))!r}")
        return tuple.__new__(type(self), changed)

    def _asdict(self):
        return dict(zip(self._fields, self, strict=True))

    def _arguments(self):
        return tuple(self)

    def _repr(self):
        pairs = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({pairs})"

    NamedTuple = type.__new__(
        _Definition,
        "NamedTuple",
        (tuple,),
        {
            "__slots__": (),
            "__module__": __name__,
            "__new__": _new,
            "_make": classmethod(_make),
            "_replace": _replace,
            "_asdict": _asdict,
            "__repr__": _repr,
            "__getnewargs__": _arguments,
        },
    )
