#!/usr/bin/env bash
# scripts/clients/otpd.sh against the program, and against one that breaks every rule.
set -Eeuo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../../scripts/clients/otpd.sh"
real=${OTPD_BIN:-otpd} fake=$here/fake-otpd
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR

is() { # WHAT IS-WANTED
    [[ $1 == "$2" ]] || { echo "line ${BASH_LINENO[0]}: $1, not $2" >&2; exit 1; }
}
gives() { # STATUS COMMAND…: runs it with that status, quietly
    local status=0
    "${@:2}" 2>"$dir/told" || status=$?
    is "$status" "$1"
}
soon() { # COMMAND…: takes less than a second
    local began
    began=$(date +%s%N)
    "$@"
    (($(date +%s%N) - began < 1000000000))
}
code_in() { tr -d '\r' <"$1" | grep -xE '[0-9]{6}'; }
another() { printf '%06d' $(((10#$1 + 1) % 1000000)); }

# The right code once, wrong ones, and special characters.
purpose='a "purpose" \ & $x `y` of é😀'
data='{"q":"\"\\/}]\u00e9","a":[null,{"b":[1.5e-3]},"]"],"ok":true}'
OTPD_BIN=$real
otpd_start --outbox "$dir/outbox" --capacity 2
otpd_issue ann@example.org "purpose=$purpose" "data:=$data" ttl_s:=60 vars:='{"name":"\"Ann\" \\ 😀"}' locale=de-AT
is "${OTPD[ok]} ${OTPD[to]} ${OTPD[delivery]} ${OTPD[attempts_left]} ${OTPD[expires_in_s]}" 'true ann@example.org sent 5 60'
session=${OTPD[session]}
code=$(code_in "${OTPD[file]}")
gives 1 otpd_verify "$session" "$(another "$code")" "purpose=$purpose"
is "${OTPD[ok]} ${OTPD[error]} ${OTPD[attempts_left]}" 'false wrong_code 4'
gives 1 otpd_verify "$session" 1 "purpose=$purpose"
is "${OTPD[error]}" bad_code
gives 1 otpd_verify "$session" "$code"
is "${OTPD[error]}" wrong_purpose
gives 0 otpd_verify "$session" "${code:0:3} ${code:3}" "purpose=$purpose"
is "${OTPD[purpose]}" "$purpose"
is "${OTPD[data]}" "$data"
is "$(<"$dir/told")" ''
gives 1 otpd_verify "$session" "$code" "purpose=$purpose"
is "${OTPD[error]} ${OTPD[attempts_left]-none}" 'already_used none'
gives 0 otpd_status "$session"
is "${OTPD[state]}" verified
gives 0 otpd_status
[[ ${OTPD[counters]} == '{"issued":1,'*'}' && ${OTPD[policy]} == '{"digits":6,'*'}' ]]
gives 0 otpd_help
[[ ${OTPD[commands]} == '{"issue":{'*'}}' ]]

# Refusals, and wrong questions.
gives 1 otpd_issue ann@example.org
is "${OTPD[error]} ${OTPD[limit]}" 'rate_limited cooldown'
gives 1 otpd_issue nobody
is "${OTPD[error]}" bad_address
gives 1 otpd_resend "$session"
is "${OTPD[error]}" already_used
gives 0 otpd_issue bob@example.org
gives 0 otpd_issue carl@example.org
gives 1 otpd_issue dora@example.org
is "${OTPD[error]}" at_capacity
gives 2 otpd_issue eve@example.org $'purpose=a\n\t\x01b'
is "${OTPD[error]} ${OTPD[field]}" 'bad_field purpose'
gives 2 otpd_issue eve@example.org ttl_s=60
gives 2 otpd_issue eve@example.org ttl_s:=oops
is "${OTPD[error]}" bad_json
gives 2 otpd_issue eve@example.org $'data:=[1,\n2]'
gives 2 otpd_issue eve@example.org "purpose=$(printf '%070000d' 1)"
is "${OTPD[error]}" line_too_long
gives 2 otpd_ask nonsense
gives 0 otpd_unlock ann@example.org
(gives 3 otpd_status) # A subshell would take answers away.

# A thousand verifications before one answer is read, each with its own answer.
declare -A wanted=()
for ((n = 0; n < 1000; n++)); do
    case $((n % 3)) in
        0) otpd_send verify "session=$session-$n" code=123456; wanted[$OTPD_LAST]=no_session ;;
        1) otpd_send verify "session=$session" code=123456; wanted[$OTPD_LAST]=already_used ;;
        2) otpd_send verify "session=$session"; wanted[$OTPD_LAST]=bad_field ;;
    esac
done
for id in "${!wanted[@]}"; do # in no order at all
    otpd_wait "$id" 2>/dev/null || is "${OTPD[id]} ${OTPD[error]}" "$id ${wanted[$id]}"
    is "${OTPD[ok]}" false
done

# A killed otpd is noticed at once, by who waits and by the next, and started again if wanted.
kill -KILL "$OTPD_CHILD"
soon gives 3 otpd_status
is "$(tail -n 1 "$dir/told")" 'otpd: otpd was ended by signal 9' # bash may have told it too
soon gives 3 otpd_status
OTPD_RESTART=yes
last=$OTPD_LAST
otpd_status
is "${OTPD[id]}" $((last + 1)) # Answers of the new one are never taken for those of the old one.
OTPD_RESTART=''
gives 1 otpd_verify "$session" "$code"
is "${OTPD[error]}" no_session
otpd_stop
is "$OTPD_END" 'ended with status 0'
gives 3 otpd_status
gives 3 otpd_stop
OTPD_BIN=$fake
otpd_start dies
soon gives 3 otpd_status
is "$(tail -n 1 "$dir/told")" 'otpd: otpd was ended by signal 9' # bash may have told it too

# Waits are bounded, also for a pipe that nobody reads.
OTPD_TIMEOUT=1
for mode in silent deaf; do
    otpd_start "$mode"
    SECONDS=0
    status=0
    while ((status == 0)); do otpd_send status "x=$(printf '%09000d' 1)" 2>"$dir/told" || status=$?; done
    is "$status ${OTPD[error]}" '3 no_answer'
    ((SECONDS <= 3))
    otpd_stop 0.1
done

# A late answer belongs to nobody; strays and doubles are dropped.
otpd_start pairs
gives 3 otpd_ask one
gives 0 otpd_ask two
is "${OTPD[id]} ${OTPD[more]}" '2 {"a":["}"]}'
otpd_send three && otpd_send four
otpd_wait 3 && is "${OTPD[id]}" 3
otpd_wait 4 && is "${OTPD[id]}" 4
gives 3 otpd_wait 4
otpd_stop
otpd_start strays
for ((n = 1; n <= 20; n++)); do otpd_ask x && is "${OTPD[id]}" "$n"; done
otpd_stop

# What is not otpd is ended.
OTPD_TIMEOUT=30
for mode in 'garbage killed' 'mute signal' 'fails status 7'; do
    otpd_start "${mode%% *}"
    gives 3 otpd_status
    [[ $(<"$dir/told") == *"${mode#* }"* ]]
done
OTPD_BIN=/nowhere/otpd
otpd_start 2>/dev/null
gives 3 otpd_status
OTPD_BIN=$fake
otpd_start strays
strays=$OTPD_CHILD
otpd_start stubborn
gives 1 kill -0 "$strays"
otpd_ask x
otpd_stop 0.1
is "$OTPD_END" 'was ended by signal 9'
echo "bash: all well"
