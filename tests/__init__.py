"""A package in name, since a dependency of httplint brings a package `tests` of its own, which would hide this folder."""
