"""A store in a dict: the port of proxy.adapters.store.port for tests without a server."""

from __future__ import annotations

from proxy.errors import StoreUnavailable
from proxy.services import signing


class MemoryStore:
    """Keys for good, one script by its meaning; `is_down` makes every call fail."""

    def __init__(self):
        self.values = {}
        self.fetched = []
        self.is_down = False
        self.before_write = None
        """Called once before the next write: what somebody else does in between."""

    async def fetch(self, keys):
        """Return the values of `keys`."""
        self._check()
        self.fetched.append(tuple(keys))
        return [self.values.get(key) for key in keys]

    async def put(self, key, value, *, ttl_s=None, only=None):
        """Set `key`, on condition."""
        assert ttl_s is None
        self._check(is_write=True)
        if only is not None and (key in self.values) is not (only == "existing"):
            return False
        self.values[key] = value
        return True

    async def run(self, script, keys, args=()):
        """Exchange a value for another: the one script that is known here."""
        assert signing._EXCHANGE == script
        self._check(is_write=True)
        if self.values.get(keys[0]) != args[0]:
            return 0
        self.values[keys[0]] = args[1]
        return 1

    def _check(self, *, is_write=False):
        if self.is_down:
            raise StoreUnavailable("the store of the test is down")
        if is_write and self.before_write is not None:
            interfere, self.before_write = self.before_write, None
            interfere()
