"""`python -m bench.study`."""

from bench.study.variants import main

if __name__ == "__main__":
    raise SystemExit(main())
