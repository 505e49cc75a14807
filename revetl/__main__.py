"""`python -m revetl`."""

from revetl.cli import main

main()
