"""The child: shut in first, then the worker with the backend.

Run as ``python -P -m gaugeblock.conformance.backend BACKEND CONNECTION MEMORY LIFELINE``: a name and three
descriptors that it inherits. What it is to be held to comes as the first message.
"""

import os
import socket
import sys

from gaugeblock.conformance.backend import isolation, messages


def main() -> None:
    """Serve the suite until it closes the connection."""
    name = sys.argv[1]
    descriptor, memory, lifeline = map(int, sys.argv[2:])
    connection = socket.socket(fileno=descriptor)
    setup = messages.receive(connection)
    files = [
        part.partition(":")[0] for part in (name, *name.split("+"))
    ]  # a problem and its solution are two
    needed = [path for path in (*files, os.getcwd()) if os.path.exists(path)]
    held = isolation.enter(
        lifeline, (descriptor, memory), setup["means"], setup["folder"], needed, setup["limits"]
    )
    from gaugeblock.conformance.backend import worker  # now, since NumPy starts threads

    worker.serve(name, connection, memory, held)


if __name__ == "__main__":
    main()
