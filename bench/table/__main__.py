"""`python -m bench.table`."""

from bench.table.files import main

if __name__ == "__main__":
    raise SystemExit(main())
