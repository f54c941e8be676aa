"""`make bench`: what Sonde costs, as ratios within one run; docs/benchmarks.md says how to read them.

Nothing here is a test: figures of a machine that does other things as well differ from run to run.
"""
