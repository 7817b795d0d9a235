"""Runs untrusted Python programs; knows nothing of judging.

`pool.Pool` is the way in, `model` what goes in and comes out. A worker (`server`) is a
fork server without privileges; it forks a jail (`jail`) for each test. Nothing here
needs root, a container or a daemon, and nothing but the standard library is imported:
workers load these modules.
"""
