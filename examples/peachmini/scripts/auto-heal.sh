#!/bin/sh
# The modes and the environment variables of the old script, handed on to auto-heal:
#
#     scripts/auto-heal.sh [check|monitor|start|stop|restart] [OPTION ...]
#
# API_URL, CHECK_INTERVAL, MAX_RETRIES, RETRY_DELAY and LOG_FILE take precedence over the configuration, as ever.
set -eu

mode=${1:-check}
case $mode in
check | monitor | start | stop | restart) ;;
*)
    echo "usage: ${0##*/} [check|monitor|start|stop|restart] [OPTION ...]" >&2
    exit 4
    ;;
esac
[ $# -eq 0 ] || shift

# auto-heal looks for the configuration from this folder upwards, wherever a symbolic link to the script lies.
script=$0
while [ -L "$script" ]; do
    target=$(readlink "$script")
    case $target in
    /*) script=$target ;;
    *) script=$(dirname -- "$script")/$target ;;
    esac
done
CDPATH='' cd -P -- "$(dirname -- "$script")/.."

if program=$(command -v auto-heal) && ! cmp -s "$program" "scripts/${script##*/}"; then
    exec "$program" "$mode" "$@"
elif python3 -c 'import remediation' 2>/dev/null; then
    exec python3 -m remediation "$mode" "$@"
fi
echo "auto-heal is not installed: run \`pip install .\` in a clone of it, in a virtual environment" >&2
exit 127
