"""The lock API under load: throughput, hand-over, long lines and many listeners, beside a usual home-made lock."""
