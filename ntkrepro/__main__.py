"""python -m ntkrepro."""

from ntkrepro.cli import main

main()
