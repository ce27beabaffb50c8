"""oncall: says what is wrong with the service, why, and the one safe command to run next."""

__version__ = "0.1.0"
