"""Public data: the manifest, fetching and checking what it names, and readers of its sets."""
