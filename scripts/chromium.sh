#!/usr/bin/env bash
# Debian's Chromium and its driver, for the test that looks at the report in a browser.
set -euo pipefail
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
"${root[@]}" apt-get update -qq
"${root[@]}" apt-get install -y -qq --no-install-recommends chromium chromium-driver
