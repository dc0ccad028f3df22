"""What the transcripts of coding agents have in common: files of JSON lines that another program appends to.

For reading: `lines` reads lines from either end, `values` takes values out of them, `blocks` converts content blocks,
`history` and `runs` make pages from messages that come newest first, and `file_memory` keeps facts about a file until
the file changes. For writing: `appending` appends lines, `file_creation` creates a transcript, `trash` moves the
files of a session away and back, and `kept_files` keeps copies of them. Nothing else changes a file.
"""
