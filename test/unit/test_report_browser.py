"""The page in a real browser: no error, no request, nothing wider than the screen."""

import base64
import io
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import urllib.request

import numpy as np
from PIL import Image
import pytest

pytest.importorskip('jinja2')
pytest.importorskip('matplotlib')
pytest.importorskip('carla')

from av_td3_ros.report import page  # noqa: E402
from made_runs import evaluation, made, replay  # noqa: E402

DRIVER, BROWSER = shutil.which('chromedriver'), shutil.which('chromium')
pytestmark = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason='chromium and chromedriver are not installed'
)
FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)
SECONDS = 120
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    """Chromium, by the WebDriver protocol of its driver."""

    def __init__(self, address, folder):
        self.address = address
        options = {'binary': BROWSER, 'args': [*FLAGS, f'--user-data-dir={folder}']}
        wanted = {
            'goog:chromeOptions': options,
            'goog:loggingPrefs': {'browser': 'ALL', 'performance': 'ALL'},
        }
        answer = self.ask('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})
        self.address += f'/session/{answer["sessionId"]}'

    def ask(self, method, path, data=None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.address + path, body, method=method)
        with NO_PROXY.open(request, timeout=SECONDS) as answer:
            return json.loads(answer.read())['value']

    def tell(self, command, **values):
        return self.ask('POST', '/goog/cdp/execute', {'cmd': command, 'params': values})

    def run(self, script):
        return self.ask('POST', '/execute/sync', {'script': f'return {script}', 'args': []})

    def log(self, kind):
        return self.ask('POST', '/se/log', {'type': kind})

    def open(self, path, width, scheme):
        self.tell(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        media = [{'name': 'prefers-color-scheme', 'value': scheme}]
        self.tell('Emulation.setEmulatedMedia', features=media)
        for kind in ('browser', 'performance'):
            self.log(kind)  # of what was open before
        self.ask('POST', '/url', {'url': Path(path).as_uri()})

    def picture(self):
        data = base64.b64decode(self.ask('GET', '/screenshot'))
        return np.asarray(Image.open(io.BytesIO(data)).convert('L'))


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    home = tmp_path_factory.mktemp('home')
    driver = subprocess.Popen(
        [DRIVER, '--port=0'],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'HOME': str(home)},
        start_new_session=True,
    )
    try:
        told = ''
        while not (found := re.search(r'successfully on port (\d+)', told)):
            told = driver.stdout.readline()
            assert told, 'chromedriver ended'
        begun = Browser(f'http://127.0.0.1:{found[1]}', home / 'profile')
        try:
            yield begun
        finally:
            begun.ask('DELETE', '')
    finally:
        os.killpg(driver.pid, signal.SIGTERM)  # and every browser of it
        driver.wait(SECONDS)
        driver.stdout.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Return a page with everything on it."""
    folder = tmp_path_factory.mktemp('runs')
    long = 'recommended_with_a_name_that_is_longer_than_a_phone_is_wide'
    paths = [made(folder / name, 3000, seed) for seed, name in enumerate(('a', 'b', long))]
    replay(paths[0], 3000)
    (paths[0] / 'evaluation').mkdir()
    text = json.dumps(evaluation(0.9, others=[evaluation(0.1, policy='random')]))
    (paths[0] / 'evaluation' / 'evaluation.json').write_text(text)
    page.write(paths, folder / 'report.html')
    return folder / 'report.html'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_the_page_is_shown_whole(browser, report, width, scheme):
    browser.open(report, width, scheme)
    assert browser.run('innerWidth') == width
    root = 'document.documentElement'
    assert browser.run(f'{root}.scrollWidth - {root}.clientWidth') == 0
    assert browser.run('[...document.images].every(i => i.complete && i.naturalWidth > 0)')
    errors = [entry['message'] for entry in browser.log('browser')]
    assert errors == []
    events = [json.loads(entry['message'])['message'] for entry in browser.log('performance')]
    sent = [
        event['params']['request']['url']
        for event in events
        if event['method'] == 'Network.requestWillBeSent'
    ]
    assert [url for url in sent if not url.startswith('data:')] == [report.as_uri()]
    paper = np.median(browser.picture())
    assert paper > 200 if scheme == 'light' else paper < 60


@pytest.mark.parametrize('width', [1280, 390])
def test_text_and_marks_are_large_enough_to_be_read(browser, report, width):
    browser.open(report, width, 'light')
    smallest = browser.run(
        'Math.min(...[...document.querySelectorAll("svg text")].map(t => '
        'parseFloat(getComputedStyle(t).fontSize) * '
        'Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)))'
    )
    assert smallest >= 9
    marks = browser.run(
        '[...document.querySelectorAll(".map .end path")].map('
        'p => Math.max(p.getBoundingClientRect().width, p.getBoundingClientRect().height))'
    )
    assert len(marks) == 90 and min(marks) >= 6
    lines = browser.run(
        '[...document.querySelectorAll(".map .line")].map(p => getComputedStyle(p).stroke)'
    )
    assert set(lines) == {'rgb(0, 158, 115)', 'rgb(230, 159, 0)'}  # goal, lane exit
    titles = browser.run('[...document.querySelectorAll(".way title")].map(t => t.textContent)')
    assert titles[0].startswith('episode ') and titles[0].endswith(' % of the route')
