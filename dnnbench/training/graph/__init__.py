"""The graph of a step: a worker's half, a shard's half, and what goes ahead of the pull."""
