"""ULTD-bench: the suite around the methods (data, protocol, engine, records, table).

Importing this package imports neither torch nor any data: `bench.table` and
`bench.gate` must run where only the records are.
"""
