"""The configuration: environment variables and files become one frozen `Settings`; it reports all problems at once."""
