"""Commands that run on a host before anything is installed there: standard library, Python >= 3.7.

The control side sends the sources as one program and calls it with a command: one JSON request in,
JSON lines out. Nothing here may import the rest of dnnbench or a library. Other users of the host
are not trusted: `trust` says which files are safe, `peers` who is at the end of a socket; whatever
is read has a bound, and every command a deadline.
"""
