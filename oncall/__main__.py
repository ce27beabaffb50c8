"""`python -m oncall`."""

from oncall.cli.main import main

main()
