#!/usr/bin/env bash
# What one would guess: a page of the category Docs without a name becomes the event "Viewed Docs Page" in a tool that
# knows events only, and an order's revenue of "1,000.50" is 1000.5.
# What is so: Segment's own reader of messages (@segment/facade, which names pages in its classic destinations, Braze's
# among them) puts the category into the name only where the page has a name, and reads revenue up to the first comma:
# "1,000.50" is 1, without an error.
# Why it matters here: events of pages have to be called what they were called when Segment sent them, or reports of
# before and after a move do not add up; and an amount that is not a number must go out as it is, so that the
# destination refuses it, and not as a thousandth of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @segment/facade@3.4.10
node - <<'NODE'
const facade = require('@segment/facade')
const { version } = require('@segment/facade/package.json')
console.log(`@segment/facade ${version}`)
const called = (page) => { const made = new facade.Page(page); return made.track(made.fullName()).event() }
const found = {
  named: called({ name: 'Home' }),
  namedWithCategory: called({ name: 'Home', category: 'Docs' }),
  categoryAlone: called({ category: 'Docs' }),
  neither: called({}),
  revenue: new facade.Track({ event: 'Order Completed', properties: { revenue: '1,000.50' } }).revenue(),
}
console.log(found)
const expected = {
  named: 'Viewed Home Page',
  namedWithCategory: 'Viewed Docs Home Page',
  categoryAlone: 'Loaded a Page',
  neither: 'Loaded a Page',
  revenue: 1,
}
process.exit(JSON.stringify(found) === JSON.stringify(expected) ? 0 : 1)
NODE
