"""`python -m holdfast` does what the command `holdfast` does."""

from holdfast.cli.main import main

if __name__ == "__main__":
    main()
