"""Helpers for programs around the package: whole files, hashes, the machine's description, threads, checks of settings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcore._util.atomic import atomic_file, atomic_folder, check_writable
    from xrcore._util.errors import require
    from xrcore._util.hashes import file_sha256, fingerprint
    from xrcore._util.machine import available_cores, describe_machine, gpu_text, machine_text, package_versions
    from xrcore._util.threads import single_torch_thread

_HOME = {
    "atomic_file": "atomic",
    "atomic_folder": "atomic",
    "available_cores": "machine",
    "check_writable": "atomic",
    "describe_machine": "machine",
    "file_sha256": "hashes",
    "fingerprint": "hashes",
    "gpu_text": "machine",
    "machine_text": "machine",
    "package_versions": "machine",
    "require": "errors",
    "single_torch_thread": "threads",
}

__all__ = [
    "atomic_file",
    "atomic_folder",
    "available_cores",
    "check_writable",
    "describe_machine",
    "file_sha256",
    "fingerprint",
    "gpu_text",
    "machine_text",
    "package_versions",
    "require",
    "single_torch_thread",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"xrcore._util.{_HOME[name]}"), name)
