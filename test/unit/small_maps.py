"""OpenDRIVE texts for tests: small ones part by part, and large ones by repetition."""

import re

WIDTH = '<width sOffset="0" a="3.5" b="0" c="0" d="0"/>'
MARK = '<roadMark sOffset="0" type="solid" color="white" width="0.1"/>'


def opendrive(*roads):
    """Return a map of roads."""
    header = '<header revMajor="1" revMinor="4" name="small" version="1"/>'
    return f'<?xml version="1.0"?>\n<OpenDRIVE>{header}{"".join(roads)}</OpenDRIVE>'


def lane(number, kind='driving', width=WIDTH, marks=MARK, link=''):
    """Return a lane."""
    return (
        f'<lane id="{number}" type="{kind}" level="false"><link>{link}</link>{width}{marks}</lane>'
    )


def road(
    number=1,
    x=0.0,
    y=0.0,
    heading=0.0,
    length=100.0,
    shape='<line/>',
    left=(),
    right=(lane(-1),),
    middle=MARK,
    rule='RHT',
    link='',
    offset='',
    elevation='',
):
    """Return a road of one geometry and one lane section."""
    return (
        f'<road name="" length="{length}" id="{number}" junction="-1" rule="{rule}">'
        f'<link>{link}</link><planView><geometry s="0" x="{x}" y="{y}" hdg="{heading}" '
        f'length="{length}">{shape}</geometry></planView>'
        f'<elevationProfile>{elevation}</elevationProfile><lateralProfile/>'
        f'<lanes>{offset}<laneSection s="0"><left>{"".join(left)}</left><center>'
        f'<lane id="0" type="none" level="false">{middle}</lane></center>'
        f'<right>{"".join(right)}</right></laneSection></lanes></road>'
    )


def street(length):
    """Return a street with a lane in each direction, which both lead nowhere."""
    return opendrive(road(length=length, left=[lane(1)], right=[lane(-1)]))


def two_roads(gap):
    """Return two roads of 50 m that are linked, but lie ``gap`` m apart."""
    ahead = '<successor elementType="road" elementId="2" contactPoint="start"/>'
    behind = '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
    return opendrive(
        road(1, length=50, link=ahead, right=[lane(-1, link='<successor id="-1"/>')]),
        road(
            2, x=50 + gap, length=50, link=behind, right=[lane(-1, link='<predecessor id="-1"/>')]
        ),
    )


def repeated(text, count, apart=350.0, row=13):
    """Return a map many times over, side by side."""
    head, body = text[: text.index('<road ')], text[text.index('<road ') :]
    body = body.replace('</OpenDRIVE>', '')
    names = re.compile(
        r'((?:<(?:road|junction) [^>]*?\bid|elementId|incomingRoad|connectingRoad)=")(\d+)"'
    )
    junctions = re.compile(r'(<road [^>]*?junction=")(\d+)"')
    xs, ys = (re.compile(rf'(<geometry [^>]*?\b{axis}=")([^"]*)"') for axis in 'xy')
    parts = [head]
    for k in range(count):
        part = body
        for pattern, kind, more in (
            (names, int, 1000 * k),
            (junctions, int, 1000 * k),
            (xs, float, apart * (k % row)),
            (ys, float, apart * (k // row)),
        ):
            part = pattern.sub(lambda m: f'{m[1]}{kind(m[2]) + more}"', part)
        parts.append(part)
    return ''.join(parts) + '</OpenDRIVE>'


def left_hand(text):
    """Return a map with traffic on the left of every road."""
    return re.sub(r'<road ', '<road rule="LHT" ', re.sub(r' rule="[RL]HT"', '', text))
