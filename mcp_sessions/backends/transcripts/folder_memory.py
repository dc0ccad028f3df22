"""What was read of folders, kept until something in them changes. Linux's inotify tells of changes.

Looking at each of thousands of files takes longer than all the rest of a search.
"""

import ctypes
import os
import struct
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from ..filesystems import is_local

T = TypeVar("T")

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_CHANGES = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_EVENT = struct.Struct("iIII")  # the watch, what happened, a number, the length of the name that follows
_NONE = -1
"""The watch of the event that says that others were lost, and of a folder that can't be watched."""
_BUFFER = 64 * 1024


class FolderMemory(Generic[T]):
    """What was read of folders. Only folders on local filesystems of Linux are remembered.

    A change by way of a hard link in another folder is not noticed, so a folder with hard links must not be put here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inotify: _Inotify | None = None
        self._watch = _NONE
        self._known: dict[int, dict[str, T]] = {}
        """By the watch, which is the folder's inode, and by the path, since an inode may have several."""
        self._is_local: dict[int, bool] = {}  # by the device, since reading the mount table takes a millisecond

    @contextmanager
    def current(self) -> Generator[None]:
        """Forget what has changed. Then call `get` and, after reading a folder that is not known, `put`."""
        with self._lock:  # else another thread could take the event about a change that this one has not seen
            self._forget_changed()
            yield

    def get(self, folder: str) -> T | None:
        """Return what is known of a folder. If it is not known, changes to it are watched from now on."""
        self._inotify = self._inotify or _Inotify()
        self._watch = self._inotify.watch(folder)
        return self._known.get(self._watch, {}).get(folder)

    def put(self, folder: str, contents: T) -> None:
        """Remember what was read of the folder of the last `get`."""
        if self._watch == _NONE:
            return
        try:
            device = os.stat(folder).st_dev  # noqa: PTH116 - `folder` is a text
        except OSError:
            return  # removed meanwhile
        if device not in self._is_local:
            self._is_local[device] = is_local(Path(folder))
        if self._is_local[device]:
            self._known.setdefault(self._watch, {})[folder] = contents

    def _forget_changed(self) -> None:
        for watch in self._inotify.changed() if self._inotify else ():
            if watch == _NONE:
                self._known.clear()
            self._known.pop(watch, None)


class _Inotify:
    """The interface to Linux's inotify. On other systems, nothing can be watched."""

    def __init__(self) -> None:
        self._events = _NONE
        if sys.platform == "linux":
            libc = ctypes.CDLL(None)
            self._add_watch = libc.inotify_add_watch
            self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events != _NONE:
            weakref.finalize(self, os.close, self._events)

    def watch(self, folder: str) -> int:
        return _NONE if self._events == _NONE else self._add_watch(self._events, os.fsencode(folder), _CHANGES)

    def changed(self) -> Iterator[int]:
        """Yield the watches of what has changed since the last call."""
        while self._events != _NONE:
            try:
                data = os.read(self._events, _BUFFER)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, _, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                yield watch
