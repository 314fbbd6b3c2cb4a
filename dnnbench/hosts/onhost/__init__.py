"""Commands that run on a host before anything is installed there: standard library, Python >= 3.7.

The control side sends the sources as one program and calls it with a command: one JSON request in,
JSON lines out. Nothing here may import the rest of dnnbench or a library. Other users of the host
are not trusted: `trust` checks which files are safe, `peers` which user is at the other end of a
socket. Everything that is read has a bound, and every command has a deadline.
"""
