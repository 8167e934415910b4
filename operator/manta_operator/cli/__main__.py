"""`python -m manta_operator.cli`: the command without its installed script; how the box starts the operator."""

from manta_operator.cli.main import main

main()
