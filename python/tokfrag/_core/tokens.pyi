"""Native token kernels."""
