"""Side-by-side measurements against the alternatives that a user would otherwise write or choose.

``python -m benchmarks`` runs all of them, ``python -m benchmarks.step`` and so on a single one; see
docs/performance.md.
"""
