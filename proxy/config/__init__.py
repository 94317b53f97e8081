"""The configuration file: words, types and checks.

What stands here knows the file and its meaning, nothing of sockets, stores or requests.
"""
