"""One part of a package, without all the rest of it.

`import psycopg.pq` runs psycopg's own code first, which loads its cursors, types and adapters: 35 ms, a tenth of a
diagnosis, for what the client here does not use."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def ajar(package: str, part: str) -> None:
    """Imports a part alone, and lets others follow it. Whoever asks for the package itself, at any time, gets it
    whole. `part` is what the package's own code would import first: the others may rely on that."""
    spec = None if package in sys.modules else find_spec(package)
    if spec is not None:
        module = module_from_spec(spec)
        module.__class__ = _Ajar
        sys.modules[package] = module
        import_module(f"{package}.{part}")


class _Ajar(ModuleType):
    """A package whose own code has not run yet."""

    def __getattr__(self, name: str) -> object:
        part = f"{self.__name__}.{name}"
        if find_spec(part) is not None:
            return import_module(part)
        self.__class__ = ModuleType  # type: ignore[assignment]  # it is an ordinary module from here on
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)
