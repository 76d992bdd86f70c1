"""`python -m bench.gate`."""

from bench.gate.compare import main

if __name__ == "__main__":
    raise SystemExit(main())
