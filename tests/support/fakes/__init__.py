"""Systems in this process that answer as the real ones do, in front of a socket."""
