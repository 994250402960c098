"""Have an entry of the data manifest where the experiments find it."""

from __future__ import annotations

from companion.datasets.store import HERE, MIRRORED, Store
from companion.studies.paths import Paths
from companion.studies.provenance import write


def obtain(paths: Paths, entry: str) -> None:
    """Fetch it unless it is here or in the mirror, compare its bytes, and note so."""
    store = Store()
    if store.state(entry) not in (HERE, MIRRORED):
        store.fetch(entry, wait=True)  # several entries may be wanted at once
    found = store.find(entry)
    hashes = {file.path: store.known_hash(store.manifest[entry], file) for file in store.manifest[entry].files}
    write(paths.data(entry), {"entry": entry, "found": found.name, "hashes": hashes})
