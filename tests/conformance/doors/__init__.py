"""Doors: how kernels that are no Python file get in, one module for each kind.

A door turns what people have, such as a ``.cu`` file, into a backend: an object with functions named like the
operations, and with what :mod:`gaugeblock.conformance.backend.loading` reads of any backend.
"""
