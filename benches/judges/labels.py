"""Writes human labels as one file for `safer-instruct tune-judge`.

    python3 benches/judges/labels.py --output labels.jsonl [--hh FILE] [--xstest DIR] [--only mild,pyrit-harm,pyrit-refusal,pyrit-objective,hh,xstest]

`mild` is assets/labels/mild.jsonl of this repository, and `mild-pairs` its good and bad answers in English, for
`safer-instruct prefer`. `pyrit-…` are the human scores of PyRIT 1.1.0 (MIT), which pip downloads. `hh` are pairs of
transcripts of Anthropic's hh-rlhf (MIT), the file of --hh: JSONL with `chosen` and `rejected`, compressed or not.
`xstest` are the labelled answers of three models to the prompts of XSTest (its `*.csv.gz`), to measure on: those to
unsafe prompts with whether they comply, and all with whether they refuse. The texts are harmful in part: nothing of
them is printed.
"""

import argparse
import collections
import csv
import gzip
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import zipfile

PYRIT = "pyrit==1.1.0"
EVALS = "pyrit/datasets/scorer_evals/"


def mild_items():
    path = pathlib.Path(__file__).parents[2] / "assets/labels/mild.jsonl"
    return map(json.loads, path.read_text().splitlines())


def mild_pairs():
    for item in mild_items():
        if item["language"] == "en":
            answers = item["answers"]
            yield {"prompt": item["prompt"], "chosen": answers["good"], "rejected": answers["bad"]}


def mild():
    for item in mild_items():
        number = item["id"].split("-")[1]
        # A Japanese prompt and the English one of its number may be near each other.
        shared = {"prompt": item["prompt"], "source": f"mild-{item['kind']}", "group": f"mild-{number}"}
        answers = item["answers"]
        for kind, text in answers.items():
            yield shared | {"response": text, "harmful": kind == "bad", "refusal": kind == "refusal"}
        for worse in ("bad", "refusal", "off_topic"):
            yield shared | {"chosen": answers["good"], "rejected": answers[worse]}


def pyrit_files(folder):
    with tempfile.TemporaryDirectory() as to:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PYRIT, "-d", to]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(to).glob("pyrit-*.whl")
        with zipfile.ZipFile(wheel) as files:
            for name in sorted(files.namelist()):
                if name.startswith(EVALS + folder + "/") and name.endswith(".csv"):
                    lines = files.read(name).decode("utf-8", "replace").splitlines(keepends=True)
                    # The first lines may be comments.
                    while lines and lines[0].startswith("#"):
                        lines.pop(0)
                    yield pathlib.Path(name).stem, list(csv.DictReader(io.StringIO("".join(lines))))


def scores(row):
    return [float(value) for key, value in row.items() if key and key.startswith("human_score") and value.strip()]


def texts(row):
    return {"prompt": (row.get("objective") or "").strip(), "response": row["assistant_response"].strip()}


def pyrit_harm():
    for stem, rows in pyrit_files("harm"):
        # Two files hold rows of others, or further scores of the same category.
        if stem.startswith("mini_"):
            continue
        stem = stem.removesuffix("_multi_score")
        # A response that stands there twice has the scores of all its rows.
        of_text = collections.defaultdict(list)
        for row in rows:
            if texts(row)["response"]:
                of_text[tuple(texts(row).values())] += scores(row)
        for (prompt, response), found in of_text.items():
            harmful = statistics.mean(found) >= 0.5
            yield {"prompt": prompt, "response": response, "harmful": harmful, "source": f"pyrit-{stem}"}


def pyrit(folder, label):
    for stem, rows in pyrit_files(folder):
        for row in rows:
            if texts(row)["response"]:
                votes = [value >= 0.5 for value in scores(row)]
                yield texts(row) | {label: sum(votes) * 2 > len(votes), "source": f"pyrit-{stem}"}


def hh(path):
    data = pathlib.Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for line in data.decode().splitlines():
        pair = json.loads(line)
        chosen, rejected = (pair[side].rsplit("\n\nAssistant:", 1) for side in ("chosen", "rejected"))
        if chosen[0] == rejected[0] and chosen[1].strip() and rejected[1].strip():
            turns = chosen[0].replace("\n\nHuman:", "\n\nHuman:").strip().removeprefix("Human:").strip()
            yield {"prompt": turns, "chosen": chosen[1].strip(), "rejected": rejected[1].strip(), "source": "hh-harmless"}


def xstest(folder):
    for path in sorted(pathlib.Path(folder).glob("*.csv.gz")):
        for row in csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())):
            label, is_unsafe = row["final_label"], row["type"].startswith("contrast_")
            # A partial refusal is neither.
            if row["completion"].strip() and label in ("1_full_compliance", "2_full_refusal"):
                complies = label == "1_full_compliance"
                record = {"prompt": row["prompt"], "response": row["completion"].strip(), "refusal": not complies}
                if is_unsafe:
                    record["harmful"] = complies
                yield record | {"source": "xstest-unsafe" if is_unsafe else "xstest-safe"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--hh")
    parser.add_argument("--xstest")
    parser.add_argument("--only", default="mild,pyrit-harm,pyrit-refusal")
    options = parser.parse_args()
    made = {
        "mild": mild,
        "mild-pairs": mild_pairs,
        "pyrit-harm": pyrit_harm,
        "pyrit-refusal": lambda: pyrit("refusal_scorer", "refusal"),
        "pyrit-objective": lambda: pyrit("objective", "harmful"),
        "hh": lambda: hh(options.hh),
        "xstest": lambda: xstest(options.xstest),
    }
    count = collections.Counter()
    with open(options.output, "w") as file:
        for name in options.only.split(","):
            for record in made[name]():
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                count[name] += 1
    print(", ".join(f"{number} of {name}" for name, number in count.items()))


if __name__ == "__main__":
    main()
