"""The backend under test: a process of its own, trusted with nothing, and the suite's end of the line.

In the child, in the order of its life: ``__main__`` starts it, ``isolation`` shuts it in, ``loading`` finds
the backend, ``worker`` answers calls, and ``arrays`` makes the arrays the backend wants.
In the suite: ``subject`` asks and judges, ``process`` starts, watches and ends the child, ``kept`` looks
after results of earlier calls.
Both see ``messages``, what they say to each other, and ``arena``, the memory that both have mapped.
"""
