"""Plan how a volume is cut and where it runs."""
