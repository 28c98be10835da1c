#!/bin/sh
# `npm test`: set up what is missing, then run scripts/test.mjs on the Node that the repository pins.
set -eu
cd "$(dirname "$0")/.."
node scripts/setup.mjs --for test
exec node_modules/.bin/node scripts/test.mjs "$@"
