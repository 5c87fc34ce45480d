"""Command line: `python -m serving COMMAND`; `--help` lists the commands."""

import argparse
import sys
from collections.abc import Sequence

from serving.cli import installation
from serving.cli.errors import fail


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake of the caller ends in one line and status 2."""
    words = sys.argv[1:] if argv is None else argv
    try:
        parser = _parser()
        from serving.cli.serve import own_spelling
        from serving.client.retry import RequestError
        from serving.release.releases import UnfinishedError

        args = parser.parse_args([own_spelling(word) for word in words])
        return args.command(args)
    except ModuleNotFoundError as error:
        return fail(installation.missing(error, "serving"))
    except (ValueError, OSError) as error:
        return fail(error)
    except RequestError as error:
        return fail(error, status=args.status_if_refused)
    except UnfinishedError as error:
        if error.published:
            print(error.published)
        print(f"unfinished: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; run the same command again", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    # Here, so that `main` can say what is missing.
    from serving.cli import check, compare, loadtest, predict, release, serve, warmup

    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve exported models, and ask them."
    )
    parser.add_argument("--version", action="version", version=installation.version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add_arguments, run, text in (
        ("serve", serve.add_arguments, serve.run, "run the embedded server"),
        ("predict", predict.add_arguments, predict.run, "ask a running server"),
        (
            "publish", release.add_publish, release.publish,
            "add a version under a base path",
        ),
        (
            "rollback", release.add_rollback, release.rollback,
            "go back to an older version",
        ),
        ("label", release.add_label, release.label, "give labels to versions"),
        (
            "check", check.add_arguments, check.run,
            "whether servers serve what a model config file asks for",
        ),
        (
            "warmup", warmup.add_arguments, warmup.run,
            "write warm-up requests for every signature of an exported model",
        ),
        (
            "loadtest", loadtest.add_arguments, loadtest.run,
            "measure a server under load",
        ),
        (
            "compare", compare.add_arguments, compare.run,
            "compare two versions, or two sets of rows",
        ),
    ):  # fmt: skip
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=run, status_if_refused=1)
        add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
