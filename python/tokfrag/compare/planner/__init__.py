"""Which cuts to try, and what to make of it: a fingerprint, a proposal, a race, a verdict."""
