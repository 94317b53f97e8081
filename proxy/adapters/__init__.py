"""I/O: stores, keys, upstreams, telemetry. Library errors end here."""
