"""The laboratory: networks, guests, clients and staged faults on one machine. See docs/lab.md."""
