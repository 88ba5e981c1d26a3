"""The version, in one place: pyproject.toml and add_ons/setup.py read it here."""

__version__ = "0.2.0"
