"""Side-by-side measurements against what a user would otherwise write or pick.

``python -m benchmarks`` runs all of them, ``python -m benchmarks.step`` and so on one of them; see
docs/performance.md.
"""
