"""The backend under test: a process of its own, trusted with nothing, and the suite's end of the line.

In the child ``worker`` answers calls, ``loading`` finds the backend, ``arrays`` makes the arrays it wants.
In the suite ``subject`` asks and watches; ``arena`` is the memory that both see.
"""
