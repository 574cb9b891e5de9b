#!/bin/sh
# Lets a repository's `pnpm backend ...` call ctl. Copy it, and the scripts of package.json, and go on as before.
# `exec` leaves nobody in between: exit codes and signals are those of ctl.
set -eu

usage="usage: pnpm backend run|run:all|run:api|run:agents|run:profiles|dev|stop|status|logs [-- arguments]"
what="${1:?$usage}"
shift
[ "${1:-}" != "--" ] || shift # pnpm hands it on

# Of the agents only those that are asked for, or else all of them.
names_some() {
  for argument; do
    case "$argument" in --only | --only=* | --agents | --agents=*) return 0 ;; esac
  done
  return 1
}

case "$what" in
  run | run:all) exec ctl launch "$@" ;;
  run:api) exec ctl launch --only api "$@" ;;
  run:agents) if names_some "$@"; then exec ctl launch "$@"; else exec ctl launch --only agents "$@"; fi ;;
  run:profiles) exec ctl launch --profile "$@" ;;
  dev) exec ctl launch --mode single "$@" ;;
  stop | status | logs) exec ctl "$what" "$@" ;;
  *) echo "unknown: $what; $usage" >&2 && exit 2 ;;
esac
