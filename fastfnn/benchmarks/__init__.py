"""What the machine can do and what fastfnn makes of it: the measurements behind `fastfnn bench` and `bench/`."""
