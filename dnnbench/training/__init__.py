"""The host side's training code: the only part that imports TensorFlow, and only inside functions.

``import tensorflow`` is safe before a fork; anything that starts its runtime (eager execution, a
session, a server) is not. The agent therefore imports, and its forked children run.
"""
