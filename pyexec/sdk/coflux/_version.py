"""The version of the package and of the protocol generation it speaks."""

__version__ = "0.11.0"

API_VERSION = "0.11"
