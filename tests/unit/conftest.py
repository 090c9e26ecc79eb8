from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore import hooks
from botocore.loaders import JSONFileLoader, Loader


@pytest.fixture(scope="session", autouse=True)
def _botocore_prepares_its_sessions_once() -> Iterator[None]:
    """Each botocore session would work out what is the same for all, longer than most tests take.

    That is its data files, which services these describe, and the names and signatures of its own
    event handlers.
    """
    load_file, list_services = JSONFileLoader.load_file, Loader.list_available_services
    create_aliaser = hooks.EventAliaser.__init__
    parse = cache(lambda path: load_file(JSONFileLoader(), path))
    names: dict[str, str] = {}

    def load(_: JSONFileLoader, path: str) -> Any:
        return parse(path)

    @cache
    def list_in(paths: tuple[str, ...], type_name: str) -> Any:
        loader = Loader(list(paths), include_default_search_paths=False)
        return list_services(loader, type_name)

    def list_available(loader: Loader, type_name: str) -> Any:
        return list_in(tuple(loader.search_paths), type_name)

    def create(aliaser: Any, emitter: Any, aliases: Any = None) -> None:
        create_aliaser(aliaser, emitter, aliases)
        if aliases is None:
            aliaser._alias_name_cache = names

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load)
        patch.setattr(Loader, "list_available_services", list_available)
        patch.setattr(hooks.EventAliaser, "__init__", create)
        patch.setattr(hooks, "accepts_kwargs", cache(hooks.accepts_kwargs))
        yield
