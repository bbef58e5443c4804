"""Answers of an exported model on the command line, as CSV."""

import csv
import sys

from .winner import Winner


def main(winner: Winner, arguments: list[str]) -> int:
    """Print the answers to the inputs in a file; the exit code.

    Args:
        winner: the model.
        arguments: of the command line: the file.
    """
    if len(arguments) != 1:
        print("expected one argument: a file with inputs, as those of training", file=sys.stderr)
        return 2
    try:
        answers = winner.predict(arguments[0])
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answers)
    writer.writerows(zip(*(column.tolist() for column in answers.values()), strict=True))
    return 0
