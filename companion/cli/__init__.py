"""Commands that join the command line of xrcore by entry points."""
