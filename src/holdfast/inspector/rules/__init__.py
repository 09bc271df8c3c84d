"""Every rule about one exchange. Importing this package fills `holdfast.inspector.notes.RULES`."""
