"""The plain Python or NumPy twin of every native kernel: same names, obvious loops.

A twin is the definition; the tests hold the kernels to it. Nothing here imports native code.
"""
