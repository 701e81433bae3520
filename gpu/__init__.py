"""CUDA kernels for deep learning, on a GPU through PyCUDA or on a simulated device."""
