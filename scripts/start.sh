#!/bin/sh
# `npm start`: set up what is missing, then become `weir up --quickstart` (so that signals reach it directly).
set -eu
cd "$(dirname "$0")/.."
node scripts/setup.mjs --for run
exec node_modules/.bin/node bin/weir.js up --quickstart "$@"
