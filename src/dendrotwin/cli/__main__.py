"""`python -m dendrotwin.cli`, for `torchrun` too."""

from dendrotwin.cli.app import main

main()
