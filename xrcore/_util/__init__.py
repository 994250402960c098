"""Helpers that every package uses: errors, atomic writes, devices, threads."""
