"""Find the weights that stay."""
