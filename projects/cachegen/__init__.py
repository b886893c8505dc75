"""CacheGen: a codec and a streamer for the KV caches of language models."""
