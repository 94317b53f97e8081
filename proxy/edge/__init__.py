"""The only place that knows aiohttp.web: connections, forwarding, tunnels, answers."""
