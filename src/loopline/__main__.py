"""`python -m loopline` is `loopline`."""

from loopline.cli.main import main

if __name__ == "__main__":
    main()
