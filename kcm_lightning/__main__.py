"""`python -m kcm_lightning`."""

from kcm_lightning.cli.main import main

if __name__ == "__main__":
    main()
