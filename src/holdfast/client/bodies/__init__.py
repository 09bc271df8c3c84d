"""The bodies in which servers say "locked", one module per family.

Each family has one function for each form it comes in: a JSON value, an XML element, header fields or plain text, and
an Asked; it answers with a Found, or None where the body is not of its family. They are listed, in the order in which
they are asked, in `holdfast.client.reading`. None of them raises for anything that a server can send.
"""
