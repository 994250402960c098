"""`python -m xrcore`, the same as `xrcore`."""

from xrcore.cli import main

if __name__ == "__main__":
    main()
