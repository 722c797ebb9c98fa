"""How much script a drag of T costs a browser: all views of the Temperature page, and the bars alone.

    python tools/benchmarks/hand.py [--address http://localhost:8501/temperature?batch=shippedmnist]

Chromium counts the script's time (Performance.getMetrics, ScriptDuration) between one move of the mouse and the frame
after it. Prints median and 95th percentile of both, and their ratio; and the bytes of the first screen.
"""

import argparse
import shutil
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import sync_playwright

MOVES, WARM = 120, 20
FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
BARS_ALONE = "() => { for (const follow of [...__kdLabHand.followers].slice(1)) __kdLabHand.followers.delete(follow); }"


def drag(page, session):
    """Script milliseconds of each move of the slider from low to high."""
    box = page.locator(".kd-temperature input[type=range]").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    page.mouse.down()
    spent = []
    for move in range(MOVES + WARM):
        before = script_ms(session)
        page.mouse.move(box["x"] + (0.2 + 0.6 * move / (MOVES + WARM)) * box["width"], middle)
        page.evaluate(FRAME)
        spent.append(script_ms(session) - before)
    page.mouse.up()
    return np.array(spent[WARM:])


def script_ms(session):
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration")


def first_screen(browser, address):
    """Bytes that the first screen takes: of the frontend's own files, and of all else."""
    page, shell, others = browser.new_page(), [], []
    parts = urlsplit(address)

    def note(request):
        size = request.sizes()["responseBodySize"]
        (shell if "/static/" in request.url else others).append(size)

    page.on("requestfinished", note)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: others.append(len(frame))))
    page.goto(f"{parts.scheme}://{parts.netloc}/")
    page.locator(".kd-opening .bar").first.wait_for()
    page.wait_for_timeout(3000)
    page.close()
    return sum(shell), sum(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://localhost:8501/temperature?batch=shippedmnist")
    address = parser.parse_args().address
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        shell, others = first_screen(browser, address)
        print(f"first screen: {others / 1e3:.0f} kB, beside {shell / 1e3:.0f} kB of Streamlit's shell")
        page, cut = browser.new_page(viewport={"width": 1280, "height": 720}), []

        def between(socket):
            server = socket.connect_to_server()
            socket.on_message(lambda message: cut or server.send(message))

        page.route_web_socket("**/_stcore/stream", between)
        page.goto(address)
        page.locator(".kd-felt .column").first.wait_for()
        page.wait_for_timeout(3000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        cut.append("now")  # a hand that rests, as on a busy machine each move does, has Python draw the page anew
        every = drag(page, session)
        page.evaluate(BARS_ALONE)
        bars = drag(page, session)
        for name, spent in (("all views", every), ("bars alone", bars)):
            print(f"{name}: median {np.median(spent):.2f} ms, p95 {np.percentile(spent, 95):.2f} ms of script a move")
        print(f"ratio of the 95th percentiles: {np.percentile(every, 95) / np.percentile(bars, 95):.2f}")
        browser.close()


if __name__ == "__main__":
    main()
