"""CT file -> Volume."""
