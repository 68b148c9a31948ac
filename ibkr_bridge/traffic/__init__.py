"""Being a polite caller: never more calls inside the Gateway than it can carry."""
