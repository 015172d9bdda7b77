"""Pairs of question and answer in one language, for `safer-instruct measure --pairs`.

The source is chatterbot-corpus (BSD 3-Clause).

    pip download chatterbot-corpus==1.3.3 --no-deps
    python benches/peers/chatterbot_pairs.py chatterbot_corpus-1.3.3-py2.py3-none-any.whl japanese 24 > japanese.jsonl

Takes conversations of two lines whose answer has at least so many characters, and the question a quarter of that. Of
these it writes the first 50 by the SHA-256 of the question. Needs PyYAML.
"""

import hashlib
import json
import sys
import zipfile

import yaml

COUNT = 50


def main():
    path, language, least = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pairs = {}
    with zipfile.ZipFile(path) as wheel:
        for name in sorted(wheel.namelist()):
            if not name.startswith(f"chatterbot_corpus/data/{language}/"):
                continue
            for lines in yaml.safe_load(wheel.read(name))["conversations"]:
                whole = len(lines) == 2 and all(isinstance(line, str) for line in lines)
                if whole and len(lines[1]) >= least and len(lines[0]) >= least // 4:
                    pairs.setdefault(lines[0], lines[1])
    answers, count = set(), 0
    for question, answer in sorted(pairs.items(), key=lambda pair: hashlib.sha256(pair[0].encode()).hexdigest()):
        if answer in answers or count == COUNT:
            continue
        answers.add(answer)
        count += 1
        print(json.dumps({"instruction": question, "response": answer}, ensure_ascii=False))


if __name__ == "__main__":
    main()
