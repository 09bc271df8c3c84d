"""What happens by itself while somebody waits or listens: the waiting line, the live feed, and the pulse of both."""
