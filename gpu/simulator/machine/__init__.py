"""The machine: from a flat kernel to a `program`, and from there to a run.

`launch` runs a grid as batches of thread blocks (`batch`), the `scheduler` chooses the lanes that go on,
`compose` makes Python functions of straight lines; `settings` say how, `counters` count.
"""
