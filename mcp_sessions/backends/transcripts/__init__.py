"""What the transcripts of coding agents have in common: files of JSON lines that another program appends to.

Nothing here changes a file. `lines` reads lines from either end, `values` takes values out of them, `blocks` converts
content blocks, `history` makes pages from messages that come newest first, and `file_memory` keeps facts about a file
until the file changes.
"""
