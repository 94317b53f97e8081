"""`python -m proxy` is `latchgate`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
