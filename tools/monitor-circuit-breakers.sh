#!/bin/sh
# The circuit breakers of all services, as a manager knows them: needs curl and nothing else.
#
#   monitor-circuit-breakers.sh          once: exit code 0 where all are closed, 4 where one is not, 1 where nobody answers
#   monitor-circuit-breakers.sh watch    every 2 s, until it is stopped
#
# COFFERDAM_URL is the manager, http://localhost:7420 where it is not set; NAMESPACE the services', where it is another one.
set -eu

url=${COFFERDAM_URL:-http://localhost:7420}
url="$url/api/health${NAMESPACE:+?namespace=$NAMESPACE}"

# field NAME OBJECT: the value of a field of an object without objects in it.
field() { printf '%s' "$2" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

look() {
    answer=$(curl --silent --show-error --fail-with-body --max-time 10 "$url") || {
        printf '%s\n' "$answer" >&2
        return 1
    }
    services=$(printf '%s' "$answer" | grep -oE '"[^"]+":\{[^{}]*"state":"[A-Z_]+"[^{}]*\}' || true)
    printf '%-32s %-10s %-10s %10s %10s %7s\n' SERVICE STATE STATUS SUCCESSES FAILURES FAIL%
    code=0
    while IFS= read -r service; do
        [ -n "$service" ] || continue
        name=${service#\"}
        name=${name%%\"*}
        object=${service#*:}
        state=$(field state "$object")
        [ "$state" = CLOSED ] || code=4
        printf '%-32s %-10s %-10s %10s %10s %7s\n' "$name" "$state" "$(field status "$object")" \
            "$(field successes "$object")" "$(field failures "$object")" "$(field failureRate "$object")"
    done <<END
$services
END
    return $code
}

case "${1:-}" in
'') look ;;
watch)
    while :; do
        date
        look || true
        sleep 2
    done
    ;;
*)
    printf 'usage: %s [watch]\n' "$0" >&2
    exit 2
    ;;
esac
