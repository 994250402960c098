"""Helpers for programs around the package: whole files, hashes, the machine's description, threads, checks of settings."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from xrcore._util.atomic import atomic_file, atomic_folder, check_writable  # noqa: F401
    from xrcore._util.completion import one_of, several_of  # noqa: F401
    from xrcore._util.devices import no_gpu, triton_installed  # noqa: F401
    from xrcore._util.errors import require, shown  # noqa: F401
    from xrcore._util.hashes import file_sha256, fingerprint  # noqa: F401
    from xrcore._util.machine import available_cores, describe_machine, gpu_text, machine_text, package_versions  # noqa: F401
    from xrcore._util.text_files import read_bytes, read_json, read_yaml  # noqa: F401
    from xrcore._util.threads import single_torch_thread  # noqa: F401

__getattr__, __dir__, __all__ = lazy_loader.attach(
    "xrcore._util",
    submod_attrs={
        "atomic": ["atomic_file", "atomic_folder", "check_writable"],
        "completion": ["one_of", "several_of"],
        "devices": ["no_gpu", "triton_installed"],
        "errors": ["require", "shown"],
        "hashes": ["file_sha256", "fingerprint"],
        "machine": ["available_cores", "describe_machine", "gpu_text", "machine_text", "package_versions"],
        "text_files": ["read_bytes", "read_json", "read_yaml"],
        "threads": ["single_torch_thread"],
    },
)
