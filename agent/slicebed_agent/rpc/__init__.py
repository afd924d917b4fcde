"""The wire: generated messages and services, and the channels they travel on."""
