"""The `rootlm` command: finds the verb, imports only that verb, shows errors in one line."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Collection

VERBS = {
    "quickstart": "the main job on shipped text: corpus, tokenizer, model, score, samples, report",
    "doctor": "what this machine offers and what rootlm will do with it",
    "data prepare": "files of raw text → a clean corpus with a manifest",
    "data report": "one page about a corpus: lengths, languages, drops with examples, vocabulary, licences",
    "data show": "look into a corpus: counts, samples, what was dropped and why",
    "data words": "text → words apart, a sentence or document a line: stop words, parts of speech, lemmas",
    "data batch": "print one training batch token by token, before a step is trained",
    "tokenizer train": "a corpus → a tokenizer",
    "tokenizer report": "bytes per token, fertility and unknowns, beside a second tokenizer",
    "ngram arpa": "n-grams of a run or a text → an ARPA file",
    "vectors train": "text → word vectors: Word2Vec, GloVe, FastText; labelled texts → a classifier",
    "vectors classify": "the labels of texts, or precision and recall on labelled ones, by a classifier",
    "vectors neighbours": "the words nearest to a word, by word vectors",
    "vectors analogy": "what is to C as B is to A, by word vectors",
    "vectors similarity": "the cosine between two words",
    "vectors doesnt-match": "the word that fits the others least",
    "vectors evaluate": "word similarity and analogies with intervals, and the share of words known",
    "vectors plot": "words on a plane → a page that can be moved and searched, or a PNG",
    "vectors align": "word vectors of two languages → one space, and how often translations are found",
    "vectors export": "a run or file of word vectors → word2vec's, GloVe's or fastText's format",
    "vectors import": "a file of word vectors → a run",
    "train": "a recipe → a run folder; the same command again resumes",
    "compare": "recipes and runs on one scale: bits per byte, cost, diversity, samples → compare.html",
    "crossval": "a recipe, k times, each with another part of the corpus held out: mean ± interval",
    "search": "ranges of settings → the best recipe on the validation split, by successive halving",
    "find-rate": "a sweep of learning rates → which one to train with",
    "evaluate": "perplexity, bits per byte and accuracy with intervals",
    "score": "log-probabilities of given text, as JSON lines",
    "generate": "continue a prompt",
    "translate": "what an encoder–decoder writes after reading a text: its translation",
    "fill": "the likeliest tokens for each <mask> of a text, by an encoder",
    "similarity": "how alike two texts are, or how well that agrees with ratings, by an encoder",
    "import": "a published model, by path or hub name → a run",
    "export": "a run → the formats of other libraries, opened again there before it is let out",
    "verify": "two runs or folders: the same ids, the same logits?",
    "schema": "the JSON Schema of a recipe, for editors",
}
_MODULES = {verb: f"rootlm.cli.{verb.replace(' ', '_').replace('-', '_')}" for verb in VERBS}


def main() -> None:
    """Run the command line and exit: 0 when done, 2 for a mistake a person can mend, 130 when interrupted."""
    # What a verb imports and opens stays: to look for cycles among it takes a tenth of the time to a first token.
    gc.set_threshold(50_000, 20, 20)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    verb, tokens = _split(arguments)
    if verb is None:
        return _no_verb(arguments)
    from rootlm.core import threads

    threads.settle(verb)
    module = importlib.import_module(_MODULES[verb])
    if "--help" in tokens or "-h" in tokens:
        from rootlm.cli.arguments import help_text

        print(help_text(f"rootlm {verb}", VERBS[verb], module.Settings, module.__doc__ or ""))
        return 0
    return _call(verb, module.run, tokens)


def _call(verb: str, work: Callable[[list[str]], int | None], tokens: list[str]) -> int:
    try:
        return work(tokens) or 0
    except ValueError as error:
        print(f"rootlm {verb}: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        hint = "; give yourself the right to it" if isinstance(error, PermissionError) else ""
        print(f"rootlm {verb}: {place}{error.strerror or error}{hint}", file=sys.stderr)
        code = 2
    return code


def _split(arguments: list[str]) -> tuple[str | None, list[str]]:
    for length in (2, 1):
        verb = " ".join(arguments[:length])
        if len(arguments) >= length and verb in VERBS:
            return verb, arguments[length:]
    return None, arguments


def _no_verb(arguments: list[str]) -> int:
    if arguments and arguments[0] == "--version":
        from rootlm import __version__

        print(__version__)
        return 0
    title = "rootlm: from raw text to a trained language model that speaks"
    hint = "rootlm VERB --help shows the verb's settings."
    text = "\n".join([title, "", "usage: rootlm VERB … [key=value …]", "", *_lines(VERBS), "", hint])
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(text)
        return 0
    group = [verb for verb in VERBS if verb.startswith(arguments[0] + " ")]
    if group and {"-h", "--help"} & set(arguments):
        print("\n".join([f"rootlm {arguments[0]}", "", *_lines(group), "", hint]))
        return 0
    if group:
        print("\n".join([f"rootlm {arguments[0]}: say which", *_lines(group)]), file=sys.stderr)
        return 2
    import difflib

    near = difflib.get_close_matches(" ".join(arguments[:2]), VERBS, n=2, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}?" if near else "rootlm --help lists the verbs"
    print(f"rootlm: unknown verb {arguments[0]}; {hint}", file=sys.stderr)
    return 2


def _lines(verbs: Collection[str]) -> list[str]:
    width = max(map(len, verbs))
    return [f"  rootlm {verb:<{width}}  {VERBS[verb]}" for verb in verbs]
