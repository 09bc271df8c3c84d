"""The inspector for people: a page that takes a response or a URL, and the address that a program asks."""
