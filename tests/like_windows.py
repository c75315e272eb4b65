"""Runs a module of the bot or of charrnn on Linux as if on Windows: `python -m tests.like_windows
MODULE [ARGUMENT]...`

What only POSIX has is missing from the modules that our code imports. Other packages see Linux."""

import asyncio
import builtins
import fcntl
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from types import ModuleType
from typing import Any

OURS = ("bot", "charrnn")
POSIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_ONLY = {
    "os": {"fork", "getgid", "getuid", "killpg", "mkfifo", "nice", "pread", "sched_getaffinity"}
    | {"setpriority", "setsid", "sync", "sysconf", "uname", "waitid", "PRIO_PROCESS"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGSTOP", "SIGUSR1"},
    "socket": {"AF_UNIX", "SO_REUSEPORT"},
}


class LikeWindows(ModuleType):
    """A standard module as Windows has it."""

    def __init__(self, real: ModuleType, missing: Collection[str] = (), **instead: object):
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _missing=missing, **instead)

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(f"Windows has no {self.__name__}.{name}")
        return getattr(self._real, name)


INSTEAD = {
    "os": LikeWindows(os, POSIX_ONLY["os"], name="nt"),
    "signal": LikeWindows(signal, POSIX_ONLY["signal"], SIGBREAK=signal.SIGUSR2),
    "socket": LikeWindows(socket, POSIX_ONLY["socket"]),
    "subprocess": LikeWindows(subprocess, IDLE_PRIORITY_CLASS=0, CREATE_NO_WINDOW=0),
    "sys": LikeWindows(sys, platform="win32"),
}

real_import, real_fsync, real_rename = builtins.__import__, os.fsync, os.rename


def _import(name: str, importer: dict[str, Any] | None = None, *rest: Any, **named: Any) -> Any:
    package = (importer or {}).get("__package__") or ""
    if package.partition(".")[0] in OURS:
        if name in POSIX_MODULES:
            raise ModuleNotFoundError(f"Windows has no {name}", name=name)
        if name in INSTEAD:
            return INSTEAD[name]
    return real_import(name, importer, *rest, **named)


def _fsync(file: int) -> None:
    if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise PermissionError("Windows flushes only what is open for writing")
    real_fsync(file)


def _rename(old: str, new: str) -> None:
    if os.path.lexists(new):
        raise FileExistsError(f"Windows renames nothing to {new}, which exists")
    real_rename(old, new)


def _add_signal_handler(*_: object) -> None:
    raise NotImplementedError


def begin() -> None:
    """From now on, what `bot` and `charrnn` import is like on Windows."""
    builtins.__import__ = _import
    os.fsync, os.rename = _fsync, _rename
    asyncio.SelectorEventLoop.add_signal_handler = _add_signal_handler


if __name__ == "__main__":
    begin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
