"""Native fragment kernels."""
