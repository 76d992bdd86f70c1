"""`python -m bench.gate`."""

from bench.gate.tell import main

if __name__ == "__main__":
    raise SystemExit(main())
