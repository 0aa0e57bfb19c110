"""`python -m dendrotwin`, the command line."""

from dendrotwin.cli.app import main

main()
