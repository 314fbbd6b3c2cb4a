"""The tables of dnnbench.toml, each setting with everything about it."""
