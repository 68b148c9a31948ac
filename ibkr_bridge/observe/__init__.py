"""How people know what happens: the log, the journal's own socket, and the notifications to systemd."""
