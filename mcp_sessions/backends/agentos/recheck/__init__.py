"""Pending writes: re-apply our writes when a finishing AgentOS run overwrites them.

When a run of AgentOS ends, it saves the copy of the session that it loaded when it began. A write that we made in
between is lost. So each write stays *pending* for some time, and the session is read again at growing intervals:

    SessionWriter.change ── writes the fields, reads them back
          │
          ▼
    Rechecker.add ───────── stores the pending write in the journal, with the values it replaced
          │
          ▼
    Rechecker.run ───────── claims each pending write that is due, and calls SessionWriter.recheck
          │
          ├─ the session has our values ────────────────── check again later, until PENDING_SECONDS are over
          ├─ it has a value that our write replaced ────── a run overwrote our write: write our value again
          └─ it has another value ──────────────────────── somebody else wrote it: drop our value
"""
