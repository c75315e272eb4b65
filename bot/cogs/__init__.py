"""The commands and buttons, one file per feature: read the interaction, call a service, reply.

Nothing here touches files, SQL or arrays.
"""
