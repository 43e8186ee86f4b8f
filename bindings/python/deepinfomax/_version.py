"""The binding's version; its major and minor are libdim's."""

__version__ = "0.1.0"
