"""What distilabel makes of a server that answers each request after a fixed time: the counterpart of benches/served.rs.

    python3 -m venv target/served-peers && target/served-peers/bin/pip install -r benches/peers/served_requirements.txt
    cargo bench --features reqwest,run --bench served -- serve=9055 &
    target/served-peers/bin/python benches/peers/served_peers.py http://127.0.0.1:9055/v1 2000 256 2

Prints rows, seconds of the step that asks the server, and rows a second. The time to start the processes of the
pipeline is left out.
"""

import os
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts, StepInput, StepResources
from distilabel.steps.tasks import TextGeneration


class Timed(TextGeneration):
    """Writes down when the first batch began and the last one ended."""

    def process(self, inputs: StepInput):
        with open(os.environ["TIMES"], "a", encoding="utf-8") as file:
            file.write(f"{time.time()}\n")
        yield from super().process(inputs)
        with open(os.environ["TIMES"], "a", encoding="utf-8") as file:
            file.write(f"{time.time()}\n")


def main():
    base, rows, batch, replicas = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    handle, os.environ["TIMES"] = tempfile.mkstemp()
    os.close(handle)
    with Pipeline("served") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"What of {n}?"} for n in range(rows)], batch_size=batch)
        ask = Timed(
            llm=OpenAILLM(base_url=base, api_key="none", model="m"),
            input_batch_size=batch,
            resources=StepResources(replicas=replicas),
        )
        load >> ask
    made = pipeline.run(use_cache=False)
    answered = sum(row["generation"] is not None for row in made["default"]["train"])
    with open(os.environ["TIMES"], encoding="utf-8") as file:
        times = [float(line) for line in file]
    os.remove(os.environ["TIMES"])
    seconds = max(times) - min(times)
    print(f"{answered} rows in {seconds:.2f} s: {answered / seconds:.0f} rows/s")


if __name__ == "__main__":
    main()
