// On the server this module does nothing.
