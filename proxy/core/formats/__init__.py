"""Session records, each format a file of its own: bytes in, an identity or `Absent` out.

No decoder raises on any bytes, and none executes what it reads. What never belongs here: the store.
"""
