"""The `session` scheme: a cookie, looked up in a store.

`native` records are the gate's own (reference.md §4); `json` reads a home-grown store of an
application. Nothing is written to a foreign store, nothing foreign is executed.
"""
