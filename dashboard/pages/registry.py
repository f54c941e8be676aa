"""Every page, alphabetical, and the one that a path means."""

from __future__ import annotations

from types import ModuleType

from dashboard.pages import inflight, overview, service, slow

PAGES: dict[str, ModuleType] = {
    "inflight": inflight,
    "overview": overview,
    "service": service,
    "slow": slow,
}


def page_of(pathname: str | None) -> ModuleType | None:
    """The page of a path, None when there is none; a PATH such as `/service/` takes every path below it."""
    path = pathname or "/"
    for page in PAGES.values():
        if path == page.PATH or path == page.PATH + "/":
            return page if not _is_folder(page) else None
        if _is_folder(page) and path.startswith(page.PATH):
            return page
    return None


def _is_folder(page: ModuleType) -> bool:
    return page.PATH != "/" and str(page.PATH).endswith("/")
