"""What is right and wrong about a response, and about a server's locking. Knows `core` and `wire` alone, and never the server."""
