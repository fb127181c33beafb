"""Request classes of an engine, read out of its wheel: the engine itself is not installed.

Of the modules that they import from their own package, those that are named run as well; all others
are shells, whose names stand for anything.
"""

import importlib.abc
import importlib.machinery
import sys
import types
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import core_schema

_LIMIT = 2**31
"""What a constant of a shell is, which may bound a length."""


class _Anything:
    """A class that can be called, subclassed, indexed, and be the type of any value."""

    def __init_subclass__(cls, **_: Any) -> None:
        pass

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __class_getitem__(cls, _: Any) -> type:
        return cls

    def __getattr__(self, name: str) -> Any:
        return _Anything()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return _Anything()

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        return core_schema.any_schema()


class _Shell(types.ModuleType):
    """A module in which every name can be imported, and stands for anything."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        own = [m for key, m in sys.modules.items() if key.startswith(f"{self.__name__}.")]
        for module in own:  # a package passes on what its modules define
            if name in vars(module):
                return vars(module)[name]
        return _LIMIT if name.isupper() else type(name, (_Anything,), {})


class _Wheel(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of one package in a wheel.

    Args:
        file: the wheel.
        package: the name of the package.
        run: the modules that run, without the package's name; the others are shells.
        shells: other packages that are shells.
    """

    def __init__(self, file: Path, package: str, run: Sequence[str], shells: Sequence[str]) -> None:
        self._packages = (package, *shells)
        self._run = {f"{package}.{name}": f"{package}/{name.replace('.', '/')}.py" for name in run}
        with zipfile.ZipFile(file) as wheel:
            self._source = {name: wheel.read(path) for name, path in self._run.items()}

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] not in self._packages:
            return None
        is_package = fullname not in self._run
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return (types.ModuleType if spec.name in self._run else _Shell)(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        source = self._source.get(module.__name__)
        if source is not None:
            exec(compile(source, self._run[module.__name__], "exec"), module.__dict__)


@contextmanager
def imported(
    file: Path, package: str, run: Sequence[str], shells: Sequence[str] = ()
) -> Generator[list[types.ModuleType]]:
    """The modules of a wheel that run, until the block is left; no module of it stays."""
    finder = _Wheel(file, package, run, shells)
    packages = (package, *shells)
    installed = {name: module for name, module in sys.modules.items() if _is_of(name, packages)}
    for name in installed:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield [importlib.import_module(f"{package}.{name}") for name in run]
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_of(name, packages)]:
            del sys.modules[name]
        sys.modules.update(installed)


def _is_of(name: str, packages: Sequence[str]) -> bool:
    return name.partition(".")[0] in packages
