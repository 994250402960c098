"""Shared helpers for the benchmark scripts: data, scenes, timing, and tables of results."""
