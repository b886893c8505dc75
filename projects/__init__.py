"""One package per paper; ``reprise list`` shows them."""
