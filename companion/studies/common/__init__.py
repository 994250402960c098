"""Shared helpers for the studies: the plan, files, provenance, tables and parts of figures."""
