"""Token shards: a corpus as ids on disk."""
