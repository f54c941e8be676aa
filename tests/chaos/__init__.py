"""A set checker, as Jepsen's: numbered rows through a pipeline that is being broken, and then every row is looked for.

`make chaos` runs it; docs/testing.md says what it does, and how to read a failing run.
"""
