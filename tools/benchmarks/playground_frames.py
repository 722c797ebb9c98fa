"""How fast the Playground trains and draws in Chromium, and its engine beside TensorFlow Playground's own (nn.ts).

    python tools/benchmarks/playground_frames.py --nn FILE [--address http://localhost:8501/playground]

FILE: src/nn.ts of github.com/tensorflow/playground (Apache 2.0), as it is; Node.js strips its types. A step of either:
all points forward and backward, one update by plain gradient descent. Same net and points; ours has two logits, theirs
one output. Both take turns in one page. Then the page itself at 1280x720: frames a second while both students and their
fields train, counted between the first and the last step of a run of 1,000.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import numpy as np
from measured import machine, ratios, spread
from node import NODE
from playwright.sync_api import sync_playwright

from kd_core.exchange.javascript.scripts import scripts

POINTS, TURNS, STEPS = (15, 60), 15, 200
STRIP = "console.log(require('module').stripTypeScriptTypes(require('fs').readFileSync(process.argv[1], 'utf8')))"
RACE = """async ({ source, ours, count, steps, turns }) => {
  const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const theirs = await import(address(source));
  const engine = await import(address(ours + "export { perceptron, learn, randomNumbers, points };"));
  const { inputs, labels } = engine.points("clouds", count, 1, { overlap: 0.5 }), two = labels.map((k) => k % 2);
  const network = engine.perceptron([2, 16, 16, 2], engine.randomNumbers(1));
  const nodes = theirs.buildNetwork([2, 16, 16, 1], theirs.Activations.RELU, theirs.Activations.TANH, null, ["x", "y"], false);
  const step = () => engine.learn(network, inputs, { labels: two, rate: 0.01, optimiser: "sgd" });
  const theirStep = () => {
    for (let row = 0; row < count; row++) {
      theirs.forwardProp(nodes, [inputs[2 * row], inputs[2 * row + 1]]);
      theirs.backProp(nodes, two[row] ? 1 : -1, theirs.Errors.SQUARE);
    }
    theirs.updateWeights(nodes, 0.01, 0);
  };
  const timed = (act) => { const begin = performance.now(); for (let n = 0; n < steps; n++) act(); return (1000 * (performance.now() - begin)) / steps; };
  timed(step); timed(theirStep);
  return Array.from({ length: turns }, () => [timed(step), timed(theirStep)]);
}"""  # noqa: E501
FRAMES = """() => new Promise((done) => {
  const root = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map((host) => host.shadowRoot?.querySelector(".kd-playground")).find(Boolean);
  const frames = [];
  new MutationObserver(() => {
    const step = Number(root.dataset.step);
    if (step > 0) frames.push([performance.now(), step]);
    if (step >= 1000) done(frames);
  }).observe(root, { attributeFilter: ["data-step"] });
})"""


def race(browser, source):
    """Print microseconds a step of both engines, and their ratio."""
    page = browser.new_page()
    ours = scripts("maths", "perceptron", "points")
    print("| points | this engine, µs a step | nn.ts, µs a step | nn.ts over this |\n| --- | --- | --- | --- |")
    for count in POINTS:
        settings = {"source": source, "ours": ours, "count": count, "steps": STEPS, "turns": TURNS}
        here, there = zip(*page.evaluate(RACE, settings), strict=True)
        print(f"| {count} | {spread(here, 0)} | {spread(there, 0)} | {spread(ratios(there, here), 1)} |", flush=True)
    page.close()


def frames(browser, address):
    """Print frames and steps a second of the page, at its own pace."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(address)
    page.locator(".kd-playground .field").first.wait_for(timeout=60_000)
    times, steps = np.array(page.evaluate(FRAMES)).T
    gaps = np.diff(times)
    pace = (len(times) - 1) / (times[-1] - times[0]), (steps[-1] - steps[0]) / (times[-1] - times[0])
    frames_a_second, steps_a_second = (f"{1000 * each:.0f}" for each in pace)
    print(
        f"\n{frames_a_second} frames and {steps_a_second} steps a second over {len(times)} frames;"
        f" 95 of 100 frames come within {np.percentile(gaps, 95):.0f} ms."
    )
    page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nn", type=Path, help="nn.ts of TensorFlow Playground")
    parser.add_argument("--address", help="of a Playground page that is served")
    options = parser.parse_args()
    print(f"{machine()}; medians of {TURNS} turns of {STEPS} steps (range).\n")
    path = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        print(f"Chromium {browser.version}\n")
        if options.nn:
            stripped = subprocess.run([NODE, "-e", STRIP, options.nn], capture_output=True, text=True, check=True)
            race(browser, stripped.stdout)
        if options.address:
            frames(browser, options.address)
        browser.close()


if __name__ == "__main__":
    main()
