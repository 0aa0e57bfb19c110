"""The command line, `dendrotwin`: one file for each group of commands."""
