"""Two small applications that know nothing of Latchgate: a page site and a JSON API.

They do what real applications do (pages, a form, a WebSocket chat, an event stream, JSON), and
show the identity headers that they received. Run one with `python -m upstream_example site`.
"""
