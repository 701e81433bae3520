"""What runs cells: the processes of this machine, or a cluster of Ray."""
