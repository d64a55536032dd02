"""The services of a folder, or the one of a file: found by name, loaded anew when their files change."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Awaitable, Callable, Sequence

from jail.errors import JailError, SpecError
from jail.gateway.gate import Gate
from jail.gateway.problem import Problem
from jail.services.exchange import Exchange, open_exchange
from jail.services.request import Request
from jail.services.service import Service, indexes, is_service, settings_file
from jail.settings import Setting

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
SETTLED = 2.0
"""Seconds after which a change of a folder is sure to show in its time."""

Opener = Callable[[Service, Request], Awaitable[Exchange]]
"""What starts a service for a request: a jail made for it, or one of a pool."""


class Site:
    """One service as the gateway has it. Used by one thread."""

    def __init__(self, name: str, path: str, options: Sequence[Setting], opener: Opener) -> None:
        self.name = name
        self.path = path
        self.options = options
        self.opener = opener
        self.service: Service | None = None
        self.error: JailError | None = None
        self.gate: Gate | None = None
        self._stamp: object = None

    def load(self) -> None:
        """Load the service if its file, its folder's index, or its settings are not those of the last
        time."""
        stamp = tuple(map(_stamp, (self.path, settings_file(self.path), *_indexes(self.path))))
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.service = Service.load(self.path, options=self.options)
            self.error = None
            if self.gate is None or self.gate.settings != self.service.settings:
                self.gate = Gate(self.service.settings)
        except JailError as error:
            self.service, self.error = None, error

    async def open(self, service: Service, request: Request) -> Exchange:
        """Start the service for a request. Raises JailError."""
        return await self.opener(service, request)


class Catalogue:
    """All services under one path. `path`: a folder, or a file that answers every path. Raises SpecError."""

    def __init__(
        self,
        path: str,
        options: Sequence[Setting] = (),
        opener: Opener = open_exchange,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.path.abspath(path)
        self.options = options
        self.opener = opener
        self.clock = clock
        self.sites: dict[str, Site] = {}
        self._files: dict[str, list[str]] = {}
        self._read: object = None
        try:
            mode = os.stat(self.path).st_mode
        except OSError as error:
            raise SpecError(f"cannot read {self.path}: {error.strerror}", "serve") from None
        self.single = not stat.S_ISDIR(mode)
        if self.single:
            name = os.path.splitext(os.path.basename(self.path))[0]
            self.sites[name] = self._site(name, self.path)
            self._load(self.sites[name])
        else:
            self._scan()

    def _site(self, name: str, path: str) -> Site:
        return Site(name, path, self.options, self.opener)

    def all(self) -> list[Site]:
        """Every service there is now, by name, whether it can be run or not."""
        if self.single:
            return list(self.sites.values())
        self._scan()
        found = ((name, self._places(name)) for name in sorted(self._files))
        return [self._known(name, places) for name, places in found if places]

    def find(self, raw_path: str) -> tuple[Site, str, str]:
        """Which service answers a path as it came: the site, the path that belongs to it, and the rest, which
        begins with a slash. Raises Problem."""
        if self.single:
            site = next(iter(self.sites.values()))
            site.load()
            return site, "", raw_path
        name, _, rest = raw_path.lstrip("/").partition("/")
        self._scan()
        places = self._places(name)
        if not places:
            raise Problem(404, "there is no service of this name")
        return self._known(name, places), f"/{name}", f"/{rest}"

    def _places(self, name: str) -> list[str]:
        """What there is of a name: files, and a folder if it has an index by now, which does not show in the
        time of the folder that it lies in."""
        places = self._files.get(name, [])
        return [place for place in places if not os.path.isdir(place) or _indexes(place)]

    def _known(self, name: str, places: list[str]) -> Site:
        site = self.sites.get(name)
        if site is None or site.path != places[0]:
            site = self.sites[name] = self._site(name, places[0])
        if len(places) > 1:
            names = " and ".join(os.path.basename(place) for place in places)
            site.service, site.error = None, SpecError(f"{names} have one name: rename all but one", "serve")
            site._stamp = None
        else:
            site.load()
        return site

    def _load(self, site: Site) -> None:
        site.load()
        if site.error is not None:
            raise site.error

    def _scan(self) -> None:
        """Read the folder if it may have changed since the last time."""
        try:
            now = os.stat(self.path)
            stamp = (now.st_dev, now.st_ino, now.st_mtime_ns)
            if stamp == self._read:
                return
            files: dict[str, list[str]] = {}
            with os.scandir(self.path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    name = entry.name if is_folder else os.path.splitext(entry.name)[0]
                    if NAME.fullmatch(name) and (is_folder or is_service(entry)):
                        files.setdefault(name, []).append(entry.path)
        except OSError as error:
            self._files, self._read = {}, None
            raise Problem(500, "the folder of the services cannot be read") from error
        self._files = files
        for name in set(self.sites) - set(files):
            del self.sites[name]
        self._read = stamp if self.clock() - now.st_mtime > SETTLED else None


def _indexes(path: str) -> list[str]:
    """What makes a folder a service; [] where it is none."""
    try:
        return indexes(path)
    except OSError:
        return []


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode
