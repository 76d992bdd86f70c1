"""`python -m bench.study`."""

from bench.study.command import main

if __name__ == "__main__":
    raise SystemExit(main())
