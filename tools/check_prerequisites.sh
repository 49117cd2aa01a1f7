#!/bin/sh
# One clear line for what is missing, before anything is made. $1: the Python interpreter.

fail() {
    echo "setup: $1" >&2
    exit 2
}

[ -n "$1" ] || fail "Python 3.11 must be installed, got none; install it or name it: make PYTHON=/path/to/python3.11"
version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "PYTHON must be a Python interpreter, got '$1'"
[ "$version" = 3.11 ] ||
    fail "Python must be 3.11 (the pinned versions are for it), got $version from $1; name another: make PYTHON=/path/to/python3.11"
"$1" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "Python must come with venv, $1 does not; install python3.11-venv"
"$1" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
    fail "Python must come with its headers to build the messages, $1 has no Python.h; install python3.11-dev"
for tool in cmake make git; do
    command -v "$tool" >/dev/null || fail "$tool must be installed to build the messages, got none"
done
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
    fail "a C++ compiler must be installed to build the messages, got none; install g++"
