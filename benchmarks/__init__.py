"""Measures Holdfast beside Apache mod_dav, rclone and wsgidav, in one run on one machine.

Run it with ``python -m benchmarks``; see README.md here for the method. Nothing in ``src`` may import this package.
"""
