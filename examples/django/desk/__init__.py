"""An editor's desk: articles that one person edits at a time."""
