"""What runs on a host before anything is installed there: the standard library, Python >= 3.7.

The control side sends the sources as one zip and calls ``python3 <zip> <command>``: one JSON
request in, JSON lines out. Nothing here may import the rest of dnnbench or a library.
"""
