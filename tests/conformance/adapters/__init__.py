"""Backends that come with the suite: each is an example of how to write one."""
