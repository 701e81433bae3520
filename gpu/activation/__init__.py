"""Activation functions on the device: the operations, and a launcher for each kind of them."""
