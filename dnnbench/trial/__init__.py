"""Values that cross the wire and are stored; they belong to neither side."""
