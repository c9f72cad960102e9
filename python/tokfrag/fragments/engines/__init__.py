"""Who computes: the host, CUDA, or composed torch calls."""
