"""The former name of `bench.data.release`, for data sets that were written before it moved."""

from bench.data.release import *  # noqa: F403
