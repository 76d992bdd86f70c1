"""What is kept: records of trained cells, by the hash of everything that determines their numbers.

Needs neither torch nor data.
"""
