"""The ``tokfrag`` command."""
